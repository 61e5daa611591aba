from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from mibias_cli.errors import RunError
from mibias_cli.report import write
from mibias_cli.report.document import Report
from mibias_cli.report.schema_file import load_schema


def test_three_files_are_written(make: Callable[..., Report], tmp_path: Path) -> None:
    report = make()
    paths = write.write_report(tmp_path / "new" / "report", report)
    assert {p.name for p in (tmp_path / "new" / "report").iterdir()} == {"leakage.json", "leakage.html", "leakage.md"}
    data = json.loads(paths["json"].read_text("utf-8"))
    jsonschema.validate(data, load_schema())
    assert data == report.to_dict()
    assert list(data) == sorted(data)
    assert paths["html"].read_text("utf-8").startswith("<!DOCTYPE html>")
    assert paths["markdown"].read_text("utf-8").startswith("# Leakage report")


def test_a_report_is_never_overwritten_unasked(make: Callable[..., Report], tmp_path: Path) -> None:
    first = write.write_report(tmp_path, make())["json"].read_bytes()
    with pytest.raises(RunError, match="holds a report already"):
        write.write_report(tmp_path, make(after=0.5))
    assert (tmp_path / "leakage.json").read_bytes() == first
    write.write_report(tmp_path, make(after=0.5), overwrite=True)
    assert (tmp_path / "leakage.json").read_bytes() != first


def test_a_failure_leaves_nothing_behind(
    make: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(RunError, match="No space left on device"):
        write.write_report(tmp_path, make())
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_the_users_to_move(make: Callable[..., Report], tmp_path: Path) -> None:
    (tmp_path / "report").write_text("not a folder")
    with pytest.raises(RunError, match="is a file; choose another folder"):
        write.write_report(tmp_path / "report", make())
