from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mibias_cli.evaluation.statistics.ranking import auroc
from mibias_cli.evaluation.task.calibration import calibration_error


def test_calibration_error_bin_by_bin() -> None:
    g = np.random.default_rng(0)
    p = g.dirichlet(np.ones(3), 500)
    y = g.integers(0, 3, 500)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    expected = 0.0
    for k in range(15):
        inside = (confidence >= k / 15) & (confidence < (k + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(p, y) == pytest.approx(expected, abs=1e-12)


def test_honest_probabilities_have_little_of_it_and_certain_ones_the_error_rate() -> None:
    g = np.random.default_rng(1)
    p = g.random(50_000)
    y = (g.random(50_000) < p).astype(int)
    assert calibration_error(np.stack([1 - p, p], axis=1), y) < 0.01
    wrong = np.eye(2)[np.array([0, 0, 0, 1])]
    assert calibration_error(wrong, np.array([0, 0, 1, 1])) == 0.25


def test_auroc_equals_scikit_learn() -> None:
    g = np.random.default_rng(2)
    p, y = g.dirichlet(np.ones(3), 300), g.integers(0, 3, 300)
    assert auroc(p, y) == pytest.approx(roc_auc_score(y, p, multi_class="ovr"), abs=1e-12)
    q, two = g.random(200), g.integers(0, 2, 200)
    assert auroc(np.stack([1 - q, q], axis=1), two) == pytest.approx(roc_auc_score(two, q), abs=1e-12)
    assert auroc(p, np.zeros(300, dtype=int)) is None
    some = y.copy()
    some[y == 2] = 0  # a class that does not occur is no part of the mean
    each = [roc_auc_score(some == k, p[:, k]) for k in (0, 1)]
    assert auroc(p, some) == pytest.approx(np.mean(each), abs=1e-12)
