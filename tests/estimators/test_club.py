from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mi import Chain, Gaussian, MeanShift, TwoShifts, make_spec, to_sample
from torch.distributions import Normal

from mibias_cli.estimators import club


def _by_pairs(log_q: np.ndarray, w: np.ndarray, group: np.ndarray) -> float:
    """The bound by all pairs, log_q[i, j] = log q(c_j | z_i)."""
    total = 0.0
    for i in range(len(w)):
        pairs = group == group[i]
        total += w[i] * (log_q[i, i] - np.average(log_q[i, pairs], weights=w[pairs]))
    return total / w.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_bounds_without_pairs_are_those_by_pairs(weighted: bool, grouped: bool) -> None:
    g = torch.Generator().manual_seed(0)
    c, group = torch.randint(0, 3, (30,), generator=g), torch.randint(0, 4, (30,), generator=g)
    log_q = torch.log_softmax(torch.randn(30, 3, generator=g, dtype=torch.float64), dim=1)
    mean, log_variance, values = torch.randn(3, 30, 2, generator=g, dtype=torch.float64)
    weight = torch.rand(30, generator=g, dtype=torch.float64) if weighted else None
    w = np.ones(30) if weight is None else weight.numpy()
    groups = group.numpy() if grouped else np.zeros(30)
    extra = (weight, group if grouped else None, 4 if grouped else 1)
    expected = _by_pairs(log_q[:, c].numpy(), w, groups)
    assert club.club_of_classes(log_q, c, *extra).item() == pytest.approx(expected, abs=1e-12)
    found = club.club_of_values(mean, log_variance, values, *extra)
    for k in range(2):
        q = Normal(mean[:, None, k], torch.exp(0.5 * log_variance[:, None, k]))
        expected = _by_pairs(q.log_prob(values[None, :, k]).numpy(), w, groups)
        assert found[k].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("given", [False, True])
def test_above_the_information_where_the_model_is_good(given: bool) -> None:
    """At the true q the bound is KL in both directions, at least twice the information for small amounts of it."""
    torch.manual_seed(0)
    source = TwoShifts(agreement=0.6) if given else MeanShift(means=[0.0, 1.5], d=2)
    truth = source.conditional_nats if isinstance(source, TwoShifts) else source.nats
    options = {"given_target": given, "n_targets": 2, "steps": 400, "batch_size": 256, "hidden": (32, 32)}
    estimator = club.Club(make_spec(n_features=2, n_classes=(2,), **options))
    estimator.fit(to_sample(source.draw(8_000, seed=0)), torch.Generator().manual_seed(0))
    value = estimator.estimate(to_sample(source.draw(8_000, seed=1)), torch.Generator())
    assert truth < value < 4 * truth


def test_on_gaussian_values_it_is_the_closed_form() -> None:
    """q is Gaussian and so is the truth: the bound is ρ² / (1 − ρ²)."""
    torch.manual_seed(0)
    source, rho = Gaussian(rho=0.6), 0.6
    options = {"steps": 600, "batch_size": 256, "hidden": (16,), "bin_edges": ((0.0,),)}
    estimator = club.Club(make_spec(n_features=1, n_classes=(2,), **options))
    estimator.fit(to_sample(source.draw(8_000, seed=0)), torch.Generator().manual_seed(0))
    value = estimator.estimate(to_sample(source.draw(8_000, seed=1)), torch.Generator())
    assert value == pytest.approx(rho**2 / (1 - rho**2), abs=0.06)
    assert value > source.nats


def test_the_log_variance_is_bounded() -> None:
    model = club.GaussianModel(1, 1, [4])
    assert model(torch.tensor([[1e6], [-1e6]]))[1].abs().max() <= 3


def test_nothing_and_weights() -> None:
    torch.manual_seed(0)
    source = Chain(agreement=0.9, shift=3.0)
    drawn = source.draw(8_000, seed=0)
    for weighted in (False, True):
        estimator = club.Club(make_spec(n_features=1, n_classes=(2,), steps=400, batch_size=256))
        estimator.fit(to_sample(drawn, weighted=weighted), torch.Generator().manual_seed(0))
        value = estimator.estimate(to_sample(source.draw(8_000, seed=1), weighted=weighted), torch.Generator())
        assert math.isclose(value, 0, abs_tol=0.02) == weighted
