"""What labels alone say before training: weights, budgets and the product of experts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import recipe_for_numbers

from mibias_cli.data.batch import TASK_OFFSET
from mibias_cli.errors import MibiasError, RecipeError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.dry_run import dry_run
from mibias_cli.run.weights import build_weights, forewarnings, share_told
from mibias_cli.training.step import BIAS_LOG_P, TASK_WEIGHT

DIGITS = """
version: 1
data: {source: digits, variance: 0.05}
backbone: {name: digit_cnn, options: {width: 2, hidden: 4, features: 4}}
"""


def digits(*overrides: str) -> Recipe:
    return parse_recipe(DIGITS, path="digits.yaml", overrides=["data.size=28", *overrides])


@pytest.fixture(scope="module")
def loaded() -> Parts:
    return assemble(digits(), offline=True)


def changed(parts: Parts, *overrides: str) -> Parts:
    """The same data under another recipe."""
    return replace(parts, recipe=digits(*overrides))


def test_strength_tempers_what_the_estimator_sees_and_not_the_task(loaded: Parts) -> None:
    full = loaded.weights.train
    half = changed(loaded, "debias.balance_strength=0.5").weights.train
    np.testing.assert_allclose(half["colour"], 0.5 * full["colour"] + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(half[TASK_WEIGHT], full[TASK_WEIGHT])
    assert half["colour"].mean() == pytest.approx(1.0, abs=1e-5)


def test_a_budget_is_for_all_attributes_or_for_those_named(loaded: Parts) -> None:
    assert loaded.budgets == {}
    assert changed(loaded, "debias.budget_bits=0.1").budgets == {"colour": 0.1}
    assert changed(loaded, "debias.budget_bits={colour: 0.2}").budgets == {"colour": 0.2}


def test_a_clip_that_changes_nothing_is_not_advised() -> None:
    """The advice names a value below the weights that there are."""
    parts = assemble(digits("data.variance=0.02"), offline=True)
    (told,) = forewarnings(parts)
    largest = parts.weights.train["colour"].max()
    found = re.search(r"Set debias\.balance_clip below ([\d.e+]+), the largest weight", told)
    assert found is not None
    assert float(found[1]) == pytest.approx(largest, rel=0.005)


def test_copies_need_no_balancing_weights(loaded: Parts) -> None:
    assert any("effective sample size" in text for text in forewarnings(loaded))
    assert forewarnings(changed(loaded, "debias.mix={layer: conv1, copies: true}")) == []


@pytest.mark.parametrize("known", [1.0, 0.5])
def test_an_attribute_with_one_value_in_training_is_told(loaded: Parts, known: float) -> None:
    train = loaded.data.train
    is_known = np.arange(len(train)) < known * len(train)
    # what is not known may be anything
    c = np.where(is_known[:, None], train.c["colour"][:1], train.c["colour"])
    same = replace(train, c={"colour": c}, known={"colour": is_known})
    (told,) = forewarnings(replace(loaded, data=replace(loaded.data, train=same)))
    assert told.startswith(
        f"attribute 'colour': all {is_known.sum():,} training rows in which it is known have the same"
    )
    assert not any("have the same value" in text for text in forewarnings(loaded))


def of_places(tmp_path: Path, place: Callable[[int], str]) -> Parts:
    """400 rows of a table: 300 train, 40 validate, 60 are audited."""
    lines = [
        f"{k % 7},{'ab'[k % 2]},{place(k)},{'train' if k < 300 else 'validation' if k < 340 else 'test'}"
        for k in range(400)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["x,label,place,split", *lines]) + "\n")
    text = f"""
version: 1
data:
  source: table
  path: {tmp_path / "t.csv"}
  columns: {{target: label, split: split}}
  attributes: {{place: {{}}}}
