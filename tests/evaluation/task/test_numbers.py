from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, Features
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.numbers import error_rows, regression_findings
from mibias_cli.evaluation.task.rule import Terms, predict_numbers


def terms(
    attributes: Sequence[AuditedAttribute] = (),
    n: int = 400,
    *,
    n_resamples: int = 20,
    min_cell: int = 10,
    seed: int = 0,
) -> Terms:
    resamples = Resamples(n, n_resamples, seed=seed)
    return Terms(attributes=attributes, resamples=resamples, min_cell=min_cell, confidence=0.95)


def drawn(n: int = 400, k: int = 2, seed: int = 0) -> tuple[np.ndarray, AuditedTarget, AuditedAttribute]:
    g = np.random.default_rng(seed)
    c = g.integers(0, 3, n)
    y = g.normal(size=(n, k)) * np.array([10.0, 0.1])[:k] + 40
    predicted = y + g.normal(size=(n, k)) * (1 + c[:, None]) * np.array([3.0, 0.05])[:k] + 0.5
    target = AuditedTarget(kind="regression", names=("age", "bmi")[:k], train=y, audit=y)
    known = np.ones(n, dtype=bool)
    known[:20] = False
    c[c == 2] = np.where(np.cumsum(c == 2)[c == 2] <= 60, 2, 0)
    return predicted, target, AuditedAttribute(
        name="site", channels=("site",), class_names=(("a", "b", "c", "never"),), c=c[:, None], known=known
    )  # fmt: skip


@pytest.mark.parametrize("k", [1, 2])
def test_figures_are_scikit_learns(k: int) -> None:
    predicted, target, attribute = drawn(k=k)
    found = regression_findings(predicted, target, predicted + 1, terms([attribute], n_resamples=200))
    y = target.audit
    unit = target.train.std(axis=0) if k > 1 else 1.0
    assert found.r2.estimate == pytest.approx(r2_score(y, predicted), abs=1e-12)
    assert found.mae.estimate == pytest.approx(mean_absolute_error(y / unit, predicted / unit), abs=1e-12)
    assert found.rmse.estimate == pytest.approx(root_mean_squared_error(y / unit, predicted / unit), abs=1e-12)
    assert found.in_deviations is (k > 1)
    assert found.head_r2 == pytest.approx(r2_score(y, predicted + 1), abs=1e-12)
    for column, name in enumerate(target.names):
        own = found.columns[name]
        assert own.r2 == pytest.approx(r2_score(y[:, column], predicted[:, column]), abs=1e-12)
        assert own.mae == pytest.approx(mean_absolute_error(y[:, column], predicted[:, column]), abs=1e-12)
    for interval in (found.r2, found.mae, found.rmse):
        assert interval.lower < interval.estimate < interval.upper


def test_groups_are_their_own_samples_and_the_worst_of_those_that_count_is_the_worst() -> None:
    predicted, target, attribute = drawn(k=1)
    rows = {row.c: row for row in error_rows(predicted, target, attribute, terms())}
    for index, name in enumerate(("a", "b", "c")):
        own = attribute.known & (attribute.c[:, 0] == index)
        error = predicted[own, 0] - target.audit[own, 0]
        assert rows[name].n == own.sum()
        assert rows[name].mae == pytest.approx(np.abs(error).mean())
        assert rows[name].rmse == pytest.approx(np.sqrt(np.square(error).mean()))
        assert rows[name].mean_error == pytest.approx(error.mean())
        lower, upper = stats.t.interval(0.95, len(error) - 1, np.abs(error).mean(), stats.sem(np.abs(error)))
        assert (rows[name].lower, rows[name].upper) == (pytest.approx(lower), pytest.approx(upper))
    assert (rows["never"].n, rows["never"].mae, rows["never"].counted) == (0, None, False)
    n_largest = max(row.n for row in rows.values())
    for min_cell, counted in ((10, ("a", "b", "c")), (n_largest, ("a",))):
        found = regression_findings(predicted, target, None, terms([attribute], min_cell=min_cell))
        worst = max(rows[name].mae or 0.0 for name in counted)
        assert found.worst_group_mae == pytest.approx(worst)
        assert found.gap_mae == pytest.approx(worst - found.mae.estimate)


