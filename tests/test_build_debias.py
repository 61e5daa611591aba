"""From the recipe's `debias` section to weights and budgets."""

from __future__ import annotations

import numpy as np
import pytest

from mibias_cli import build
from mibias_cli.build_debias import budgets_of, build_weights
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.training.step import TASK_WEIGHT

DIGITS = """
version: 1
data: {source: digits, variance: 0.05}
backbone: {name: digit_cnn, options: {width: 2, hidden: 4, features: 4}}
"""


def digits(*overrides: str) -> Recipe:
    return parse_recipe(DIGITS, path="digits.yaml", overrides=["data.size=28", *overrides])


@pytest.fixture(scope="module")
def assembly() -> build.Assembly:
    return build.assemble(digits(), offline=True)


def test_strength_tempers_what_the_estimator_sees_and_not_the_task(assembly: build.Assembly) -> None:
    full = build_weights(digits(), assembly.data)["train"]
    half = build_weights(digits("debias.balance_strength=0.5"), assembly.data)["train"]
    np.testing.assert_allclose(half["colour"], 0.5 * full["colour"] + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(half[TASK_WEIGHT], full[TASK_WEIGHT])
    assert half["colour"].mean() == pytest.approx(1.0, abs=1e-5)


def test_a_budget_is_for_all_attributes_or_for_those_named(assembly: build.Assembly) -> None:
    assert budgets_of(digits(), assembly.data) == {}
    assert budgets_of(digits("debias.budget_bits=0.1"), assembly.data) == {"colour": 0.1}
    assert budgets_of(digits("debias.budget_bits={colour: 0.2}"), assembly.data) == {"colour": 0.2}
