"""What became of the task, against the same bootstrap done the long way, and where both sides are known to differ."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score

from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.change import class_change, label_change, number_change
from mibias_cli.evaluation.task.rule import Terms


def terms(n: int, *, n_resamples: int = 1000, seed: int = 0, group: np.ndarray | None = None) -> Terms:
    resamples = Resamples(n, n_resamples, group=group, seed=seed)
    return Terms(attributes=(), resamples=resamples, min_cell=10, confidence=0.95)


def predicted(g: np.random.Generator, y: np.ndarray, right: float) -> np.ndarray:
    return np.where(g.random(len(y)) < right, y, (y + 1) % 3)


def test_both_accuracies_are_those_of_a_bootstrap_by_rows() -> None:
    g = np.random.default_rng(0)
    y = np.where(g.random(600) < 0.8, 0, g.integers(1, 3, 600))
    before, after = predicted(g, y, 0.6), predicted(g, y, 0.75)
    found = class_change(y, before, after, terms(600))
    assert found.accuracy is not None
    assert found.balanced_accuracy is not None
    assert found.accuracy.estimate == pytest.approx((after == y).mean() - (before == y).mean(), abs=1e-12)
    balanced = balanced_accuracy_score(y, after) - balanced_accuracy_score(y, before)
    assert found.balanced_accuracy.estimate == pytest.approx(balanced, abs=1e-12)
    # rows drawn with both predictions, every figure computed anew
    drawn = []
    for _ in range(1000):
        rows = g.integers(600, size=600)
        a, b, t = after[rows], before[rows], y[rows]
        drawn.append(((a == t).mean() - (b == t).mean(), balanced_accuracy_score(t, a) - balanced_accuracy_score(t, b)))
    widths = np.subtract(*np.percentile(drawn, [97.5, 2.5], axis=0))
    for interval, width in zip((found.accuracy, found.balanced_accuracy), widths, strict=True):
        assert interval.upper - interval.lower == pytest.approx(width, rel=0.12)


def test_what_both_sides_share_cancels() -> None:
    g = np.random.default_rng(1)
    y = g.integers(0, 3, 500)
    before = predicted(g, y, 0.7)
    after = before.copy()
    after[:10] = y[:10]
    change = class_change(y, before, after, terms(500)).accuracy
    assert change is not None
    # two intervals side by side would be ten times as wide
    assert change.upper - change.lower < 0.02
    same = class_change(y, before, before, terms(500)).accuracy
    assert same == Interval(estimate=0.0, lower=0.0, upper=0.0)


def test_intervals_cover_the_true_change() -> None:
    """Of 200 draws of 300 rows at least 91 % must cover: fewer would come by chance once in a hundred times."""
    covered = 0
    for seed in range(200):
        g = np.random.default_rng(seed)
        y = g.integers(0, 3, 300)
        change = class_change(y, predicted(g, y, 0.6), predicted(g, y, 0.7), terms(300, n_resamples=300, seed=seed))
        assert change.accuracy is not None
        covered += change.accuracy.lower <= 0.1 <= change.accuracy.upper
    assert covered >= 182


def test_groups_are_drawn_whole() -> None:
    g = np.random.default_rng(2)
    group = np.repeat(np.arange(30), 20)
    y = np.zeros(600, dtype=np.int64)
    # a whole patient is right or wrong: thirty samples, not six hundred
    before, after = np.repeat(g.integers(0, 2, 30), 20), np.repeat(g.integers(0, 2, 30), 20)
    by_row, by_group = (class_change(y, before, after, terms(600, group=ids)).accuracy for ids in (None, group))
    assert by_row is not None
    assert by_group is not None
    assert by_group.upper - by_group.lower > 3 * (by_row.upper - by_row.lower)


def test_labels_are_means_over_labels() -> None:
    y = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    before = np.array([[0, 0], [0, 0], [0, 0], [1, 0]])
    change = label_change(y, before, y, terms(4)).accuracy
    assert change is not None
    assert change.estimate == pytest.approx(3 / 8)


def test_numbers_are_scikit_learns() -> None:
    g = np.random.default_rng(3)
    y = g.normal(size=(400, 2)) * np.array([10.0, 0.1])
    before, after = (y + s * g.normal(size=(400, 2)) * np.array([10.0, 0.1]) for s in (0.9, 0.3))
    found = number_change(y, before, after, terms(400))
    assert found.r2 is not None
    assert found.mae is not None
    assert found.r2.estimate == pytest.approx(r2_score(y, after) - r2_score(y, before), abs=1e-12)
    mae = mean_absolute_error(y, after) - mean_absolute_error(y, before)
    assert found.mae.estimate == pytest.approx(mae, abs=1e-12)
    assert found.r2.lower > 0 > found.mae.upper
    constant = number_change(np.ones((50, 1)), np.zeros((50, 1)), np.ones((50, 1)), terms(50))
    assert constant.r2 is None
