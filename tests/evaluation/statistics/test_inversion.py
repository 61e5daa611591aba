"""Intervals of sizes, against truths that are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mibias_cli.evaluation.statistics.inversion import simultaneous_bounds, with_floor
from mibias_cli.evaluation.statistics.ranking import auroc_draws
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.calibration import calibration_bounds
from mibias_cli.evaluation.task.rule import Terms

N = 600
DRAWS = Resamples(N, 300, seed=0)
TERMS = Terms(attributes=(), resamples=DRAWS, min_cell=5, confidence=0.95)


@pytest.mark.parametrize("too_sure", [0.0, 0.02, 0.1])
def test_the_calibration_error_is_covered(too_sure: float) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        confidence = rng.uniform(0.6, 1.0, N)
        y = (rng.random(N) < confidence - too_sure).astype(np.int64)
        bounds = calibration_bounds([(np.stack([1 - confidence, confidence], axis=1), y)], TERMS)
        covered += bounds.lower <= too_sure <= bounds.upper
    assert covered >= 0.91 * 200


def test_the_area_under_the_curve_in_resamples_is_that_of_resampled_rows() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, N)
    score = np.round(1 / (1 + np.exp(-(y + rng.normal(size=N)))), 2)
    draws = auroc_draws(np.stack([1 - score, score], axis=1), y, DRAWS)
    assert draws is not None
    again = [roc_auc_score(y[rows], score[rows]) for rows in (rng.integers(0, N, N) for _ in range(300))]
    assert draws.mean() == pytest.approx(roc_auc_score(y, score), abs=0.003)
    assert draws.std() == pytest.approx(np.std(again), rel=0.15)
    assert auroc_draws(np.ones((N, 2)), np.zeros(N, dtype=int), DRAWS) is None


def test_a_group_without_a_hit_still_varies() -> None:
    errors = with_floor(np.zeros((2000, 2)), np.array([0.04, 0.0]), np.random.default_rng(0))
    assert errors.std(axis=0) == pytest.approx([0.2, 0.0], rel=0.05)


def test_two_rates_have_the_ordinary_interval_with_its_sign_forgotten() -> None:
    errors = np.random.default_rng(0).normal(0, [0.1, 0.1], size=(4000, 1, 2))
    lower, upper = simultaneous_bounds(np.array([[0.2, 0.6]]), errors, 0.95)
    assert (lower, upper) == pytest.approx((0.4 - 1.96 * 0.1414, 0.4 + 1.96 * 0.1414), abs=0.015)
    assert simultaneous_bounds(np.array([[0.5, 0.55]]), errors, 0.95)[0] == 0.0
