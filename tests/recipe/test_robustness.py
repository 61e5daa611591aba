"""Damaged recipes: whatever the damage, a RecipeError in plain words, or a recipe that survives the round trip."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import dump_recipe, parse_recipe

WHOLE = """\
version: 1
name: a
data: {source: manifest, path: a.csv, root: b, columns: {path: p, target: t, split: s, group: g},
       splits: {train: a, fractions: [.5, .2, .3]}, attributes: {sex: , age: {kind: continuous, bins: 4, column: c}}}
backbone: {name: resnet18, weights: none, options: {a: 1}, train: [a, b], layer_decay: .5, channels: 3}
representation: {layers: [features, output], pool: mean, bottleneck: 3}
original: {epochs: 2, learning_rate: 1e-3}
debias: {estimator: mine, attributes: [sex], weight: 1, critic: {hidden: [1, 2], moving_average: .9}}
training: {epochs: 3, augment: true, precision: 16, select: {metric: a, patience: 3}, clip_norm: 1}
evaluation: {probes: [mlp], confidence: .9}
export: {formats: [onnx]}
"""
VALUES = [None, True, 1, -1, 1.5, "x", "", [], [1], ["a", None], {}, {"a": 1}, {"source": "mnist"}, float("inf"),
          10**30, [[]], [{}], "digits", "mlp", "none", {"source": []}, {"source": {}}, -0.0, "pretrained"]  # fmt: skip
SETTINGS = ["1", "x", "[", "{}", "null", "", "{a: 1}", "off", "[a]"]
CHARACTERS = "{}[]:,#&*!|>'\"%@`-?\t\n \x00é\ufeff<=~\u2028\x85\r\x07"


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def damage(data: dict[str, Any], draw: random.Random) -> list[str]:
    """Change, delete or add something, or override it; returns the overrides."""
    path = draw.choice(list(places(data)))
    container: Any = data
    for key in path[:-1]:
        container = container[key]
    what = draw.choice(["change", "change", "delete", "add", "override"])
    if what == "change":
        container[path[-1]] = copy.deepcopy(draw.choice(VALUES))
    elif what == "delete" and len(data) > 1:
        del container[path[-1]]
    elif what == "add" and isinstance(container, dict):
        container[f"new{draw.randint(0, 2)}"] = copy.deepcopy(draw.choice(VALUES))
    elif what == "override":
        return [f"{'.'.join(map(str, path))}={draw.choice(SETTINGS)}"]
    return []


@pytest.mark.parametrize("seed", range(4))
def test_damaged_values(seed: int) -> None:
    draw = random.Random(seed)
    n_refused = n_taken = 0
    for _ in range(100):
        data = yaml.safe_load(WHOLE)
        overrides = [text for _ in range(draw.randint(1, 3)) for text in damage(data, draw)]
        text = yaml.safe_dump(data, default_flow_style=draw.choice([None, True, False]))
        try:
            recipe = parse_recipe(text, path="/x/r.yaml", overrides=overrides)
        except RecipeError as error:
            n_refused += 1
            for problem in error.problems:
                assert problem.line > 0 or problem.path == "--set"
                assert not any(jargon in problem.message for jargon in ("Input should", "Value error", "pydantic"))
        else:
            n_taken += 1
            assert parse_recipe(dump_recipe(recipe), path="/elsewhere/r.yaml") == recipe
    assert n_refused > 30
    assert n_taken > 3


@pytest.mark.parametrize("seed", range(4))
def test_damaged_text(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        text = list(WHOLE)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(text))
            text[at : at + draw.randint(0, 1)] = draw.choice(["", *CHARACTERS])
        with contextlib.suppress(RecipeError):
            parse_recipe("".join(text), path="r.yaml")
