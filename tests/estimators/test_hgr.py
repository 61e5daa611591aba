"""Maximal correlation where its spectrum is known: ρ, ρ², ρ³, … for a Gaussian, and that of the table for classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mi import Chain, Gaussian, Known, TwoShifts, make_spec, to_sample

from mibias_cli.estimators import hgr
from mibias_cli.estimators.measures import canonical
from mibias_cli.estimators.protocol import EstimatorSpec

EDGES = (tuple(np.linspace(-1.5, 1.5, 7)),)


def _spec(**options: object) -> EstimatorSpec:
    values = {"hidden": (64, 64), "learning_rate": 3e-3, "batch_size": 256, "n_random_features": 64, "steps": 150}
    return make_spec(**({"n_features": 1, "n_classes": (8,)} | values | options))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("make", [hgr.NetworkCorrelation, hgr.BasisCorrelation])
def test_on_gaussians_half_the_sum_of_even_powers_of_the_correlation(make: object) -> None:
    torch.manual_seed(0)
    source, rho = Gaussian(rho=0.7), 0.7
    estimator = make(_spec(bin_edges=EDGES, ridge=1e-5))
    estimator.fit(to_sample(source.draw(8_000, seed=0)), _generator())
    value = estimator.estimate(to_sample(source.draw(8_000, seed=1)), _generator())
    # the first three of the spectrum are .480, all of them .4804
    assert value == pytest.approx(0.5 * rho**2 / (1 - rho**2), abs=0.06)


@pytest.mark.parametrize("make", [hgr.NetworkCorrelation, hgr.BasisCorrelation])
def test_on_classes_the_singular_values_of_the_table(make: object) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    table = np.array([[0.30, 0.05, 0.05], [0.05, 0.20, 0.05], [0.05, 0.05, 0.20]])
    cells = rng.choice(9, size=8_000, p=table.ravel())
    z = np.eye(3)[cells // 3] + 0.01 * rng.standard_normal((8_000, 3))
    sample = to_sample(Known(z=z, c=(cells % 3)[:, None]))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    sigma = np.linalg.svd(table / np.sqrt(np.outer(rows, columns)), compute_uv=False)
    estimator = make(_spec(n_features=3, n_classes=(3,), ridge=1e-5))
    estimator.fit(sample.take(torch.arange(4_000)), _generator())
    value = estimator.estimate(sample.take(torch.arange(4_000, 8_000)), _generator())
    assert value == pytest.approx(0.5 * (sigma[1:] ** 2).sum(), abs=0.03)


@pytest.mark.parametrize("make", [hgr.NetworkCorrelation, hgr.BasisCorrelation])
def test_given_the_target_what_goes_through_it_is_no_dependence(make: object) -> None:
    torch.manual_seed(0)
    values = {}
    for source in (Chain(agreement=0.9, shift=3.0, d=2), TwoShifts(agreement=0.6)):
        estimator = make(_spec(n_features=2, n_classes=(2,), given_target=True, n_targets=2, steps=100))
        estimator.fit(to_sample(source.draw(4_000, seed=0)), _generator())
        values[type(source)] = estimator.estimate(to_sample(source.draw(4_000, seed=1)), _generator())
    assert values[Chain] == pytest.approx(0, abs=0.01)
    # within a class of y: var(E[c | z]) / var(c), c at 0 or 2 with .4 and .6, by integrating
    grid, step = np.linspace(-9, 11, 20_001, retstep=True)
    at_0, at_2 = (p * np.exp(-0.5 * (grid - m) ** 2) / math.sqrt(2 * math.pi) for p, m in ((0.4, 0.0), (0.6, 2.0)))
    explained = ((at_2**2 / (at_0 + at_2)).sum() * step - 0.36) / 0.24
    assert values[TwoShifts] == pytest.approx(0.5 * explained, abs=0.02)


def test_canonical_maps_whiten_and_the_soft_objective_is_half_the_squares() -> None:
    g = torch.Generator().manual_seed(0)
    f = torch.randn(400, 5, generator=g, dtype=torch.float64)
    h = torch.cat([f[:, :2] + torch.randn(400, 2, generator=g, dtype=torch.float64), f[:, 2:3] ** 2], dim=1)
    w = torch.rand(400, generator=g, dtype=torch.float64)
    share = w / w.sum()
    f, h = f - share @ f, h - share @ h
    of_f, of_h, sigma = canonical.canonical_maps(f, h, w, 3, 1e-12)
    a, b = f @ of_f, h @ of_h
    torch.testing.assert_close(a.T @ (share[:, None] * a), torch.eye(3, dtype=a.dtype), atol=1e-8, rtol=0)
    torch.testing.assert_close(a.T @ (share[:, None] * b), torch.diag(sigma), atol=1e-8, rtol=0)
    scaled = a * sigma, b
    assert canonical.soft_hgr(*scaled, w).item() == pytest.approx(0.5 * float((sigma**2).sum()), abs=1e-8)


def test_squared_correlations_are_adjusted_to_nothing_on_average() -> None:
    values = []
    for seed in range(200):
        f, h = np.random.default_rng(seed).standard_normal((2, 20, 3))
        f, h = f - f.mean(axis=0), h - h.mean(axis=0)
        values.append(canonical.squared_correlations(torch.from_numpy(f), torch.from_numpy(h)).mean().item())
    # 600 values of deviation .07: standard error .003
    assert np.mean(values) == pytest.approx(0, abs=0.012)
    assert math.isclose(canonical.squared_correlations(torch.from_numpy(f), torch.from_numpy(2 * f)).min().item(), 1.0)


def test_pairs_that_do_not_correlate_are_left_out_and_not_made_of_rounding() -> None:
    """g has rank 1 of 4: one pair correlates, the maps of the three others are 0 exactly."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    g = (z[:, :1] + 0.1 * torch.randn(200, 1, generator=generator, dtype=torch.float64)) * torch.tensor([1.0, 2, 3, 4])
    f, g = z - z.mean(dim=0), g - g.mean(dim=0)
    of_f, of_g, sigma = canonical.canonical_maps(f, g, None, 4, 1e-6)
    assert sigma[0] > 0.99
    assert bool((of_f[:, 1:] == 0).all())
    assert bool((of_g[:, 1:] == 0).all())
    square = canonical.squared_correlations(f @ of_f, g @ of_g)
    assert square[0] > 0.98
    assert square[1:].tolist() == [0.0, 0.0, 0.0]
