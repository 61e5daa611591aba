from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.evaluation.statistics.resampling import MAX_UNITS, SHARE, Resamples, bootstrap_interval


def test_interval_of_a_mean_is_the_normal_one() -> None:
    x = np.random.default_rng(0).normal(size=2000)
    draws = Resamples(2000, 2000, seed=1).means(x[:, None])[:, 0]
    interval = bootstrap_interval(float(x.mean()), draws, 0.95)
    half = 1.96 * x.std() / np.sqrt(2000)
    assert interval.upper - interval.estimate == pytest.approx(half, rel=0.08)
    assert interval.estimate - interval.lower == pytest.approx(half, rel=0.08)


def test_resamples_are_shared_so_that_differences_are_paired() -> None:
    g = np.random.default_rng(2)
    a = g.normal(size=(400, 1))
    b = a + 0.01 * g.normal(size=(400, 1))
    resamples = Resamples(400, 500, seed=0)
    assert np.array_equal(resamples.means(a), resamples.means(a))
    paired = (resamples.means(b) - resamples.means(a)).std()
    assert paired == pytest.approx((b - a).std() / 20, rel=0.15)
    assert paired < resamples.means(a).std() / 20


def test_groups_are_drawn_whole() -> None:
    group = np.repeat(np.arange(20), 50)
    x = np.repeat(np.random.default_rng(3).normal(size=20), 50)[:, None]  # a thousand rows, twenty facts
    by_group = Resamples(1000, 1000, group=group, seed=0).means(x).std()
    by_row = Resamples(1000, 1000, seed=0).means(x).std()
    assert by_group == pytest.approx(x[::50].std() / np.sqrt(20), rel=0.15)
    assert by_row < by_group / 5


def test_ten_groups_owe_a_wider_interval_than_plain_percentiles() -> None:
    """Coverage of a mean of ten normals at 90 %: 1500 draws, four standard errors are 3 points."""
    g = np.random.default_rng(4)
    plain = honest = 0
    resamples = Resamples(10, 400, seed=0)
    assert resamples.n_units == 10
    for _ in range(1500):
        x = g.normal(size=(10, 1))
        draws = resamples.means(x)[:, 0]
        for n_units in (None, 10):
            found = bootstrap_interval(float(x.mean()), draws, 0.9, n_units=n_units)
            covers = found.lower <= 0 <= found.upper
            plain, honest = (plain + covers, honest) if n_units is None else (plain, honest + covers)
    assert plain / 1500 < 0.87
    assert abs(honest / 1500 - 0.9) < 0.03


def test_many_samples_are_drawn_in_bags() -> None:
    x = np.random.default_rng(5).normal(size=(50_000, 1))
    resamples = Resamples(50_000, 300, seed=0)
    assert resamples.n_units == MAX_UNITS
    assert resamples.means(x).std() == pytest.approx(1 / np.sqrt(50_000), rel=0.2)


def test_a_further_error_widens() -> None:
    draws = np.random.default_rng(6).normal(size=20_000)
    found = bootstrap_interval(0.0, 3 * draws, 0.95, extra_sd=4.0)
    assert found.upper == pytest.approx(5 * 1.96, rel=0.05)
    constant = bootstrap_interval(1.0, np.ones(10), 0.95, extra_sd=2.0)
    assert (constant.lower, constant.upper) == pytest.approx((1 - 3.92, 1 + 3.92), rel=1e-3)


def test_an_interval_ends_where_the_figure_can_be_no_more_and_covers_as_often() -> None:
    """Of shares near 1, the ends are those of before or 1, so that the same truths lie inside."""
    g = np.random.default_rng(0)
    beyond = 0
    for _ in range(50):
        hits = (g.random(30) < 0.96).astype(np.float64)
        draws = Resamples(30, 200, seed=0).means(hits[:, None])[:, 0]
        free, ends = (
            bootstrap_interval(hits.mean(), draws, 0.95, n_units=30, **{} if within is None else {"within": within})
            for within in (None, SHARE)
        )
        assert (ends.lower, ends.estimate, ends.upper) == (max(free.lower, 0), free.estimate, min(free.upper, 1))
        beyond += free.upper > 1
    assert beyond > 10


def test_the_estimate_lies_within() -> None:
    interval = bootstrap_interval(1.0, np.array([1.0, 1.0, 1.0, 50.0]), 0.5)
    assert interval.lower <= interval.estimate <= interval.upper


def test_two_units_owe_students_quantile_of_one_degree_of_freedom() -> None:
    draws = np.linspace(-1, 1, 2001)
    plain, honest = (bootstrap_interval(0.0, draws, 0.9, n_units=n) for n in (None, 2))
    assert honest.upper / plain.upper == pytest.approx(np.sqrt(2) * 6.3138 / 1.6449, rel=1e-3)
