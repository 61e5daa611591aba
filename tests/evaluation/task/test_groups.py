from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.change import class_change
from mibias_cli.evaluation.task.groups import (
    adjusted_accuracy,
    balanced_accuracy,
    group_rows,
    task_findings,
    worst_accuracy,
)
from mibias_cli.evaluation.task.rule import Predictions, Terms


def terms(min_cell: int, n: int = 1, attributes: tuple[AuditedAttribute, ...] = ()) -> Terms:
    return Terms(attributes=attributes, resamples=Resamples(n, 1000, seed=0), min_cell=min_cell, confidence=0.95)


def attribute(c: np.ndarray, known: np.ndarray | None = None) -> AuditedAttribute:
    return AuditedAttribute(
        name="colour",
        channels=tuple(f"k{k}" for k in range(c.shape[1])),
        class_names=(("a", "b"),) * c.shape[1],
        c=c,
        known=np.ones(len(c), dtype=bool) if known is None else known,
    )


def test_balanced_accuracy_equals_scikit_learn() -> None:
    g = np.random.default_rng(0)
    y, predicted = g.integers(0, 4, 200), g.integers(0, 4, 200)
    assert balanced_accuracy(y, predicted) == pytest.approx(balanced_accuracy_score(y, predicted), abs=1e-12)


def test_rows_are_every_cell_of_every_channel_by_hand() -> None:
    y = np.array([0, 0, 0, 1, 1, 1])
    c = np.array([[0, 1], [0, 1], [1, 1], [1, 0], [1, 0], [0, 0]])
    correct = np.array([True, False, True, True, True, False])
    known = np.array([True] * 5 + [False])
    rows = list(group_rows(correct, y, attribute(c, known), ("no", "yes"), terms(2)))
    table = {(r.channel, r.y, r.c): (r.n, r.accuracy, r.counted) for r in rows}
    assert table == {
        ("k0", "no", "a"): (2, 0.5, True),
        ("k0", "no", "b"): (1, 1.0, False),
        ("k0", "yes", "a"): (0, None, False),
        ("k0", "yes", "b"): (2, 1.0, True),
        ("k1", "no", "a"): (0, None, False),
        ("k1", "no", "b"): (3, pytest.approx(2 / 3), True),
        ("k1", "yes", "a"): (2, 1.0, True),
        ("k1", "yes", "b"): (0, None, False),
    }
    assert (rows[0].lower, rows[0].upper) == pytest.approx((0.0945312, 0.9054688), abs=1e-6)  # Wilson's
    assert worst_accuracy(row for row in rows if row.counted) == 0.5


def test_adjusted_accuracy_reweights_cells_as_if_target_and_attribute_were_independent() -> None:
    g = np.random.default_rng(2)
    y = g.integers(0, 2, 2000)
    c = np.where(g.random(2000) < 0.9, y, 1 - y)
    correct = (y == c) | (g.random(2000) < 0.3)  # a model that follows the bias
    cells = {(a, b): (y == a) & (c == b) for a in (0, 1) for b in (0, 1)}
    by_hand = sum((y == a).mean() * (c == b).mean() * correct[cell].mean() for (a, b), cell in cells.items())
    found = adjusted_accuracy(correct, y, attribute(c[:, None]), n_y=2)
    assert found == pytest.approx(by_hand, abs=1e-12)
    assert found < correct.mean() - 0.2
    assert adjusted_accuracy(correct, y, attribute(c[:, None], np.zeros(2000, dtype=bool)), n_y=2) is None


def test_empty_cells_give_their_weight_to_the_others() -> None:
    y, c = np.array([0, 0, 1, 1]), np.array([[0], [1], [0], [0]])
    found = adjusted_accuracy(np.array([True, False, True, True]), y, attribute(c), n_y=2)
    # weights of (0,0), (0,1), (1,0): 3/8, 1/8, 3/8 of 7/8
    assert found == pytest.approx((3 / 8 + 3 / 8) / (7 / 8))


def test_small_cells_are_left_out_of_the_worst_group() -> None:
    y = np.zeros(20, dtype=int)
    c = np.array([[0]] * 19 + [[1]])
    correct = np.array([True] * 19 + [False])
    rows = list(group_rows(correct, y, attribute(c), ("no",), terms(10)))
    assert worst_accuracy(row for row in rows if row.counted) == 1.0
    assert worst_accuracy([]) is None


def test_task_findings_hold_accuracy_with_its_interval_and_the_head() -> None:
    g = np.random.default_rng(1)
    y = g.integers(0, 2, 1000)
    predicted = np.where(g.random(1000) < 0.8, y, 1 - y)
    found = task_findings(
        Predictions(classes=predicted, probabilities=np.eye(2)[predicted]), y,
        ("no", "yes"), y, terms(10, 1000, (attribute(g.integers(0, 2, (1000, 1))),)),
    )  # fmt: skip
    assert found.accuracy.estimate == (predicted == y).mean()
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found.accuracy.upper - found.accuracy.estimate == pytest.approx(half, rel=0.15)
    assert found.head_accuracy == 1.0


def test_intervals_of_shares_end_at_0_and_1() -> None:
    """12 samples, all but one of them right, by scores that rank nearly all: plain intervals reach beyond 1."""
    y = np.arange(12) % 2
    predicted, score = np.where(np.arange(12) == 5, 0, y), np.where(np.arange(12) == 5, 0.3, 0.8 * y + 0.1)
    wrong = Predictions(classes=1 - predicted, probabilities=np.stack([score, 1 - score], axis=1))
    right = Predictions(classes=predicted, probabilities=np.stack([1 - score, score], axis=1))
    for predictions, beyond in ((right, "upper"), (wrong, "lower")):
        found = task_findings(predictions, y, ("no", "yes"), None, terms(10, 12))
        assert found.auroc_interval is not None
        for interval in (found.accuracy, found.auroc_interval):
            assert 0 <= interval.lower <= interval.upper <= 1
            assert getattr(interval, beyond) == (1 if beyond == "upper" else 0)
    change = class_change(y, wrong.classes, right.classes, terms(10, 12))
    assert change.accuracy is not None
    assert change.accuracy.upper == 1
