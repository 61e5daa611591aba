"""Intervals of fairness figures: what they cover where the truth is known, and that point figures stay Fairlearn's."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn import metrics as fairlearn_metrics

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.fairness import FIGURES, fairness_findings
from mibias_cli.evaluation.task.fairness_intervals import Judged, _largest, fairness_change, judge
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import FairnessFindings

TABLES = 1000
N = 400
# what is resampled does not depend on the table, so one set of draws serves all
DRAWS = Resamples(N, 200, seed=0)


def terms(resamples: Resamples = DRAWS) -> Terms:
    return Terms(attributes=(), resamples=resamples, min_cell=5, confidence=0.95)


def judged(y: np.ndarray, predicted: np.ndarray, c: np.ndarray, resamples: Resamples = DRAWS, n_y: int = 2) -> Judged:
    names = tuple(map(str, range(int(c.max()) + 1)))
    attribute = AuditedAttribute(
        name="sex", channels=("sex",), class_names=(names,), c=c[:, None], known=np.ones(len(c), dtype=bool)
    )
    classes = tuple(map(str, range(n_y)))
    return judge(*fairness_findings(predicted, y, y, attribute, class_names=classes, min_cell=5), terms(resamples))


def table(rng: np.random.Generator, difference: float, n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups whose chance to be chosen is .3, but for one that has more; positives and negatives alike."""
    c, y = rng.integers(0, n_groups, N), rng.integers(0, 2, N)
    return y, (rng.random(N) < 0.3 + difference * (c == 1)).astype(np.int64), c


@pytest.mark.parametrize("difference", [0.0, 0.02, 0.1, 0.3])
def test_intervals_cover_the_truth(difference: float) -> None:
    """95 % intervals; of 1,000 tables 93 % are two standard errors below. Percentile intervals cover 0 in 17 %."""
    rng = np.random.default_rng(int(100 * difference))
    truths = {
        "demographic_parity_difference": difference, "demographic_parity_ratio": 0.3 / (0.3 + difference),
        "equal_opportunity_difference": difference, "equalized_odds_difference": difference,
    }  # fmt: skip
    covered = dict.fromkeys(truths, 0)
    for _ in range(TABLES):
        found = judged(*table(rng, difference, 2)).findings
        for name, truth in truths.items():
            bounds = found.bounds(name)
            assert bounds is not None
            covered[name] += bounds.lower - 1e-12 <= truth <= bounds.upper + 1e-12
    assert {name: n for name, n in covered.items() if n < 0.93 * TABLES} == {}
    # honest, not boundless: of two groups of 200 the interval is about as wide as the textbook's
    bounds = found.bounds("demographic_parity_difference")
    assert bounds is not None
    assert bounds.upper - bounds.lower < 0.22


@pytest.mark.parametrize("difference", [0.0, 0.1])
def test_intervals_of_several_groups_cover_the_truth(difference: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        bounds = judged(*table(rng, difference, 4)).findings.bounds("demographic_parity_difference")
        assert bounds is not None
        covered += bounds.lower <= difference <= bounds.upper
    assert covered >= 0.92 * 200


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.1)])
def test_paired_changes_cover_the_truth(first: float, second: float) -> None:
    """Two models of the same samples: who is chosen by the one is mostly chosen by the other."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        c, y, luck = rng.integers(0, 2, N), rng.integers(0, 2, N), rng.random(N)
        sides = [judged(y, (luck < 0.3 + d * (c == 1)).astype(np.int64), c) for d in (first, second)]
        change = fairness_change(*sides).demographic_parity_difference
        assert change is not None
        assert change.lower <= change.estimate <= change.upper
        covered += change.lower <= second - first <= change.upper
    assert covered >= 0.92 * 200


def test_the_same_predictions_do_not_change() -> None:
    side = judged(*table(np.random.default_rng(0), 0.2, 2))
    change = fairness_change(side, side).demographic_parity_difference
    assert change is not None
    assert (change.estimate, change.lower, change.upper) == pytest.approx((0, 0, 0), abs=1e-6)


def test_samples_of_one_patient_are_no_evidence_of_their_own() -> None:
    rng = np.random.default_rng(5)
    y, predicted, c = table(rng, 0.1, 2)
    # each sample four times over, as four images of one patient
    repeated = [np.repeat(values, 4) for values in (y, predicted, c)]
    patients = Resamples(4 * N, 400, group=np.repeat(np.arange(N), 4), seed=0)
    alone = judged(y, predicted, c, Resamples(N, 400, seed=0)).findings
    grouped = judged(*repeated, patients).findings
    apart = judged(*repeated, Resamples(4 * N, 400, seed=0)).findings

    def width(found: FairnessFindings) -> float:
        bounds = found.bounds("demographic_parity_difference")
        assert bounds is not None
        return float(bounds.upper - bounds.lower)

    assert width(grouped) == pytest.approx(width(alone), rel=0.15)
    assert width(apart) < 0.65 * width(grouped)


def test_no_interval_reaches_beyond_what_shares_can_differ_by() -> None:
    rng = np.random.default_rng(3)
    # six samples in each small group: the errors of a difference reach beyond 1
    y, c = rng.integers(0, 2, 60), np.repeat([0, 0, 0, 0, 0, 0, 0, 0, 1, 2], 6)
    predicted = (c == 1).astype(np.int64)
    found = judged(y, predicted, c, Resamples(60, 200, seed=0)).findings
    for figure in FIGURES:
        bounds = found.bounds(figure)
        if figure.endswith(("_difference", "_ratio")) and bounds is not None:
            assert 0 <= bounds.lower <= bounds.upper <= 1, figure


@pytest.mark.parametrize("n_y", [2, 3])
def test_point_figures_are_fairlearns(n_y: int) -> None:
    rng = np.random.default_rng(n_y)
    y, predicted, c = rng.integers(0, n_y, N), rng.integers(0, n_y, N), rng.integers(0, 3, N)
    found = judged(y, predicted, c, n_y=n_y).findings
    for name in FIGURES:
        figure = getattr(fairlearn_metrics, name)
        each = [figure(y == k, predicted == k, sensitive_features=c) for k in ([1] if n_y == 2 else range(n_y))]
        value, bounds = getattr(found, name), found.bounds(name)
        assert value == pytest.approx(min(each) if name.endswith("ratio") else max(each), abs=1e-12)
        assert bounds.lower <= value <= bounds.upper


def test_a_group_that_a_resample_lacks_does_not_count_there() -> None:
    values = np.array([[[0.2, 0.5, np.nan]], [[np.nan, 0.5, np.nan]], [[0.9, 0.5, 0.1]]])
    np.testing.assert_allclose(_largest(values), [0.3, 0, 0.8])
