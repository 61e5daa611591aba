"""The reference values themselves: against independent formulas and Monte Carlo with exact densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_mi import Chain, Gaussian, Independent, MeanShift, VarianceCoded


def test_gaussian_value_and_draw() -> None:
    source = Gaussian(rho=0.6, d=2)
    assert source.nats == pytest.approx(-math.log(1 - 0.36))
    drawn = source.draw(20_000, seed=0)
    # Standard error of a correlation of .6 at n = 20,000 is .0045: 5 of them.
    assert np.corrcoef(drawn.z[:, 1], drawn.c[:, 1])[0, 1] == pytest.approx(0.6, abs=0.0225)


def test_mean_shift_limits_and_monte_carlo() -> None:
    assert MeanShift(means=[0.0, 0.0]).nats == pytest.approx(0.0, abs=1e-9)
    assert MeanShift(means=[0.0, 30.0], p=[0.2, 0.8]).nats == pytest.approx(
        -0.2 * math.log(0.2) - 0.8 * math.log(0.8), abs=1e-9
    )
    source = MeanShift(means=[-1.0, 0.5, 2.0], d=3, p=[0.5, 0.3, 0.2])
    drawn = source.draw(200_000, seed=1)
    along = drawn.z.sum(axis=1) / math.sqrt(3)
    density = np.exp(-0.5 * (along[:, None] - np.asarray(source.means)) ** 2)
    mixture = density @ source.probabilities
    terms = np.log(density[np.arange(len(along)), drawn.c[:, 0]] / mixture)
    assert source.nats == pytest.approx(terms.mean(), abs=5 * terms.std() / math.sqrt(len(terms)))


def test_variance_coded_monte_carlo() -> None:
    source = VarianceCoded(scales=[1.0, 1.4], d=8)
    drawn = source.draw(200_000, seed=2)
    scales = np.asarray(source.scales)
    log_density = -0.5 * (drawn.z**2).sum(axis=1)[:, None] / scales**2 - 8 * np.log(scales)
    own = log_density[np.arange(len(log_density)), drawn.c[:, 0]]
    terms = own - np.logaddexp.reduce(log_density, axis=1) + math.log(2)
    assert source.nats == pytest.approx(terms.mean(), abs=5 * terms.std() / math.sqrt(len(terms)))
    assert source.nats < source.entropy_nats


def test_chain_stands_between_its_parts_and_weights_balance_it() -> None:
    source = Chain(agreement=0.9, shift=3.0)
    assert 0 < source.nats < min(source.target_nats, source.target_attribute_nats)
    drawn = source.draw(50_000, seed=3)
    assert drawn.y is not None
    assert drawn.weight is not None
    share = np.average(drawn.y == drawn.c[:, 0], weights=drawn.weight)
    # Weighted standard error is about .0037 (few disagreeing rows carry half the weight): 5 of them.
    assert share == pytest.approx(0.5, abs=0.0185)


def test_independent_is_zero() -> None:
    assert Independent(n_classes=3).nats == 0.0
    assert Independent(n_classes=3).entropy_nats == pytest.approx(math.log(3))
