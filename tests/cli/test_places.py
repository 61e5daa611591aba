"""Where a command is to write, and arguments that say nothing, are looked at before it computes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mibias_cli.cli.main import app

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
