from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.evaluation.probes.boosting import GradientBoosting
from mibias_cli.evaluation.probes.quadratic import Quadratic, QuadraticBasis, find_structure


def turned(d: int, g: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(g.normal(size=(d, d)))[0]


def test_the_one_product_that_matters_comes_first_and_alone() -> None:
    g = np.random.default_rng(4)
    x = g.normal(size=(800, 30))
    c = (x[:, 3] * x[:, 17] > 0).astype(int)
    structure = find_structure(x, c, seed=0)
    assert (structure.rows[0], structure.columns[0]) == (3, 17)
    assert 1 <= structure.n_products <= 2  # a second one by chance at most
    features = QuadraticBasis(x, structure, n_products=1, n_directions=0, squares=False)(x)
    assert features.shape == (800, 31)
    assert abs(np.corrcoef(features[:, -1], x[:, 3] * x[:, 17])[0, 1]) > 0.999


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_directions_whose_variance_differs_are_found_in_any_rotation(n_classes: int) -> None:
    g = np.random.default_rng(5)
    rotation = turned(20, g)
    c = g.integers(0, n_classes, 4000)
    x = g.normal(size=(4000, 20))
    x[:, :2] *= np.where(c == 1, 2.0, 1.0)[:, None]
    structure = find_structure(x @ rotation, c, seed=0)
    assert structure.n_directions >= 2
    found = np.linalg.qr(structure.directions[:, :2])[0]
    overlap = np.linalg.svd(rotation[:2] @ found, compute_uv=False)
    assert overlap.min() > 0.95


def test_nothing_much_is_found_in_noise() -> None:
    """Three shuffles: a statistic of the true labels passes all of them with probability one in four."""
    counts = []
    for seed in range(20):
        g = np.random.default_rng(seed)
        structure = find_structure(g.normal(size=(500, 16)), g.integers(0, 3, 500), seed=seed)
        counts.append((structure.n_products > 0, structure.n_directions > 0))
    assert np.mean(counts) < 0.5
    assert max(structure.n_products, structure.n_directions) <= 2


def test_squares_stay_in_the_basis_and_all_products_are_all() -> None:
    g = np.random.default_rng(7)
    x = g.normal(size=(300, 6))
    structure = find_structure(x, g.integers(0, 2, 300), seed=0)
    assert QuadraticBasis(x, structure, n_products=0, n_directions=0, squares=True)(x).shape == (300, 12)
    assert QuadraticBasis(x, structure, n_products=None, n_directions=3, squares=False)(x).shape == (300, 6 + 21 + 3)


def test_trees_split_on_an_xor_that_they_could_not_begin_themselves() -> None:
    """A label flip of 10 %: the best there is is 0.368 nats."""
    g = np.random.default_rng(8)
    x = g.normal(size=(4000, 24))
    c = np.where(g.random(4000) < 0.1, x[:, 2] * x[:, 9] <= 0, x[:, 2] * x[:, 9] > 0).astype(int)
    trees = GradientBoosting(x[:3000], c[:3000], n_extra=0, seed=0)
    trees.fit_to(3)
    gained = np.log(2) + trees.answer(x[3000:])[np.arange(1000), c[3000:]].mean()
    assert gained == pytest.approx(0.368, abs=0.05)  # three standard errors of 1,000 rows


def test_every_rung_says_what_it_is() -> None:
    assert len({Quadratic.describe(rung) for rung in range(len(Quadratic.RUNGS))}) == len(Quadratic.RUNGS)