backbone: {{name: mlp, options: {{hidden: [4], features: 4}}}}
"""
    return assemble(parse_recipe(text, path="t.yaml"), offline=True)


def test_an_attribute_that_few_training_rows_have_is_told(tmp_path: Path) -> None:
    told = forewarnings(of_places(tmp_path, lambda k: "uv"[k % 3 == 0] if k < 10 or k >= 300 else ""))
    assert told[0].startswith("attribute 'place': only 10 of 300 training rows have a label of it")
    enough = forewarnings(of_places(tmp_path, lambda k: "uv"[k % 3 == 0] if k < 50 or k >= 300 else ""))
    assert not any("have a label of it" in text for text in enough)
    # and of rows that are all alike one thing is said
    alike = forewarnings(of_places(tmp_path, lambda k: "uv"[k % 3 == 0] if k >= 300 else "u" if k < 10 else ""))
    assert [text.split(",")[0] for text in alike if "training rows" in text] == [
        "attribute 'place': all 10 training rows in which it is known have the same value"
    ]


def test_audited_values_that_training_lacks_are_told(tmp_path: Path) -> None:
    told = forewarnings(of_places(tmp_path, lambda k: "uv"[k % 3 == 0] if k < 340 else "vwz"[k % 3]))
    (text,) = [text for text in told if "audited class(es)" in text]
    assert text.startswith(
        "attribute 'place': 2 audited class(es) are in no training row: 'w' (20 rows), 'z' (20 rows);"
    )


def test_a_dry_run_tells_what_training_will(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = of_places(tmp_path, lambda k: "uv"[k % 3 == 0] if k < 10 or k >= 300 else "").recipe
    told = list[str]()
    progress = Silent()
    monkeypatch.setattr(progress, "warn", told.append, raising=False)
    dry_run(recipe, offline=True, progress=progress)
    assert any("only 10 of 300 training rows" in text for text in told)
    told.clear()
    dry_run(recipe.model_copy(update={"method": "plain"}), offline=True, progress=progress)
    assert told == []


def test_a_warm_up_that_outlasts_training_is_told(loaded: Parts) -> None:
    (told,) = [t for t in forewarnings(changed(loaded, "debias.warmup_epochs=40")) if "warmup" in t]
    assert "rises over 40 epochs, and training.epochs is 10: it ends at 25 % of debias.weight" in told
    assert not any("warmup" in text for text in forewarnings(changed(loaded, "debias.warmup_epochs=10")))
    (told,) = [t for t in forewarnings(changed(loaded, "training.warmup_epochs=1000")) if "warmup" in t]
    assert "the learning rate rises over 1000 epochs, and training.epochs is 10: it ends at 1 % of" in told


def test_bias_product_says_what_the_bias_tells_of_training_rows_alone(loaded: Parts) -> None:
    assert TASK_OFFSET not in loaded.weights.train
    for balance in ("critic", "none"):
        weights = changed(loaded, "debias.bias_product=0.5", f"debias.balance={balance}").weights
        offset, y = weights.train[TASK_OFFSET], loaded.data.train.y
        assert offset.shape == (len(y), 10)
        assert TASK_OFFSET not in weights.validation
        # log p(y|c) less log p(y), which averages p(y|c) over rows: both are probabilities
        prior = np.linalg.lstsq(np.exp(2 * offset.astype(np.float64)), np.ones(len(y)), rcond=None)[0]
        np.testing.assert_allclose(prior, np.bincount(y, minlength=10) / len(y), atol=0.01)
        # colour gives the digit away: by colour alone most are right
        assert (offset.argmax(axis=1) == y).mean() > 0.6


def test_a_product_with_what_says_nothing_leaves_rare_classes_rare(loaded: Parts) -> None:
    g = np.random.default_rng(0)
    train = loaded.data.train
    # nine in ten are of class 0, whatever the colour
    y = np.where(g.random(len(train)) < 0.9, 0, g.integers(0, 10, len(train)))
    parts = changed(loaded, "debias.bias_product=1", "debias.balance=none")
    data = replace(parts.data, train=replace(train, y=y))
    offset = build_weights(replace(parts, data=data)).train[TASK_OFFSET]
    # with log p(y) in it a rare class has -4.5; what a few rows of a colour say of it is noise
    assert np.abs(np.median(offset, axis=0)).max() < 1


@pytest.mark.parametrize(("variance", "least", "most"), [(0.002, 0.9, 1.0), (0.2, 0.8, 0.8)])
def test_an_automatic_share_grows_with_what_the_bias_tells(variance: float, least: float, most: float) -> None:
    changes = (f"data.variance={variance}", "debias.balance=none")
    parts = assemble(digits(*changes), offline=True)
    weights = changed(parts, *changes, "debias.bias_product=auto").weights
    offset, notes = weights.train[TASK_OFFSET], weights.notes
    whole = changed(parts, *changes, "debias.bias_product=1").weights.train[TASK_OFFSET]
    share = float(offset[0, 0] / whole[0, 0])
    assert least - 1e-6 <= share <= most + 1e-6
    np.testing.assert_allclose(offset, share * whole, rtol=1e-5)
    assert len(notes) == 1
    assert f"auto is {share:.3f}" in notes[0]


def test_the_share_told_is_known_information_over_entropy() -> None:
    y = np.array([0, 0, 0, 1])  # H(y) = 0.8113 bits; c tells nothing, all, and of half the rows all
    prior, sure = np.log([[0.75, 0.25]] * 4), np.log([[1, 1e-12], [1, 1e-12], [1, 1e-12], [1e-12, 1]])
    assert share_told(y, prior) == pytest.approx(0, abs=1e-12)
    assert share_told(y, sure) == pytest.approx(1, abs=1e-9)
    half = np.log([[1, 1e-12], [1, 1e-12], [0.5, 0.5], [0.5, 0.5]])  # H(y|c) is half a bit
    assert share_told(y, half) == pytest.approx(1 - 0.5 / 0.811278, rel=1e-5)
    assert share_told(np.zeros(3, dtype=np.int64), np.zeros((3, 1))) == 0


@pytest.mark.parametrize("value", ["abc", "-1", "true", ".inf", "'0.5'"])
def test_a_share_is_a_number_or_auto_and_an_error_says_so_once(value: str) -> None:
    with pytest.raises(RecipeError) as caught:
        digits(f"debias.bias_product={value}")
    assert str(caught.value).count("must be auto or a number of at least 0") == 1


@pytest.mark.parametrize("override", ["debias.balance=critic", "debias.balance=none", "debias.estimator=none"])
def test_what_the_bias_says_of_validation_rows_is_there_for_any_recipe(loaded: Parts, override: str) -> None:
    log_p, y = changed(loaded, override).bias_log_probabilities[BIAS_LOG_P], loaded.data.validation.y
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1.0, rtol=1e-4)
    told = -log_p[np.arange(len(y)), y].mean()
    assert 0 < told < 0.7 * np.log(10)  # colour tells much of the digit, and no row was in the fit that speaks of it


def test_of_labels_each_score_gets_the_log_odds_given_the_attribute(tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    c = g.random(4000) < 0.5
    follows, free = g.random(4000) < np.where(c, 0.9, 0.2), g.random(4000) < 0.1
    rows = [f"{k},{int(a)},{int(b)},{'fm'[s]}" for k, (a, b, s) in enumerate(zip(follows, free, c * 1, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(["x,follows,free,sex", *rows]), encoding="utf-8")
    text = f"""
