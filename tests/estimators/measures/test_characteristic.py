"""The maximum-norm measure: its gaps by loops and by the closed form of Gaussians, and what its frequencies find."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mi import Gaussian, Independent, MeanShift, make_spec, to_sample

from mibias_cli.estimators.characteristic import MaximumNorm
from mibias_cli.estimators.measures.dependence import characteristic_gaps


def test_gaps_are_the_sum_over_distinct_samples_in_each_group() -> None:
    """By loops, with means of the whole group; groups count by their weight, and one of a single sample not at all."""
    g = np.random.default_rng(0)
    a, b, w = g.standard_normal(9), g.standard_normal(9), g.uniform(0.5, 2, 9)
    group = np.array([0, 1, 0, 1, 1, 0, 0, 2, 1])
    total, expected = 0.0, 0.0
    for k in (0, 1):
        rows = np.flatnonzero(group == k)
        share = w[rows] / w[rows].sum()
        first, second = np.exp(1j * a[rows]), np.exp(1j * b[rows])
        t = (first - share @ first) * (second - share @ second)
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        found = sum(share[i] * share[j] * (t[i] * t[j].conj()).real for i, j in pairs)
        expected += w[rows].sum() * found / sum(share[i] * share[j] for i, j in pairs)
        total += w[rows].sum()
    columns = (torch.from_numpy(one)[:, None] for one in (a, b))
    members = torch.nn.functional.one_hot(torch.from_numpy(group)).double()
    assert characteristic_gaps(*columns, members, torch.from_numpy(w)).item() == pytest.approx(expected / total)


def test_a_gap_of_gaussians_is_its_closed_form() -> None:
    """With correlation ρ at frequencies ±1: e^(−1) (e^ρ − 1) in size."""
    z, c = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 40_000).T
    found = characteristic_gaps(torch.from_numpy(z)[:, None], -torch.from_numpy(c)[:, None], torch.ones(len(z), 1))
    assert found.item() == pytest.approx((math.exp(-1) * (math.exp(0.6) - 1)) ** 2, rel=0.03)


def test_frequencies_climb_to_the_largest_gap_of_gaussians() -> None:
    """At ρ = .6 the largest of e^(−(α² + β²)/2) |e^(−ραβ) − 1|, by a grid."""
    grid = np.linspace(-4, 4, 401)
    alpha, beta = np.meshgrid(grid, grid)
    top = float((np.exp(-(alpha**2 + beta**2) / 2) * np.abs(np.exp(-0.6 * alpha * beta) - 1)).max()) ** 2
    torch.manual_seed(0)
    estimator = MaximumNorm(make_spec(n_features=1, n_classes=(2,), bin_edges=((0.0,),), steps=100, learning_rate=0.02))
    sample = to_sample(Gaussian(rho=0.6).draw(5_000, seed=0))
    estimator.fit(sample, torch.Generator())
    assert estimator.estimate(sample, torch.Generator()) == pytest.approx(top, rel=0.1)


@pytest.mark.parametrize("given", [False, True])
def test_zero_where_there_is_nothing_and_above_where_there_is(given: bool) -> None:
    """Frequencies of other rows; mean of 60 batches of 64: within four standard errors of 0 (6e-5), or ten above."""
    values = {}
    for source in (Independent(d=4), MeanShift(means=[0.0, 2.0], d=4)):
        torch.manual_seed(0)
        estimator = MaximumNorm(make_spec(n_features=4, n_classes=(2,), given_target=given, n_targets=2))

        def drawn(n: int, seed: int, source: Independent | MeanShift = source) -> object:
            sample = to_sample(source.draw(n, seed=seed))
            y = torch.from_numpy(np.random.default_rng(seed).integers(2, size=n))
            return type(sample)(z=sample.z, c=sample.c, y=y, weight=None, known=sample.known)

        estimator.fit(drawn(500, 100), torch.Generator())
        values[type(source)] = np.array([estimator.estimate(drawn(64, s), torch.Generator()) for s in range(60)])
    error = values[Independent].std() / math.sqrt(60)
    assert values[MeanShift].mean() > 10 * error
    assert abs(values[Independent].mean()) < 4 * error