def test_figures_over_several_columns_do_not_depend_on_their_units() -> None:
    predicted, target, attribute = drawn()
    found = regression_findings(predicted, target, None, terms([attribute]))
    # the first in days in place of years, the second in hundredths
    by = np.array([365.25, 100.0])
    other = AuditedTarget(kind="regression", names=target.names, train=target.train * by, audit=target.audit * by)
    again = regression_findings(predicted * by, other, None, terms([attribute]))
    for name in ("mae", "rmse", "r2"):
        one, two = getattr(found, name), getattr(again, name)
        for end in ("lower", "estimate", "upper"):
            assert getattr(two, end) == pytest.approx(getattr(one, end), rel=1e-9)
    assert again.worst_group_mae == pytest.approx(found.worst_group_mae)
    assert again.gap_mae == pytest.approx(found.gap_mae)
    # each by itself is in its own unit
    for name, factor in zip(target.names, by, strict=True):
        for key in ("mae", "rmse", "worst_group_mae"):
            assert getattr(again.columns[name], key) == pytest.approx(factor * getattr(found.columns[name], key))
    # by hand: the worst group's errors, each in its column's deviation
    deviation = target.train.std(axis=0)
    groups = [attribute.known & (attribute.c[:, 0] == k) for k in range(3)]
    by_hand = [(np.abs(predicted - target.audit)[own] / deviation).mean() for own in groups if own.sum() >= 10]
    assert found.worst_group_mae == pytest.approx(max(by_hand))


def test_a_column_that_is_constant_in_training_keeps_its_unit() -> None:
    train = np.array([[1.0, 0.0], [1.0, 4.0]])
    target = AuditedTarget(kind="regression", names=("a", "b"), train=train, audit=train)
    np.testing.assert_array_equal(target.units, [1.0, 2.0])


def test_errors_are_never_below_0_nor_their_intervals() -> None:
    """One great error among five: plain intervals of the mean error, and of the squared one, reach below 0."""
    target = AuditedTarget(kind="regression", names=("age",), train=np.zeros((0, 1)), audit=np.arange(5.0)[:, None])
    group = AuditedAttribute(
        name="site", channels=("site",), class_names=(("a",),), c=np.zeros((5, 1), dtype=int), known=np.ones(5, bool)
    )
    predicted = target.audit + np.array([[0.01], [0.01], [0.01], [0.01], [9.0]])
    found = regression_findings(predicted, target, None, terms([group], 5, n_resamples=500))
    assert found.mae.lower == found.rmse.lower == 0
    assert [row.lower for row in found.group_errors] == [0]
    assert found.r2.upper <= 1


def test_intervals_cover_the_population_as_often_as_they_say() -> None:
    """200 draws of 95 % intervals: 95 ± 5 points cover; a false alarm has a chance below 1 in 500."""
    covered = []
    for seed in range(200):
        predicted, target, _ = drawn(300, 1, seed)
        found = regression_findings(predicted, target, None, terms((), 300, n_resamples=200, seed=seed))
        covered.append(found.mae.lower <= POPULATION_MAE <= found.mae.upper)
    assert np.mean(covered) >= 0.90


def population_mae() -> float:
    predicted, target, _ = drawn(200_000, 1, 12345)
    return float(np.abs(predicted - target.audit).mean())


POPULATION_MAE = population_mae()


def test_numbers_are_predicted_by_ridge_regression_by_hand() -> None:
    g = np.random.default_rng(0)
    x, other = g.normal(size=(200, 5)) * 7 + 3, g.normal(size=(50, 5)) * 7 + 3
    y = x @ g.normal(size=(5, 2)) + g.normal(size=(200, 2))
    scaler = StandardScaler().fit(x)
    expected = Ridge(alpha=1.0).fit(scaler.transform(x), y).predict(scaler.transform(other))
    np.testing.assert_allclose(predict_numbers(Features(train=x, audit=other), y), expected)
    np.testing.assert_allclose(predict_numbers(Features(train=x, audit=other), y[:, :1])[:, 0], expected[:, 0])


def test_a_column_that_does_not_vary_on_the_audited_split_has_no_r2() -> None:
    predicted, target, attribute = drawn(k=1)
    constant = AuditedTarget(kind="regression", names=("age",), train=target.train, audit=target.audit * 0 + 1)
    found = regression_findings(predicted, constant, None, terms([attribute]))
    assert found.columns["age"].r2 is None
    assert np.isnan(found.r2.estimate)
    assert np.isfinite(found.mae.estimate)


def test_the_rounding_of_a_dead_feature_is_no_feature() -> None:
    g = np.random.default_rng(0)
    x, other = g.normal(size=(200, 3)), g.normal(size=(50, 3))
    y = x[:, :1] + 0.1 * g.normal(size=(200, 1))
    plain = predict_numbers(Features(train=x[:, :2], audit=other[:, :2]), y)
    x[:, 2], other[:, 2] = 5 + 1e-9 * g.normal(size=200), 7
    np.testing.assert_allclose(predict_numbers(Features(train=x, audit=other), y), plain, atol=1e-9)
