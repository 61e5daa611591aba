from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from mibias_cli.evaluation.resampling import Resamples, bootstrap_interval, wilson_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 10), (10, 10), (412, 900)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.9, method="wilson")
    assert wilson_interval(hits, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


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


def test_the_estimate_lies_within() -> None:
    interval = bootstrap_interval(1.0, np.array([1.0, 1.0, 1.0, 50.0]), 0.5)
    assert interval.lower <= interval.estimate <= interval.upper
