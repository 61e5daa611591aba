"""The shipped recipes: found, valid, copied without harm, and with a schema that is the program's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mibias_cli.errors import RecipeError
from mibias_cli.recipe import shipped
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import schema_text
from mibias_cli.recipe.shipped import copy_recipe, recipe_title, shipped_recipes
from mibias_cli.recipe.yaml_source import parse_yaml

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes in place of the shipped ones."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "b.yaml").write_text("# yaml-language-server: $schema=recipe.schema.json\n# What b is for.\nversion: 1\n")
    (folder / "a.yaml").write_text("version: 1\n# later\n")
    (folder / "recipe.schema.json").write_text("{}")
    monkeypatch.setattr(shipped, "_folder", lambda: folder)
    return folder


def test_the_checked_in_schema_is_the_programs() -> None:
    assert (RECIPES / "recipe.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run: mibias schema --out recipes/recipe.schema.json"
    )


def test_the_schema_is_a_schema_and_says_what_every_key_is_for() -> None:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    models = [schema, *schema["$defs"].values()]
    for model in models:
        assert model["additionalProperties"] is False
        assert model["description"]


def test_every_shipped_recipe_is_valid_points_editors_to_the_schema_and_says_what_it_is_for() -> None:
    validator = Draft202012Validator(json.loads(schema_text()))
    for path in shipped_recipes().values():
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n"), path
        assert recipe_title(path), path
        load_recipe(path)
        assert list(validator.iter_errors(parse_yaml(text, path=str(path)).data)) == []


def test_the_schema_refuses_what_the_program_refuses() -> None:
    validator = Draft202012Validator(json.loads(schema_text()))
    data = parse_yaml("version: 1\ndata: {source: digits}\nbackbone: {name: x}\ndebias: {wieght: 1}\n", path="r").data
    assert len(list(validator.iter_errors(data))) == 1


def test_shipped_recipes_by_name(folder: Path) -> None:
    assert shipped_recipes() == {"a": folder / "a.yaml", "b": folder / "b.yaml"}
    assert recipe_title(folder / "b.yaml") == "What b is for."
    assert recipe_title(folder / "a.yaml") == ""


def test_copy_writes_recipe_and_schema(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "mine.yaml"
    assert copy_recipe("b", target) == [target, target.with_name("recipe.schema.json")]
    assert target.read_text() == (folder / "b.yaml").read_text()
    into = tmp_path / "into"
    into.mkdir()
    (into / "recipe.schema.json").write_text("mine")
    assert copy_recipe("a", into) == [into / "a.yaml"]
    assert (into / "recipe.schema.json").read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_copy_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("precious")
    with pytest.raises(RecipeError, match=r"mine\.yaml: exists already"):
        copy_recipe("b", target)
    assert target.read_text() == "precious"


@pytest.mark.usefixtures("folder")
def test_copy_of_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nosuch: no recipe of this name comes with mibias; they are a, b"):
        copy_recipe("nosuch", tmp_path)
