from __future__ import annotations

import numpy as np
from scipy.stats import kstest, spearmanr

from mibias_cli.evaluation.statistics.normal_scores import normal_scores


def test_scores_of_either_part_are_standard_normal_whatever_the_values_are() -> None:
    g = np.random.default_rng(0)
    for values in (g.exponential(size=6000), g.integers(18, 70, 6000), (g.random(6000) < 0.3).astype(float)):
        fit, score = normal_scores(values[:3000], values[3000:], None, None, seed=1)
        assert kstest(fit, "norm").pvalue > 0.001
        assert kstest(score, "norm").pvalue > 0.001


def test_order_is_kept() -> None:
    g = np.random.default_rng(2)
    values = g.exponential(size=2000)
    fit, score = normal_scores(values[:1000], values[1000:], None, None, seed=0)
    assert spearmanr(values[:1000], fit).statistic == 1.0
    assert spearmanr(values[1000:], score).statistic > 0.9999


def test_within_a_stratum_the_stratum_tells_nothing() -> None:
    g = np.random.default_rng(3)
    y = g.integers(0, 2, 6000)
    values = g.normal(size=6000) * (1 + y) + 5 * y
    fit, score = normal_scores(values[:3000], values[3000:], y[:3000], y[3000:], seed=0)
    for part, stratum in ((fit, y[:3000]), (score, y[3000:])):
        for k in range(2):
            assert kstest(part[stratum == k], "norm").pvalue > 0.001


def test_values_beyond_those_of_the_fitting_part_stay_finite() -> None:
    fit, score = normal_scores(np.arange(40.0), np.array([-1e9, 1e9]), None, None, seed=0)
    assert np.isfinite(fit).all()
    assert np.isfinite(score).all()
    assert score[0] < fit.min() + 1
    assert score[1] > fit.max() - 1
