"""What `data.values` may say of cells."""

from __future__ import annotations

import pytest

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import parse_recipe

TEXT = """
version: 1
backbone: {{name: mlp}}
data: {{source: table, path: t.csv, attributes: {{sex: {{}}}}, values: {values}}}
"""


@pytest.mark.parametrize("values", ["{a: {-1: 1, x: null, (missing): [], b: [u, v], c: 0.5}}", "{}"])
def test_cells_are_texts_numbers_lists_or_missing(values: str) -> None:
    assert parse_recipe(TEXT.format(values=values), path="t.yaml").data.values is not None


@pytest.mark.parametrize("values", ["3", "[a]", "{a: 3}", "{a: [b]}"])
def test_what_is_no_map_of_columns_says_what_is_meant(values: str) -> None:
    with pytest.raises(RecipeError, match=r"must be, for each column, old values with new ones"):
        parse_recipe(TEXT.format(values=values), path="t.yaml")


@pytest.mark.parametrize("new", ["true", ".inf", "[1]", "[a, [b]]", "{b: 1}"])
def test_what_is_no_cell_is_named(new: str) -> None:
    with pytest.raises(RecipeError, match=r"a: old: must be text, a number, a list of texts, or null for missing"):
        parse_recipe(TEXT.format(values=f"{{a: {{old: {new}}}}}"), path="t.yaml")
