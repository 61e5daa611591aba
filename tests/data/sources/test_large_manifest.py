"""Manifests of very many rows: their files are looked for in part, and what is told of them is told nonetheless."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files import images, packed
from mibias_cli.data.sources.manifest import load_manifest
from mibias_cli.errors import DataError
from mibias_cli.run.resume.data_parts import data_parts

N = 300
COLUMNS = Columns(path="path", target="label", split="split")
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "images").mkdir()
    for k in range(N):
        Image.new("RGB", (4, 4), (k % 256, 0, 0)).save(tmp_path / "images" / f"{k}.png")

    def written(name: str = "m.parquet", **changed: object) -> Path:
        rows = np.arange(N)
        columns: dict[str, object] = {
            "path": [f"images/{k}.png" for k in rows],
            "label": np.array(["cat", "dog"])[rows % 2],
            "sex": [("f", "m", " f ", "NA")[k % 4] for k in rows],
            "split": np.array(["train", "validation", "test"])[rows % 3],
            "patient": [f"patient{k // 2}" for k in rows],
        }
        table = pa.table({**columns, **changed})
        path = tmp_path / name
        if name.endswith(".csv"):
            pa.csv.write_csv(table, path)
        else:
            pq.write_table(table, path, row_group_size=70)
        return path

    return written


def load(path: Path, **more: object) -> BiasedData:
    arguments = {"columns": COLUMNS, "attributes": {"sex": AttributeColumn()}, **more}
    return load_manifest(path, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LARGE", N - 1)
    monkeypatch.setattr(images, "SOME", 20)


@pytest.mark.parametrize("name", ["m.parquet", "m.csv", "m.feather"])
def test_labels_names_and_inputs_are_those_of_a_small_one(
    write: Write, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(name if name.endswith((".parquet", ".csv")) else "m.parquet")
    if name.endswith(".feather"):
        pa.feather.write_feather(pq.read_table(path), path := path.with_name(name))
    small = load(path)
    monkeypatch.setattr(packed, "LARGE", N - 1)
    big = load(path)
    assert (big.target, big.attributes) == (small.target, small.attributes)
    for one, other in ((small.train, big.train), (small.validation, big.validation), (small.audit, big.audit)):
        for a, b in ((one.y, other.y), (one.rows, other.rows), *((one.c[k], other.c[k]) for k in one.c)):
            assert (a == b).all()
        assert (one.known["sex"] == other.known["sex"]).all()
        assert list(one.row_names) == list(other.row_names)
        assert (one.reader.read(one.rows[:5], None) == other.reader.read(other.rows[:5], None)).all()
    assert any("read as missing" in note and "75 rows" in note for note in big.notes)
    assert any("--check-files reads all of them" in note for note in big.notes)


def test_the_fingerprint_is_of_the_paths_however_the_file_is_cut(write: Write, large: None) -> None:
    first = load(write()).fingerprint
    assert load(write("m.csv")).fingerprint == first
    swapped = [f"images/{k}.png" for k in (3, 1, 2, 0, *range(4, N))]
    assert load(write(path=swapped)).fingerprint != first


def test_no_file_of_a_row_is_looked_at_but_some(write: Write, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path, looked = write(), set()

    def counting(kind: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def counted(name: str, *args: object, **more: object) -> os.stat_result:
            looked.add(os.path.basename(str(name)))
            return kind(name, *args, **more)

        return counted

    monkeypatch.setattr(os, "stat", counting(os.stat))
    monkeypatch.setattr(os, "lstat", counting(os.lstat))
    load(path)
    # the sample, and the row that tells the shape of all
    assert 0 < len({name for name in looked if name.endswith(".png")}) <= 21


def test_a_wrong_root_is_found_before_training(write: Write, large: None, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(DataError, match=r"20 row\(s\) name a file that does not exist .*of 20 of 300 rows"):
        load(path, root=tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no such folder; set data.root"):
        load(path, root=tmp_path / "nowhere")


def test_paths_out_of_the_root_are_found_in_every_row(write: Write, large: None, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "images").rename(tmp_path / "root" / "images")
    paths = [f"images/{k}.png" for k in range(N)]
    inside = tmp_path / "root" / "images" / "5.png"
    paths[5], paths[6] = str(inside), "images/../images/6.png"  # neither leads out
    load(write(path=paths), root=tmp_path / "root")
    paths[7], paths[8] = "../m.parquet", "/etc/passwd"
    with pytest.raises(DataError, match=r"2 row\(s\) have a path that leads out of .*row 8 \(.*row 9 \(/etc/passwd"):
        load(write(path=paths), root=tmp_path / "root")


def test_a_link_out_of_the_root_is_refused_when_it_is_read(
    write: Write, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SOME", 1)
    (tmp_path / "root").mkdir()
    (tmp_path / "images").rename(tmp_path / "root" / "images")
    link = tmp_path / "root" / "images" / "9.png"
    link.rename(tmp_path / "outside.png")
    link.symlink_to(tmp_path / "outside.png")
    path = write()
    data = load(path, root=tmp_path / "root")
    with pytest.raises(DataError, match=r"row 10 \(images/9\.png\) cannot be read .*leads out of"):
        data.train.reader.read(np.array([9]), None)
    followed = load(path, root=tmp_path / "root", follow_links=tmp_path)
    assert followed.train.reader.read(np.array([9]), None).shape == (1, 3, 4, 4)


def test_rows_without_a_path_and_dicom_are_named(write: Write, large: None) -> None:
    paths: list[str | None] = [f"images/{k}.png" for k in range(N)]
    with pytest.raises(DataError, match=r"2 row\(s\) have no path in 'path': 3, 5"):
        load(write(path=[*paths[:2], None, paths[3], " ", *paths[5:]]))
    with pytest.raises(DataError, match=r"1 row\(s\) name DICOM images.*row 4 \(images/3.DCM\)"):
        load(write(path=[*paths[:3], "images/3.DCM", *paths[4:]]))


def test_a_file_that_is_missing_is_named_when_it_is_read(
    write: Write, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SOME", 1)
    (tmp_path / "images" / "12.png").unlink()
    with pytest.raises(DataError, match=r"row 13 \(images/12\.png\) cannot be read"):
        load(write()).train.reader.read(np.array([12]), None)


def test_a_file_that_is_missing_is_named_when_a_run_writes_down_its_data(
    write: Write, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SOME", 1)
    (tmp_path / "images" / "12.png").unlink()
    with pytest.raises(DataError, match=r"1 of 300 image.* do not exist: row 13 \(images/12\.png\); mend"):
        data_parts(load(write()))


def test_images_in_two_splits_are_counted(write: Write, large: None) -> None:
    paths = [f"images/{k}.png" for k in range(N)]
    paths[1], paths[2] = paths[0], paths[0]  # validation and audit rows that training has
    noted = [note for note in load(write(path=paths)).notes if "more than one split" in note]
    assert len(noted) == 1
    assert "2 image(s) are in more than one split: row 2 (images/0.png), row 3 (images/0.png)" in noted[0]


def test_columns_that_are_not_named_are_not_read(write: Write, large: None) -> None:
    # their cells could not be: each list would have to be text
    path = write(patient=[[k] for k in range(N)])
    assert not any("patient" in note for note in load(path).notes)
    with pytest.raises(DataError, match="no column 'patints', did you mean 'patient'.*\n.*'sex'.*'path'.*'patient'"):
        load(path, columns=Columns(path="path", target="label", split="split", group="patints"))


@pytest.mark.parametrize("rows", [N - 1, N])
def test_columns_of_one_name_are_told(write: Write, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(packed, "LARGE", rows)  # a large one, and a small one
    path = write()
    table = pq.read_table(path)
    pq.write_table(table.append_column("label", table["sex"]), path)
    with pytest.raises(DataError, match=r"m\.parquet: column name\(s\) appear twice: label; rename"):
        load(path)


def test_a_path_column_with_another_role_is_read_as_usual(write: Write, large: None) -> None:
    data = load(write(), columns=Columns(path="path", target="label", split="split", group="path"))
    assert not any("--check-files" in note for note in data.notes)
