from __future__ import annotations

import numpy as np
import pytest
from known_mi import Gaussian

from mibias_cli.estimate.pair_bound import donsker_varadhan_terms, partners


def test_the_true_ratio_gives_the_information() -> None:
    """Rows 20,000: the standard error is 0.005 nats."""
    source = Gaussian(rho=0.7)
    known = source.draw(20_000, 0)
    z, c = known.z[:, 0], known.c[:, 0]

    def score(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        quadratic = (0.49 * (z[i] ** 2 + c[j] ** 2) - 1.4 * z[i] * c[j]) / (2 * 0.51)
        return -0.5 * np.log(0.51) - quadratic

    terms = donsker_varadhan_terms(score, np.zeros(20_000, dtype=int), seed=0)
    assert terms.mean() == pytest.approx(source.nats, abs=0.015)
    shifted = donsker_varadhan_terms(lambda i, j: score(i, j) + 7.0, np.zeros(20_000, dtype=int), seed=0)
    assert shifted.mean() == pytest.approx(terms.mean(), abs=1e-9)  # blind to constants


def test_a_wrong_critic_gives_less() -> None:
    known = Gaussian(rho=0.7).draw(5000, 1)
    terms = donsker_varadhan_terms(lambda i, j: 0.3 * known.z[i, 0] * known.c[j, 0], np.zeros(5000, dtype=int), seed=0)
    assert 0.05 < terms.mean() < 0.25


def test_partners_stay_in_their_stratum_and_are_others() -> None:
    stratum = np.array([0] * 5 + [1] * 3 + [2])
    seen = list(partners(stratum, 12, np.random.default_rng(0)))
    for other in seen:
        assert (stratum[other] == stratum).all()
        assert (other[:8] != np.arange(8)).all()
        assert sorted(other) == list(range(9))
    assert {int(other[0]) for other in seen} == {1, 2, 3, 4}  # every other row in turn


def test_what_the_stratum_explains_does_not_count() -> None:
    g = np.random.default_rng(2)
    y = g.integers(0, 2, 8000)
    z, c = y + 0.3 * g.normal(size=8000), y + 0.3 * g.normal(size=8000)

    def score(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return 2.0 * (z[i] - 0.5) * (c[j] - 0.5)

    assert donsker_varadhan_terms(score, np.zeros(8000, dtype=int), seed=0).mean() > 0.1
    assert donsker_varadhan_terms(score, y, seed=0).mean() < 0.01
