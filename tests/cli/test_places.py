"""Where a command is to write, and arguments that say nothing, are looked at before it computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.cli.places import refuse_place
from mibias_cli.errors import ExportError, RunError
from mibias_cli.export.new_rows import FEATURE_FILES, check_out
from mibias_cli.output.whole_files import is_device

FOREIGN = "precious: 1\n"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("notes.txt", "exists already and is no"),
        ("notes.txt/x", "notes.txt is a file, so nothing can be written below it"),
        (".", "is a folder; name a file in it"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [["schema", "--out"], ["gate", ".", "--fail-on", "seed > 1", "--junit"], ["train", "nothing.yaml", "--junit"]],
)
def test_a_place_that_is_not_ours_is_refused_first(
    command: list[str], place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(FOREIGN)
    result = CliRunner().invoke(app, [*command, place])
    assert result.exit_code == 2
    assert f"{command[-1]} {place}: " in result.stderr
    assert said in result.stderr
    assert (tmp_path / "notes.txt").read_text() == FOREIGN


def test_its_own_file_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for _ in range(2):
        assert CliRunner().invoke(app, ["schema", "--out", str(path)]).exit_code == 0
    path.write_text("")
    assert CliRunner().invoke(app, ["schema", "--out", str(path)]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "r.yaml", "--out", "", "--overwrite"], "--out is empty"),
        (["train", "r.yaml", "--out="], "--out is empty"),
        (["validate", ""], "an argument is empty"),
        (["recipes", "copy", "quickstart", ""], "an argument is empty"),
        (["estimate", "f.csv", "--z", "", "--c", "c"], "--z is empty"),
        (["train", "r.yaml", "--format", "json"], "--format is about --dry-run"),
        (["scan", "a.csv", "--weights", "none"], "--weights are of a --backbone"),
    ],
)
def test_what_says_nothing_is_a_mistake(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_argument_that_holds_an_equals_sign_is_not_empty(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "a="), "--set", "name="])
    assert "empty" not in result.stderr


def test_stdout_that_is_appended_to_a_log_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(FOREIGN)
    link = tmp_path / "link.json"
    link.symlink_to("/dev/stdout")
    for out in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "//dev/stdout", str(link)):
        with log.open("ab") as file:
            command = [sys.executable, "-m", "mibias_cli.cli", "schema", "--out", out]
            assert subprocess.run(command, stdout=file, check=False).returncode == 0
    assert log.read_text().startswith(FOREIGN)
    assert log.read_text().count('"title": "mibias recipe"') == 5


def test_devices_are_no_files_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("/dev/null", "/dev/stdout", "/dev/fd/7", "/proc/self/fd/1"):
        assert is_device(Path(place))
        refuse_place(Path(place), option="--junit", what="JUnit XML", begins=b"<")
    assert not is_device(Path("/dev/shm/report.xml"))
    assert not is_device(tmp_path / "dev" / "null")
    with pytest.raises(RunError, match="is a folder"):
        refuse_place(Path("/dev"), option="--junit", what="JUnit XML", begins=b"<")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/proc/z.parquet", "the system's own folder takes no files"),
        ("/proc/self/z.parquet", "the system's own folder takes no files"),
        ("/sys/z.safetensors", "the system's own folder takes no files"),
        ("/dev/null/z.parquet", "/dev/null is a file, so nothing can be written below it"),
    ],
)
def test_where_no_features_can_be_written_is_said_in_one_line(place: str, said: str) -> None:
    with pytest.raises(ExportError) as caught:
        check_out(Path(place), FEATURE_FILES)
    assert str(caught.value).startswith(f"--out {place}: {said}")
    assert "\n" not in str(caught.value)
