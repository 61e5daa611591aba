"""README's `mibias …` commands run as they stand, in a fresh folder; training is cut short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.run import dry_run

ROOT = Path(__file__).parent.parent
SHORT = [
    "original.epochs=1", "training.epochs=1", "training.batch_size=64", "evaluation.probes=[logistic]",
    "evaluation.n_bootstrap=100", "evaluation.n_permutations=19", "evaluation.random_control=false",
    "evaluation.max_samples=300",
]  # fmt: skip


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.partition("  #")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("mibias ")]


def test_readme_names_its_two_make_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_readme_has_commands() -> None:
    assert {command.split()[1] for command in commands()} >= {"train", "evaluate", "export", "validate", "recipes"}


def test_every_command_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, since each command needs what those before it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dry_run, "MOST_STEPS", 4)
    for command in commands():
        words = shlex.split(command)[1:]
        settings = SHORT if words[0] in ("train", "evaluate") and "--dry-run" not in words else []
        words += [part for setting in settings for part in ("--set", setting)]
        # in this process: one of its own imports torch for as long as the command runs; test_streams starts some
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{command}\n{done.output}"
