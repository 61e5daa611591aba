from __future__ import annotations

import pytest

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.recipe.schema import Recipe

BASE = """version: 1
data:
  source: table
  path: t.csv
  attributes: {sex: {}}
  columns: {target: %s}
  target_kind: %s
backbone: {name: mlp}
"""


def recipe(target: str, kind: str = "null", more: str = "") -> Recipe:
    return parse_recipe(BASE % (target, kind) + more, path="r.yaml")


@pytest.mark.parametrize(
    ("target", "kind"),
    [("y", "null"), ("null", "null"), ("[a, b]", "null"), ("[a, b]", "multilabel"), ("3", "regression"), ("y", "none")],
)
def test_targets_that_a_recipe_may_have_survive_writing(target: str, kind: str) -> None:
    given = recipe(target, kind)
    assert parse_recipe(dump_recipe(given), path="r.yaml") == given


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("[]", "null", "r.yaml:6:21 data.columns.target: must be a column, a list of columns, or null"),
        ("3.5", "null", "r.yaml:6:21 data.columns.target: must be a column, a list of columns, or null"),
        ("[a, a]", "null", "r.yaml:6:25 data.columns.target.1: 'a' is named twice"),
        ("y", "regresion", "r.yaml:7:16 data.target_kind: .*did you mean 'regression'"),
        ("null", "regression", "r.yaml:7:16 data.target_kind: is regression, which needs a target"),
        ("[a, b]", "classes", "r.yaml:7:16 data.target_kind: is classes, which are of one column"),
    ],
)
def test_faults_of_targets_have_their_lines(target: str, kind: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(target, kind)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "debias: {objective: conditional}\n",
            "r.yaml:9:21 debias.objective: conditional leaves what the target",
        ),
        ("representation: {layers: [output]}\n", "r.yaml:9:27 representation.layers.0: output is the task's"),
        ("representation: {bottleneck: 8}\n", "r.yaml:9:30 representation.bottleneck: is drawn at random"),
        ("original: {epochs: 2}\n", "r.yaml:9:11 original: trains on the task"),
        ("discover: {}\n", "r.yaml:9:11 discover: trains on the task"),
    ],
)
def test_what_needs_a_target_is_refused_without_one(more: str, message: str) -> None:
    recipe("y", more=more)
    with pytest.raises(RecipeError, match=message):
        recipe("null", more=more)
