from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from mibias_cli.evaluation.statistics.permutation import detectable_bits


@pytest.mark.parametrize(("n_fit", "n_score", "d"), [(400, 400, 16), (2000, 500, 64), (300, 3000, 8)])
def test_a_linear_probe_finds_it_in_four_of_five_draws(n_fit: int, n_score: int, d: int) -> None:
    """Draws of mean-coded leakage of exactly that size, a plain discriminant fitted, its scores permuted (as z-test).

    400 draws: four standard errors are 8 points; the formula is one to leading order, so 12 are allowed.
    """
    bits = detectable_bits(n_fit, n_score, d)
    shift = math.sqrt(8 * bits * math.log(2))  # I = shift² / 8 nats for small shifts
    hits = 0
    for seed in range(400):
        g = np.random.default_rng([1, seed])
        c_fit, c_score = g.integers(0, 2, n_fit), g.integers(0, 2, n_score)
        z_fit, z_score = g.normal(size=(n_fit, d)), g.normal(size=(n_score, d))
        z_fit[:, 0] += shift * c_fit
        z_score[:, 0] += shift * c_score
        w = z_fit[c_fit == 1].mean(axis=0) - z_fit[c_fit == 0].mean(axis=0)
        s = z_score @ w
        gap = s[c_score == 1].mean() - s[c_score == 0].mean()
        error = s.std() * math.sqrt(1 / c_score.sum() + 1 / (n_score - c_score.sum()))
        hits += gap / error > norm.ppf(0.95)
    assert abs(hits / 400 - 0.8) < 0.12


def test_more_samples_detect_less() -> None:
    assert detectable_bits(1000, 1000, 64) > detectable_bits(4000, 1000, 64) > detectable_bits(4000, 4000, 64)
    assert (
        detectable_bits(1000, 1000, 4) < detectable_bits(1000, 1000, 64) < detectable_bits(1000, 1000, 64, n_classes=8)
    )
