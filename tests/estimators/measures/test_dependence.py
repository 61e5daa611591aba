"""Kernel measures against sums over distinct samples by loops, and against what is known of their values."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from known_mi import Chain, Gaussian, Independent, MeanShift, TwoShifts, make_spec, to_sample

from mibias_cli.estimators.measures import dependence
from mibias_cli.run.build import ESTIMATORS, resolve

NAMES = ("hsic", "cka", "dcor", "mmd")


def _symmetric(n: int, seed: int) -> torch.Tensor:
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a + a.T


@pytest.mark.parametrize("weighted", [False, True])
def test_hsic_is_its_sum_over_distinct_samples(weighted: bool) -> None:
    n = 7
    k, m = _symmetric(n, 0), _symmetric(n, 1)
    w = torch.rand(n, generator=torch.Generator().manual_seed(2), dtype=torch.float64) if weighted else None
    weight = np.ones(n) if w is None else w.numpy()

    def mean(term: object, order: int) -> float:
        chosen = list(itertools.permutations(range(n), order))
        shares = [math.prod(weight[i] for i in one) for one in chosen]
        return sum(s * float(term(*one)) for s, one in zip(shares, chosen, strict=True)) / sum(shares)

    expected = (
        mean(lambda i, j: k[i, j] * m[i, j], 2)
        + mean(lambda i, j, p, q: k[i, j] * m[p, q], 4)
        - 2 * mean(lambda i, j, p: k[i, j] * m[i, p], 3)
    )
    assert dependence.hsic(k, m, w).item() == pytest.approx(expected, abs=1e-10)


def test_distance_covariance_of_equal_samples_is_that_by_double_centring() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    da, db = (np.linalg.norm(x[:, None] - x[None], axis=2) for x in (a, b))

    def centred(d: np.ndarray) -> np.ndarray:
        return d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean()

    expected = (centred(da) * centred(db)).mean()
    assert dependence.centred_inner(torch.from_numpy(da), torch.from_numpy(db)).item() == pytest.approx(expected)


def test_mmd_of_two_groups_is_the_textbook_estimate() -> None:
    z = torch.randn(11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k, c = dependence.gaussian_kernel(z), torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1])
    a, b = (c == 0).nonzero().flatten(), (c == 1).nonzero().flatten()

    def within(rows: torch.Tensor) -> float:
        block = k[rows][:, rows]
        return float((block.sum() - block.trace()) / (len(rows) * (len(rows) - 1)))

    expected = within(a) + within(b) - 2 * float(k[a][:, b].mean())
    found = dependence.mmd(k, torch.nn.functional.one_hot(c, 3).double())  # a third group that is empty
    assert found.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", [False, True])
def test_zero_where_there_is_nothing_and_above_where_there_is(name: str, given: bool) -> None:
    """Mean of 60 batches of 64: within four standard errors of 0 (a false alarm of 6e-5), or ten above."""
    options = {"given_target": given, "n_targets": 2, "n_classes": (2,)}
    nothing = Chain(agreement=0.9, shift=3.0, d=4) if given else Independent(d=4)
    something = TwoShifts(agreement=0.6, d=4) if given else MeanShift(means=[0.0, 2.0], d=4)
    estimator = resolve(ESTIMATORS[name])(make_spec(n_features=4, **options))
    g = torch.Generator()
    values = {}
    for label, source in (("nothing", nothing), ("something", something)):
        values[label] = np.array([estimator.estimate(to_sample(source.draw(64, seed=s)), g) for s in range(60)])
    error = values["nothing"].std() / math.sqrt(60)
    assert abs(values["nothing"].mean()) < 4 * error
    assert values["something"].mean() > 10 * error


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_and_place_of_z_do_not_matter(name: str) -> None:
    sample = to_sample(MeanShift(means=[0.0, 2.0], d=4).draw(60, seed=0), torch.float64)
    estimator = resolve(ESTIMATORS[name])(make_spec(n_features=4, n_classes=(2,)))
    estimator.to(torch.device("cpu"), torch.float64)
    g, moved = torch.Generator(), replace(sample, z=50 * sample.z - 3)
    assert estimator.penalty(moved, g).item() == pytest.approx(estimator.penalty(sample, g).item(), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_under_balancing_weights_what_goes_through_the_target_is_gone(name: str) -> None:
    source = Chain(agreement=0.9, shift=3.0)
    estimator = resolve(ESTIMATORS[name])(make_spec(n_features=1, n_classes=(2,)))
    drawn, g = source.draw(2_000, seed=0), torch.Generator()
    plain, weighted = (estimator.estimate(to_sample(drawn, weighted=w), g) for w in (False, True))
    assert abs(weighted) < 0.1 * plain


def test_distance_correlation_of_gaussians() -> None:
    """The closed form of Székely, Rizzo and Bakirov (2007), theorem 7, for one dimension each."""
    rho = 0.7
    spec = make_spec(n_features=1, n_classes=(2,), bin_edges=((0.0,),))
    value = resolve(ESTIMATORS["dcor"])(spec).estimate(
        to_sample(Gaussian(rho=rho).draw(2_000, seed=0)), torch.Generator()
    )
    top = rho * math.asin(rho) + math.sqrt(1 - rho**2) - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2) + 1
    assert value == pytest.approx(top / (1 + math.pi / 3 - math.sqrt(3)), abs=0.04)


def test_the_kernels_width_is_the_weighted_mean_distance_of_distinct_samples() -> None:
    g = np.random.default_rng(0)
    a, w = g.standard_normal((6, 2)), g.uniform(0.5, 2, 6)
    square = np.array([[((x - y) ** 2).sum() for y in a] for x in a])
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    mean = sum(w[i] * w[j] * square[i, j] for i, j in pairs) / sum(w[i] * w[j] for i, j in pairs)
    expected = (np.exp(-square / mean) + np.exp(-4 * square / mean)) / 2
    found = dependence.gaussian_kernel(torch.from_numpy(a), torch.from_numpy(w))
    np.testing.assert_allclose(found.numpy(), expected)
