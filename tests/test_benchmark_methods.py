"""Every method of the image benchmarks is a recipe that holds, whatever becomes of the shipped recipe."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mibias_cli.recipe.load import parse_recipe

ROOT = Path(__file__).parents[1]
RECIPES = {"colored_mnist": "colored_mnist.yaml", "taste": "quickstart.yaml"}
RIVALS = {"plain", "grey", "reweight", "hsic", "lntl", "vclub", "cross_sample", "paper", "released", "penalty"}


@pytest.mark.parametrize("module", RECIPES)
def test_methods_are_recipes_and_rivals_have_nothing_of_ours(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    path = ROOT / "recipes" / RECIPES[module]
    methods = importlib.import_module(module).METHODS
    assert {"mibias", "plain", "paper"} <= set(methods)
    for name, overrides in methods.items():
        recipe = parse_recipe(path.read_text(), path=str(path), overrides=overrides)
        if name in RIVALS:
            assert recipe.debias.bias_product == 0, name
            assert recipe.training.average_decay is None, name
