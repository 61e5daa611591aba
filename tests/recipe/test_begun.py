"""The recipe in a run's folder was taken when the run was begun: what is refused since then is read all the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from small_runs import tiny, trained

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import dump_recipe, load_recipe, parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.values import Believable
from mibias_cli.run import workflow
from mibias_cli.run.resume.same_run import changed_settings
from mibias_cli.run_folder import RECIPE_FILE, RunFolder

TABLE = """
version: 1
data: {source: table, path: /a.csv, columns: {target: y, split: part}, attributes: {age: {}, sex: {}}}
backbone: {name: mlp}
debias: {}
discover: {}
original: {epochs: 1}
"""

# one for each rule that this version laid on keys that were there before, and for each field with `Believable` limits
REFUSED = [
    ("evaluation", "confidence", 0.05),
    ("evaluation", "confidence", 0.999),
    ("training", "momentum", 1.5),
    ("discover", "clusters", 1),
    ("training", "augment", True),
    ("data", "columns", {"target": "y", "split": "y"}),
    ("data", "columns", {"target": "y", "group": "y"}),
    ("data", "columns", {"target": [0, "0"]}),
    ("data", "features", ["part"]),
    ("data", "attributes", {"age": {"column": "y"}}),
    ("data", "path", "https://example.org/a.csv"),
    ("logging", None, ["jsonl", "jsonl"]),
    ("name", None, "x" * 101),
    ("debias", "budget_bits", 1e9),
    ("debias", "budget_bits", {"age": 1e9}),
    ("debias", "weight", 1e7),
    ("debias", "attribute_weights", {"age": 1e7}),
    ("debias", "budget", {"max_weight": 1e7}),
    ("debias", "critic", {"learning_rate": 1000}),
    ("training", "learning_rate", 1000),
    ("original", "learning_rate", 1000),
]


def edited(text: str, section: str, key: str | None, value: object) -> str:
    """A recipe with one value otherwise."""
    recipe = yaml.safe_load(text)
    if key is None:
        recipe[section] = value
    else:
        recipe[section] = {**(recipe.get(section) or {}), key: value}
    return yaml.safe_dump(recipe)


@pytest.mark.parametrize(("section", "key", "value"), REFUSED)
def test_what_a_user_may_not_write_is_read_in_a_run(
    section: str, key: str | None, value: object, tmp_path: Path
) -> None:
    text = edited(TABLE, section, key, value)
    with pytest.raises(RecipeError):
        parse_recipe(text, path="r.yaml")
    (tmp_path / RECIPE_FILE).write_text(text, encoding="utf-8")
    # its name alone says nothing: a copy may be edited, and trained
    with pytest.raises(RecipeError):
        load_recipe(tmp_path / RECIPE_FILE)
    recipe = load_recipe(tmp_path / RECIPE_FILE, begun=True)
    # and what was read can be written and read again
    assert parse_recipe(dump_recipe(recipe), path=str(tmp_path / RECIPE_FILE), begun=True) == recipe
    # the option sets something else, so the old fault is none of its own
    assert load_recipe(tmp_path / RECIPE_FILE, ["training.device=cpu"], begun=True).training.device == "cpu"


def limited(section: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Places of all fields below a section on which a user has limits that a run has not."""
    for name, field in section.model_fields.items():
        if any(isinstance(one, Believable) for one in annotations(field)):
            yield (*place, name)
        for member in annotations(field):
            if isinstance(member, type) and issubclass(member, BaseModel):
                yield from limited(member, (*place, name))


def annotations(field: FieldInfo) -> Iterator[object]:
    yield from field.metadata
    yield from parts(field.annotation)


def parts(annotation: object) -> Iterator[object]:
    yield annotation
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__  # type: ignore[attr-defined]
    for inner in get_args(annotation):
        yield from parts(inner)


def test_every_limit_of_that_kind_is_among_the_cases() -> None:
    tried = {(section,) if key is None else (section, key) for section, key, _ in REFUSED}
    places = set(limited(Recipe))
    assert ("evaluation", "confidence") in places
    assert ("debias", "critic", "learning_rate") in places
    assert {place[:2] for place in places} <= tried


def test_what_an_option_brings_to_a_run_is_judged(tmp_path: Path) -> None:
    (tmp_path / RECIPE_FILE).write_text(edited(TABLE, "training", "momentum", 1.5), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / RECIPE_FILE, ["evaluation.confidence=0.999"], begun=True)
    assert [problem.key for problem in caught.value.problems] == ["evaluation.confidence"]
    # what cannot be read is refused as ever
    (tmp_path / RECIPE_FILE).write_text(edited(TABLE, "training", "momentun", 0.9), encoding="utf-8")
    with pytest.raises(RecipeError, match="unknown key, did you mean 'momentum'"):
        load_recipe(tmp_path / RECIPE_FILE, begun=True)


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run as an earlier version left it: with values that this one refuses to be given."""
    run = tmp_path_factory.mktemp("runs") / "old"
    quick = ("evaluation.random_control=false", "evaluation.n_permutations=0", "evaluation.max_samples=300")
    trained(tiny(*quick, "training.epochs=1"), run)
    recipe = RunFolder(run).recipe
    text = recipe.read_text(encoding="utf-8")
    for section, key, value in (
        ("evaluation", "confidence", 0.999), ("training", "momentum", 1.0), ("training", "learning_rate", 1000.0),
        ("debias", "weight", 1e7), ("name", None, "x" * 150), ("logging", None, ["jsonl", "jsonl"]),
    ):  # fmt: skip
        text = edited(text, section, key, value)
    recipe.write_text(text, encoding="utf-8")
    # its record of the beginning says the same
    start = RunFolder(run).start
    begun = yaml.safe_load(start.read_text(encoding="utf-8"))
    begun["recipe"] = load_recipe(recipe, begun=True).model_dump(mode="json")
    start.write_text(json.dumps(begun), encoding="utf-8")
    return run


def test_an_old_run_is_evaluated_exported_and_resumed(old_run: Path, tmp_path: Path) -> None:
    found = workflow.evaluate(old_run, out=tmp_path / "report", offline=True)
    assert found.report.settings.confidence == 0.999
    assert (workflow.export(old_run, out=tmp_path / "export", offline=True) / "model.safetensors").is_file()
    # a run that lacks its report writes it when it is resumed
    run = tmp_path / "run"
    shutil.copytree(old_run, run)
    shutil.rmtree(RunFolder(run).report)
    recipe = workflow.load_run_recipe(run)
    assert changed_settings(RunFolder(run), recipe) == []
    assert trained(recipe, None, resume=run).report.settings.confidence == 0.999  # type: ignore[arg-type]