version: 1
data:
  source: table
  path: {tmp_path / "t.csv"}
  columns: {{target: [follows, free]}}
  features: [x]
  attributes: {{sex: {{}}}}
backbone: {{name: mlp}}
debias: {{bias_product: 1}}
"""
    parts = assemble(parse_recipe(text, path="r.yaml"), offline=True)
    train, offset = parts.data.train, parts.weights.train[TASK_OFFSET]
    assert offset.shape == train.y.shape
    # from counts: log p(1|c)/p(0|c) less log p(1)/p(0)
    sex = parts.data.attributes["sex"].classes(train.c["sex"])[:, 0]
    for k in range(2):
        y = train.y[:, k]
        for value in range(2):
            odds, prior = (p / (1 - p) for p in (y[sex == value].mean(), y.mean()))
            found = offset[sex == value, k]
            np.testing.assert_allclose(found, np.log(odds / prior), atol=0.15)
    uniform = assemble(parse_recipe(text, path="r.yaml", overrides=["debias.class_prior=uniform"]), offline=True)
    prior = train.y.mean(axis=0)
    apart = (uniform.weights.train[TASK_OFFSET] - offset).mean(axis=0)
    np.testing.assert_allclose(apart, np.log(prior / (1 - prior)), atol=0.05)
    auto = assemble(parse_recipe(text, path="r.yaml", overrides=["debias.bias_product=auto"]), offline=True)
    np.testing.assert_allclose(auto.weights.train[TASK_OFFSET], 0.8 * offset, rtol=1e-4)


def test_bias_product_needs_classes(tmp_path: Path) -> None:
    text = recipe_for_numbers(tmp_path, "debias: {bias_product: 1}")
    with pytest.raises(MibiasError, match=r"debias\.bias_product.*regression"):
        assemble(parse_recipe(text, path="r.yaml"), offline=True)


def test_bias_product_without_debiasing_is_said_to_do_nothing() -> None:
    with pytest.raises(RecipeError, match="bias_product.*no effect"):
        digits("debias.bias_product=1", "debias.estimator=none")
    assert digits("debias.bias_product=1", "debias.weight=0").debias.bias_product == 1
