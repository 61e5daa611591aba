"""README's `mibias …` commands run as they stand, in a fresh folder; training is cut short."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHORT = ["original.epochs=1", "training.epochs=1", "evaluation.probes=[logistic]", "evaluation.n_bootstrap=100"]


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


def test_every_command_in_order(tmp_path: Path) -> None:
    """One test, since each command needs what those before it wrote."""
    for command in commands():
        words = shlex.split(command)
        if words[1] == "train" and "--dry-run" not in words:
            words += [part for override in SHORT for part in ("--set", override)]
        if words[1] == "evaluate":
            words += ["--set", "evaluation.probes=[logistic]"]
        done = subprocess.run(
            [sys.executable, "-m", "mibias_cli.cli", *words[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
