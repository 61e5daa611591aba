"""Sizes that nobody means are refused before the work begins, with the number."""

from __future__ import annotations

import pytest

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import parse_recipe

TABLE = """
version: 1
data: {source: table, path: a.csv, columns: {target: y}, attributes: {age: {kind: continuous, bins: 4}}}
backbone: {name: mlp}
original: {epochs: 1}
"""


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("data.attributes.age.bins=1000000", "at most 1,000"),
        ("data.ramps=100000000", "at most 65,536"),
        ("training.epochs=1000000000", "at most 1,000,000"),
        ("original.epochs=1000000000", "at most 1,000,000"),
        ("training.batch_size=100000000", "at most 1,000,000"),
        ("training.num_workers=100000", "at most 1,024"),
        ("debias.queue_batches=1000000000", "at most 10,000"),
        ("debias.critic.steps=1000000000", "at most 10,000"),
        ("debias.critic.hidden=[100000000]", "at most 65,536"),
        ("debias.critic.batch_size=1000000000", "at most 1,000,000"),
        ("debias.critic.n_random_features=1000000000", "at most 65,536"),
        ("representation.bottleneck=1000000000", "at most 65,536"),
        ("representation.bottleneck={width: 99999999}", "at most 65,536"),
        ("representation.bottleneck={hidden: [1000000000]}", "at most 65,536"),
        ("backbone.input_size=1000000000", "at most 8,192"),
        ("backbone.input_size=[32, 1000000000]", r"--set backbone.input_size.1: .*at most 8,192"),
        ("backbone.input_size=[32]", "--set backbone.input_size"),
        ("backbone.input_size=big", "--set backbone.input_size: must be a whole number, not 'big'"),
        ("backbone.cache_views=1000000000", "at most 10,000"),
        ("evaluation.n_bootstrap=1000000000", "at most 100,000"),
        ("evaluation.n_permutations=1000000000", "at most 100,000"),
    ],
)
def test_a_slip_of_the_hand_is_refused_by_its_number(setting: str, limit: str) -> None:
    with pytest.raises(RecipeError, match=limit) as caught:
        parse_recipe(TABLE, path="r.yaml", overrides=[setting])
    assert len(caught.value.problems) == 1


def test_thousands_of_unknown_keys_are_counted_not_listed() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TABLE + "".join(f"key{k}: 1\n" for k in range(1000)), path="r.yaml")
    text = str(caught.value)
    assert len(caught.value.problems) == 1000
    n_shown = text.count("unknown key")
    assert n_shown >= 10
    assert len(text) < 5000
    assert text.endswith(f"… and {1000 - n_shown} more")
    assert len(text.splitlines()) < 160


def test_a_key_without_end_is_shown_by_its_beginning() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TABLE + "k" * 100_000 + ": 1\n", path="r.yaml")
    assert len(str(caught.value)) < 2000
