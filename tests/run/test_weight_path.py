"""`debias.weight: auto`: a path of λ for a last fit, the choice from it, and a share of the gradient in the steps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from small_runs import best, metrics, recipe_for_numbers, same, shorten_last_fit, tiny, train_alone

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.debiaser import AUTO_SHARE, build_debiaser
from mibias_cli.run.heads.weight_path import N_FOLDS, PATH, choose_weight, folds, held_out_scores, sample_weights

LINEAR = "representation={layers: [features], bottleneck: {width: 9, hidden: []}}"
LAST = (
    LINEAR, "original=null", "training.epochs=1", "training.head_last=0.05", "debias.estimator=closed_form",
    "debias.objective=conditional", "debias.bias_product=1", "debias.class_prior=uniform", "data.variance=0.02",
    "debias.critic={n_random_features: 16}", "debias.queue_batches=32",
)  # fmt: skip
NARROW = (
    "representation: {bottleneck: {width: 2, hidden: []}, layers: [features]}",
    "debias: {weight: auto, estimator: closed_form}",
    "training: {head_last: 0.1, epochs: 1}",
)
HALF = "data.splits={fractions: [0.5, 0.1, 0.4]}"


@pytest.fixture(scope="module")
def parts() -> Parts:
    return assemble(tiny(*LAST, "debias.weight=auto"), offline=True)


def labels(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    attribute = parts.data.attributes["colour"]
    return parts.data.train.y, attribute.classes(parts.data.train.c["colour"])


@pytest.mark.parametrize(
    ("means", "chosen"),
    [
        ([0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 3.0),
        ([0.9, 0.9, 0.9, 0.88, 0.88, 0.8], 0.1),
        # a dip on the way is noise: what lies behind it costs nothing
        ([0.9, 0.9, 0.85, 0.9, 0.8, 0.8], 0.3),
        # every penalty costs more, and one was asked for
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 0.03),
    ],
)
def test_the_largest_weight_that_costs_nothing_is_chosen(means: list[float], chosen: float) -> None:
    probability = (np.arange(1000) < 1000 * np.array(means)[:, None]).astype(float)
    weight, why = choose_weight(probability, np.full(1000, 1e-3))
    assert weight == chosen
    assert f"auto is {chosen:g}" in why
    assert "cannot tell" not in why


def test_what_rare_samples_cannot_tell_is_said() -> None:
    """Two samples of weight .05 change by .5, one up and one down: .05 · .5 · √2."""
    weights = np.array([0.05, 0.05, *[0.9 / 98] * 98])
    probability = np.full((len(PATH), 100), 0.5)
    probability[-1, :2] = 0, 1
    weight, why = choose_weight(probability, weights)
    assert weight == PATH[-1]
    assert "cannot tell differences below 3.5 points" in why


def test_every_cell_is_spread_over_the_folds(parts: Parts) -> None:
    fold = folds(parts)
    y, c = labels(parts)
    cells = np.unique(np.column_stack([y, c]), axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.zeros((cells.max() + 1, N_FOLDS), dtype=int)
    np.add.at(counts, (cells, fold), 1)
    assert (np.ptp(counts, axis=1) <= 1).all()
    assert abs(np.diff(np.bincount(fold))).max() <= 1


def test_under_the_weights_classes_count_alike_and_the_attribute_tells_nothing(parts: Parts) -> None:
    weights = sample_weights(parts, mixed=False)
    y, _ = labels(parts)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(y, weights=weights), 0.1)
    # of copies in other colours each tells as much
    copies = sample_weights(parts, mixed=True)
    np.testing.assert_allclose(copies, 0.1 / np.bincount(y)[y])
    assert np.ptp(weights[y == 0]) > np.ptp(copies[y == 0])


def test_a_run_is_that_of_the_weight_that_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_last_fit(monkeypatch)
    chosen = train_alone(tiny(*LAST, "debias.weight=auto"), tmp_path / "auto")
    (weight,) = {r["mi_weight"] for r in metrics(chosen) if r.get("kind") == "train" and r["step"] == last_step(chosen)}
    assert weight in PATH[1:]
    fixed = train_alone(tiny(*LAST, f"debias.weight={weight}"), tmp_path / "fixed")
    assert same(best(chosen), best(fixed))
    assert f"debias.weight: auto is {weight:g}; mean probability" in (chosen / "train.log").read_text()


def last_step(run: Path) -> int:
    return max(r["step"] for r in metrics(run) if "mi_weight" in r)


@pytest.mark.parametrize(
    ("overrides", "weight", "gradients"),
    [
        ((), AUTO_SHARE, "ratio"),
        # a product that leaves some of the bias to be learned
        (("debias.bias_product=0.7",), AUTO_SHARE, "ratio"),
        (("debias.bias_product=auto",), 1.0, "ratio"),
        (("debias.bias_product=1",), 1.0, "ratio"),
        (("debias.mix={layer: conv1, copies: true}",), 1.0, "ratio"),
        # a budget finds λ itself
        (("debias.budget_bits=0.1",), 1.0, "sum"),
    ],
)
def test_in_the_steps_the_penalty_has_a_share_of_the_gradient(
    overrides: tuple[str, ...], weight: float, gradients: str
) -> None:
    parts = assemble(tiny("debias.weight=auto", *overrides), offline=True)
    debiaser = build_debiaser(parts, 8)
    assert debiaser is not None
    assert (debiaser.settings.weight, debiaser.settings.gradients) == (weight, gradients)
    # beside a whole product, and of copies, it follows the estimate, whose most is the entropy of what is debiased
    train, most = parts.data.train, 0.0
    for name, c in train.c.items():
        for channel in parts.data.attributes[name].classes(c).T:
            shares = np.unique(channel, return_counts=True)[1] / len(channel)
            most -= float(shares @ np.log(shares))
    follows, copies = weight == 1.0 and gradients == "ratio", any("copies" in override for override in overrides)
    assert debiaser.settings.most_nats == (pytest.approx(most) if follows else None)
    assert debiaser.settings.share_power == (0.5 if copies else 1.0)


def test_a_path_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_last_fit(monkeypatch)
    # y is k / 7, and a is k
    recipe = parse_recipe(recipe_for_numbers(tmp_path, *NARROW), path="r.yaml", overrides=[HALF])
    run = train_alone(recipe, tmp_path / "run")
    told = re.search(r"auto is [\d.]+; R² of held-out samples by λ, %: 0: ([\d.]+)", read_log(run))
    assert told is not None
    assert float(told[1]) > 70


def test_a_path_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_last_fit(monkeypatch)
    text = recipe_for_numbers(tmp_path, *NARROW).replace("regression", "multilabel").replace("target: y", "target: l")
    rows = "".join(f"{k},{k % 3},{'fm'[k % 2]},{('p', 'q', 'p|q')[k % 3]}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("a,b,sex,l\n" + rows, encoding="utf-8")
    recipe = parse_recipe(text, path="r.yaml", overrides=[HALF])
    run = train_alone(recipe, tmp_path / "run")
    told = re.search(
        r"auto is [\d.]+; mean probability of held-out samples' labels by λ, %: 0: ([\d.]+)", read_log(run)
    )
    assert told is not None
    # b is k % 3, from which labels follow
    assert float(told[1]) > 70


def read_log(run: Path) -> str:
    return (run / "train.log").read_text()


def test_scores_are_probabilities_of_what_is_right() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    p = torch.tensor([[0.9, 0.2], [0.4, 0.3]])
    # .9 and 1 − .2; .4 and .3
    torch.testing.assert_close(held_out_scores(p.logit(), labels, "multilabel"), torch.tensor([0.85, 0.35]))
    classes = held_out_scores(p.log(), torch.tensor([1, 0]), "classes")
    torch.testing.assert_close(classes, torch.tensor([0.2 / 1.1, 0.4 / 0.7]))


def test_the_mean_score_of_numbers_is_r2() -> None:
    g = np.random.default_rng(0)
    y = g.normal(size=(500, 2))
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    predicted = 0.8 * y + 0.3 * g.normal(size=y.shape)
    scores = held_out_scores(torch.from_numpy(predicted), torch.from_numpy(y), "regression")
    assert float(scores.mean()) == pytest.approx(r2_score(y, predicted), abs=1e-12)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("debias.gradients=rescale", "is ratio with debias.weight: auto"),
        ("debias.weight=car", "must be auto or a number"),
    ],
)
def test_what_does_not_go_together_is_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_with("debias.weight=auto", override)


def recipe_with(*overrides: str) -> Recipe:
    return tiny(*overrides)
