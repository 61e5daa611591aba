"""The choice that needs no unbiased data: on digits whose colour gives them away it takes the run that reads shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from mibias_cli.compare.runs import compare
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run import workflow

RECIPE = """
version: 1
name: choice
data: {source: digits, variance: 0.02, size: 28, validation_fraction: 0.3}
backbone: {name: digit_cnn, options: {width: 8, hidden: 64, features: 32}}
debias: {weight: 0, balance: none, critic: {steps: 1, hidden: [8]}}
training: {epochs: 12, batch_size: 64, optimizer: adam, learning_rate: 2e-3}
evaluation: {probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plain training and the product of experts."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in {"plain": [], "product": ["debias.bias_product=1"]}.items():
        recipe = parse_recipe(RECIPE, path="r.yaml", overrides=overrides)
        out = folder / name
        workflow.train(recipe, out=out, resume=None, overwrite=False, offline=True, progress=Silent())
    return [folder / "plain", folder / "product"]


def test_biased_validation_data_choose_the_run_that_random_colours_would(runs: list[Path]) -> None:
    found = compare(runs)
    plain, product = found.runs
    assert plain.score.after is not None
    assert product.score.after is not None
    assert product.score.after.estimate > plain.score.after.estimate + 0.15  # what an unbiased test says
    assert (product.gain_over_bias_bits or 0) > (plain.gain_over_bias_bits or 0)
    assert (product.leakage_given_target_bits or 0) < (plain.leakage_given_target_bits or 0)
    assert found.chosen is not None
    assert found.groups[found.chosen - 1].runs == ("product",)
