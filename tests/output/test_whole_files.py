from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.errors import MibiasError
from mibias_cli.export import new_rows
from mibias_cli.export.new_rows import EmbeddedRows, PredictedRows
from mibias_cli.output.whole_files import replaced, write_atomically


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_is_never_written_over_one_that_appeared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    write_atomically(tmp_path / "alone", "mine", new=True)
    said = "both: another command has written it meanwhile"
    with pytest.raises(MibiasError, match=said), replaced(tmp_path / "both", new=True) as partial:
        partial.write_text("mine")
        (tmp_path / "both").write_text("the other's")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"alone": "mine", "both": "the other's"}


@pytest.mark.parametrize("name", ["z.parquet", "z.safetensors", "p.csv"])
def test_features_and_predictions_are_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows: EmbeddedRows | PredictedRows = EmbeddedRows(id_name="row", ids=("1",), features=np.zeros((1, 2), np.float32))
    if name == "p.csv":
        rows = PredictedRows(id_name="row", ids=("1",), kind="classes", names=("a",), values=np.ones((1, 1)))
    # the other command ends between this one's look and its last step
    monkeypatch.setattr(new_rows, "check_out", lambda path, _: path.write_text("the other's"))
    with pytest.raises(MibiasError, match="another command"):
        rows.write(tmp_path / name)
    assert (tmp_path / name).read_text() == "the other's"


def test_files_have_the_rights_that_the_umask_gives_and_keep_those_they_had(tmp_path: Path) -> None:
    rows = EmbeddedRows(id_name="row", ids=("1",), features=np.zeros((1, 2), np.float32))
    before = os.umask(0o027)
    try:
        rows.write(tmp_path / "z.safetensors")
        write_atomically(tmp_path / "shared", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "z.safetensors").stat().st_mode & 0o777 == 0o640
    (tmp_path / "shared").chmod(0o664)
    write_atomically(tmp_path / "shared", "b")
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o664
