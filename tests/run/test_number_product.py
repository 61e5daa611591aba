"""A product of experts of numbers against Gaussians of which everything is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_runs import pictures, recipe_for_numbers

from mibias_cli.data.batch import TASK_OFFSET
from mibias_cli.errors import MibiasError
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.heads.number_product import gaussian_offset

MEAN, VARIANCE, NOISE = 0.8, 0.36, 0.5
"""Of y given c, so that y has variance 1 in all; and of a feature given y, a variance."""


def drawn(n: int, *, agree: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, a bias attribute that tells of them or not, and a feature that tells of numbers alone."""
    g = np.random.default_rng(3)
    c = g.integers(2, size=n)
    own = c if agree else g.integers(2, size=n)
    y = MEAN * (2 * own - 1) + np.sqrt(VARIANCE) * g.normal(size=n)
    return y, c, y + np.sqrt(NOISE) * g.normal(size=n)


def test_a_head_that_is_fitted_with_the_offset_ignores_what_it_need_not_know() -> None:
    y, c, feature = drawn(200_000, agree=True)
    # the precision of y given the feature, where y is of N(0, 1)
    precision = 1 + 1 / NOISE
    offset = gaussian_offset(y, MEAN * (2 * c - 1.0), variance=VARIANCE, precision=precision, share=1.0)
    x = np.column_stack([feature, c - c.mean(), np.ones(len(y))])
    with_offset, plain = (np.linalg.lstsq(x, aim, rcond=None)[0] for aim in (y - offset, y))
    # the mean of y given the feature alone, by Bayes' rule
    np.testing.assert_allclose(with_offset, [1 / NOISE / precision, 0, 0], atol=0.01)
    # what a plain fit learns in its place
    assert plain[1] > 0.5


def test_no_share_and_an_attribute_that_tells_nothing_add_nothing() -> None:
    y = np.linspace(-2, 2, 9)
    assert np.abs(gaussian_offset(y, y / 2, variance=0.5, precision=3, share=0.0)).max() < 1e-12
    assert np.abs(gaussian_offset(y, 0 * y, variance=1.0, precision=3, share=1.0)).max() < 1e-12


def parts_of(folder: Path, *sections: str, product: float | str = 1) -> Parts:
    """Parts of a table of Gaussians, whose network gives its input as it is."""
    text = recipe_for_numbers(folder, "debias: {estimator: classifier}", *sections)
    y, c, feature = drawn(3000, agree=True)
    rows = "".join(f"{f},{v},{'fm'[k]}\n" for f, v, k in zip(feature, y, c, strict=True))
    (folder / "t.csv").write_text("a,y,sex\n" + rows, encoding="utf-8")
    return assemble(parse_recipe(text, path="r.yaml", overrides=[f"debias.bias_product={product}"]), offline=True)


def test_precision_and_what_attributes_say_are_found_in_the_data(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, "original: null")
    train = parts.data.train
    offset, (note,) = parts.weights.train[TASK_OFFSET], parts.weights.notes
    assert offset.shape == train.y.shape
    y, c = train.y[:, 0].astype(float), train.c["sex"][:, 0]
    # features of a network whose weights are drawn know a little less than its input does
    told = float(note.split("features ")[1].split(" ")[0])
    assert told == pytest.approx(1 / (1 + NOISE), abs=0.08)
    sign = np.array([y[c == k].mean() for k in (0, 1)])
    expected = gaussian_offset(y, sign[c], variance=VARIANCE, precision=1 / (1 - told), share=1.0)
    np.testing.assert_allclose(offset[:, 0], expected, atol=0.1)


def test_auto_is_the_share_of_the_variance_that_attributes_tell(tmp_path: Path) -> None:
    whole, auto = (parts_of(tmp_path, product=share).weights.train[TASK_OFFSET] for share in (0.8, "auto"))
    # they tell .64, which is less than the least share
    np.testing.assert_allclose(auto, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("debias.mix={layer: layer1, copies: true}", "leave out one of the two"),
        ("debias.class_prior=uniform", "is for classes"),
    ],
)
def test_what_a_product_of_numbers_does_not_bear(tmp_path: Path, override: str, said: str) -> None:
    text = pictures(tmp_path, "manifest", n=6).replace("columns: {", "target_kind: regression\n  columns: {")
    overrides = ["backbone.train=all", "debias.bias_product=1", override]
    with pytest.raises(MibiasError, match=said):
        assemble(parse_recipe(text, path="r.yaml", overrides=overrides), offline=True)
