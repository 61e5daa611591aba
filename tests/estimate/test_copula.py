from __future__ import annotations

import numpy as np
import pytest
from known_mi import Gaussian
from scipy.stats import multivariate_normal, norm

from mibias_cli.estimate.copula import NormalScores, fit_gaussian_ratio


def test_scores_are_monotone_standard_and_blind_to_monotone_maps() -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=(500, 3))
    scores = NormalScores(x)(x)
    assert np.allclose(scores, NormalScores(np.exp(x))(np.exp(x)))
    assert np.allclose(np.sort(scores[:, 0]), norm.ppf((np.arange(500) + 0.5) / 500))
    assert (np.argsort(scores[:, 1]) == np.argsort(x[:, 1])).all()


def test_ties_share_the_middle_and_new_rows_stay_finite() -> None:
    x = np.array([[0.0]] * 6 + [[1.0]] * 4)
    scores = NormalScores(x)
    assert np.allclose(scores(x)[:, 0], norm.ppf([0.3] * 6 + [0.8] * 4))
    assert np.isfinite(scores(np.array([[-9.0], [9.0]]))).all()


def test_the_ratio_is_that_of_the_densities() -> None:
    """Against scipy's densities, with the parameters that were fitted."""
    known = Gaussian(rho=0.7).draw(4000, 1)
    ratio = fit_gaussian_ratio(known.z, known.c)
    rho = float(ratio.rho[0])
    s, t = ratio.variates(known.z, known.c)
    both = np.concatenate([s, t], axis=1)
    joint = multivariate_normal(cov=[[1, rho], [rho, 1]]).logpdf(both)
    rows = np.arange(4000)
    expected = joint - norm.logpdf(both).sum(axis=1)
    assert np.allclose(ratio.scorer(known.z, known.c)(rows, rows), expected)


@pytest.mark.parametrize("d", [1, 5, 25])
def test_its_information_is_the_closed_form(d: int) -> None:
    """Rows 4,000: three standard errors, 0.012, 0.018 and 0.04 nats; shrinkage takes what many columns would add."""
    known = Gaussian(rho=0.5 if d > 1 else 0.75, d=d).draw(4000, 2)
    truth = Gaussian(rho=0.5 if d > 1 else 0.75, d=d).nats
    assert fit_gaussian_ratio(known.z, known.c).nats == pytest.approx(truth, abs={1: 0.03, 5: 0.055, 25: 0.15}[d])


def test_independent_columns_have_almost_none() -> None:
    """Sample canonical correlations of 20 + 20 independent columns hold 0.2 nats at 1,000 rows."""
    g = np.random.default_rng(3)
    assert fit_gaussian_ratio(g.normal(size=(1000, 20)), g.normal(size=(1000, 20))).nats < 0.02


def test_constant_and_repeated_columns_break_nothing() -> None:
    g = np.random.default_rng(4)
    x = g.normal(size=(300, 2))
    u = np.concatenate([x, x, np.zeros((300, 1))], axis=1)
    ratio = fit_gaussian_ratio(u, x[:, :1] + g.normal(size=(300, 1)))
    assert ratio.nats == pytest.approx(0.5 * np.log(2), abs=0.15)
    assert np.isfinite(ratio.scorer(u, x[:, :1])(np.arange(300), np.arange(300))).all()
