"""A dry run of a sweep says what the sweep would refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mibias_cli.cli.main import app

RECIPE = "version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"


def dry_run(folder: Path, *arguments: str) -> Result:
    (folder / "r.yaml").write_text(RECIPE)
    return CliRunner().invoke(app, ["sweep", str(folder / "r.yaml"), "--dry-run", *arguments])


@pytest.mark.parametrize(
    "over", ["seed=1,x", "training.epochs=0", "method=mi,nothing", "training.wings=1", "version=2"]
)
def test_values_that_no_run_takes_are_refused(over: str, tmp_path: Path) -> None:
    result = dry_run(tmp_path, "--out", str(tmp_path / "out"), "--over", over)
    assert result.exit_code == 2
    assert f"--set {over.partition('=')[0]}: " in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_refused_and_else_the_points_are_listed(tmp_path: Path) -> None:
    result = dry_run(tmp_path, "--out", str(tmp_path / "r.yaml"), "--over", "seed=1,2")
    assert (result.exit_code, "is a file; choose another folder" in result.stderr) == (2, True)
    result = dry_run(tmp_path, "--out", str(tmp_path / "out"), "--over", "seed=1,2")
    assert [point["name"] for point in json.loads(result.stdout)] == ["seed=1", "seed=2"]
