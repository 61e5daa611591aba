"""Fairness figures against Fairlearn's own, and by hand where Fairlearn has none."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn import metrics as fairlearn_metrics

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.task.fairness import FIGURES, bias_amplification, fairness_figures, fairness_findings


def draw(seed: int, n: int = 400, n_groups: int = 3, n_y: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    return g.integers(0, n_y, n), g.integers(0, n_y, n), g.integers(0, n_groups, n)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", FIGURES)
def test_two_classes_equal_fairlearn(seed: int, name: str) -> None:
    y, predicted, c = draw(seed, n=60 + 50 * seed, n_groups=2 + seed % 4)
    theirs = getattr(fairlearn_metrics, name)(y, predicted, sensitive_features=c)
    assert fairness_figures(y, predicted, c, n_y=2)[name] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("name", FIGURES)
def test_more_classes_are_the_worst_against_the_rest(name: str) -> None:
    y, predicted, c = draw(3, n=900, n_y=4)
    each = [getattr(fairlearn_metrics, name)(y == k, predicted == k, sensitive_features=c) for k in range(4)]
    worst = max(each) if name.endswith("difference") else min(each)
    assert fairness_figures(y, predicted, c, n_y=4)[name] == pytest.approx(worst, abs=1e-12)


def test_a_rate_that_no_sample_defines_is_left_out() -> None:
    y = np.array([1, 1, 0, 0, 0, 0])
    predicted = np.array([1, 0, 0, 0, 0, 0])
    c = np.array([0, 0, 0, 1, 1, 1])  # group 1 has no positive
    found = fairness_figures(y, predicted, c, n_y=2)
    assert found["equal_opportunity_difference"] is None
    assert found["equalized_odds_difference"] == 0.0  # false alarms: none in either
    assert found["equalized_odds_ratio"] is None  # 0 / 0
    assert found["demographic_parity_ratio"] == 0.0


def test_bias_amplification_by_hand() -> None:
    # in training class 1 goes with group 1; the predictions lean that way further than the truth does
    train_y, train_c = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
    y, c = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1])
    # group 0: P(ŷ=1) − P(y=1) = 0 − ½, away from class 1: +½; class 0: +½; group 1 likewise
    assert bias_amplification(y, predicted, c, train_y, train_c, n_y=2) == 0.5
    assert bias_amplification(y, y, c, train_y, train_c, n_y=2) == 0.0
    assert bias_amplification(y, 1 - predicted, c, train_y, train_c, n_y=2) == -0.5


def test_small_groups_and_unknown_rows_are_left_out_and_the_worst_channel_is_shown() -> None:
    y, predicted, _ = draw(5, n=300)
    g = np.random.default_rng(6)
    c = np.stack([g.integers(0, 2, 300), g.integers(0, 2, 300)], axis=1)
    c[:4, 0] = 2
    known = np.arange(300) < 280
    attribute = AuditedAttribute(
        name="colour", channels=("red", "green"), class_names=(("low", "high", "odd"), ("low", "high")),
        c=np.where(known[:, None], c, 77), known=known,
    )  # fmt: skip
    found, *_ = fairness_findings(predicted, y, y, attribute, class_names=("no", "yes"), min_cell=10)
    assert found.groups_left_out == ("red: odd",)
    assert found.positive_class == "yes"
    each = []
    for k, rows in ((0, known & (c[:, 0] < 2)), (1, known)):
        each.append(
            fairlearn_metrics.demographic_parity_difference(
                y[rows], predicted[rows], sensitive_features=c[rows, k]
            )
        )  # fmt: skip
    assert found.demographic_parity_difference == pytest.approx(max(each), abs=1e-12)


def test_one_group_alone_has_no_figure() -> None:
    y, predicted, _ = draw(7, n=50)
    attribute = AuditedAttribute(
        name="sex", channels=("sex",), class_names=(("f", "m"),), c=np.zeros((50, 1), dtype=int),
        known=np.ones(50, dtype=bool),
    )  # fmt: skip
    found, *_ = fairness_findings(predicted, y, y, attribute, class_names=("a", "b", "c"), min_cell=10)
    assert found.demographic_parity_difference is None
    assert found.positive_class is None
