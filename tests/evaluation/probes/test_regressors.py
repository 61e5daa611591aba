from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.linear_model import Ridge as ScikitRidge

from mibias_cli.evaluation.probes.boosting import BoostedRegression
from mibias_cli.evaluation.probes.families import REGRESSORS, Tuned, fit_regressor, make_sight
from mibias_cli.evaluation.probes.learners import Learner, Ridge
from mibias_cli.evaluation.probes.network import MlpRegression
from mibias_cli.evaluation.statistics.partition import inner_folds


def fitted(family: str, x: np.ndarray, c: np.ndarray, seed: int = 0) -> Tuned[Learner]:
    folds = inner_folds(np.zeros((len(c), 1), dtype=int), group=None, seed=seed)
    return fit_regressor(
        family, make_sight(x, (family,), seed=seed), c, extra=np.zeros((len(c), 0)), folds=folds, seed=seed
    )


def gains(found: Tuned[Learner], x: np.ndarray, c: np.ndarray) -> np.ndarray:
    return found.calibration.density_gains(found.learner.answer(found.seen(x, np.zeros((len(x), 0)))), c)


def gain(family: str, x: np.ndarray, c: np.ndarray, n_fit: int) -> float:
    found = fitted(family, x[:n_fit], c[:n_fit])
    return float(gains(found, x[n_fit:], c[n_fit:]).mean())


def linear(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, d))
    return x, rho * x[:, 0] + np.sqrt(1 - rho**2) * g.normal(size=n)


def test_ridge_is_scikit_learns() -> None:
    x, c = linear(500, 8, 0.5, 0)
    ours = Ridge(x, c, n_extra=0, seed=0)
    ours.fit_to(Ridge.settings.index(0.1))
    theirs = ScikitRidge(alpha=0.1 * 500).fit(x, c)
    assert np.allclose(ours.answer(x), theirs.predict(x), atol=1e-10)


@pytest.mark.parametrize("family", REGRESSORS)
def test_a_gaussian_pair_in_8_dimensions(family: str) -> None:
    """Truth 0.5108 nats; the standard error of the scored rows is 0.016."""
    x, c = linear(5000, 8, 0.8, 1)
    found = gain(family, x, c, 3000)
    assert found == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.06)


@pytest.mark.parametrize("family", REGRESSORS)
def test_independent_features_give_about_zero(family: str) -> None:
    x, c = linear(1200, 8, 0.0, 2)
    assert abs(gain(family, x, c, 600)) < 0.02


def test_boosting_finds_a_product_that_ridge_cannot() -> None:
    g = np.random.default_rng(3)
    x = g.normal(size=(4000, 20))
    product = x[:, 3] * x[:, 11]
    c = norm.ppf(rankdata(0.9 * product + np.sqrt(1 - 0.81) * g.normal(size=4000)) / 4001)
    assert abs(gain("ridge", x, c, 3000)) < 0.02
    assert gain("boosted_regressor", x, c, 3000) > 0.5


@pytest.mark.parametrize("make", [Ridge, MlpRegression, BoostedRegression])
def test_climbing_by_rungs_ends_where_one_climb_ends(make: type) -> None:
    x, c = linear(300, 5, 0.6, 4)
    stepwise, direct = (make(x, c, n_extra=0, seed=3) for _ in range(2))
    for rung in range(3):
        stepwise.fit_to(rung)
    direct.fit_to(2)
    assert np.allclose(stepwise.answer(x), direct.answer(x), atol=1e-6)
    assert len({make.describe(rung) for rung in range(len(make.settings))}) == len(make.settings)


def test_a_regressor_is_the_same_for_the_same_seed() -> None:
    x, c = linear(200, 4, 0.6, 5)
    for family in REGRESSORS:
        first, again = (gains(fitted(family, x, c, seed=7), x, c) for _ in range(2))
        assert np.array_equal(first, again)


def test_constant_features_and_a_constant_attribute_break_nothing() -> None:
    x = np.zeros((120, 3))
    for family in REGRESSORS:
        for c in (np.random.default_rng(7).normal(size=120), np.zeros(120)):
            assert np.isfinite(gains(fitted(family, x, c), x, c)).all()
