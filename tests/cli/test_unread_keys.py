"""Settings that an audit does not read are told, and they are those that it does not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import tiny, train_alone
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.cli.recipe_checks import unread_keys
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.values import Section
from mibias_cli.run import workflow

QUICK = ("evaluation.n_permutations=0", "training.epochs=1")
CHECKED = {"training.augment", "debias.weight", "debias.bias_product", "backbone.train"}
"""What an audit looks at, and does not go by: the transforms of training, what suits the target, what may be cached."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_alone(tiny(*QUICK), tmp_path_factory.mktemp("runs") / "run")


def keys(recipe: Recipe) -> list[str]:
    """All keys of a recipe that are two deep at most."""
    found = []
    for name in Recipe.model_fields:
        section = getattr(recipe, name)
        found += [f"{name}.{key}" for key in type(section).model_fields] if isinstance(section, Section) else [name]
    return found


def test_what_is_told_to_have_no_effect_is_never_read(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = workflow.load_run_recipe(run)
    unread = set(unread_keys([f"{key}=0" for key in keys(recipe)]))
    assert len(unread) > 40
    names = {id(getattr(recipe, name)): name for name in Recipe.model_fields}
    read = set[str]()
    plain = Section.__getattribute__

    def recorded(section: Section, name: str) -> object:
        if id(section) == id(recipe):
            read.add(name)
        elif id(section) in names:
            read.add(f"{names[id(section)]}.{name}")
        return plain(section, name)

    monkeypatch.setattr(Section, "__getattribute__", recorded)
    workflow.evaluate(run, recipe=recipe, out=tmp_path / "report", offline=True)
    monkeypatch.undo()
    # the recorder sees what is read
    assert {"training.batch_size", "evaluation.layers", "debias.objective", "seed"} <= read
    assert read & unread <= CHECKED


def test_they_are_told_by_the_command(run: Path, tmp_path: Path) -> None:
    settings = ("training.epochs=9", "evaluation.confidence=0.9", "debias.weight=3", "export.formats=[onnx]")
    options = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["evaluate", str(run), "--out", str(tmp_path / "r"), "--offline", *options])
    assert result.exit_code == 0, result.output
    said = "--set training.epochs, debias.weight, export.formats: an audit does not read this"
    assert said in " ".join(result.stderr.split())
    assert unread_keys(["evaluation.confidence=0.9", "training.device=cpu", "original=null", "discover.by=peers"]) == []
