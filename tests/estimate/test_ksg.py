from __future__ import annotations

import numpy as np
import pytest
from known_mi import Gaussian
from sklearn.feature_selection import mutual_info_regression

from mibias_cli.estimate.ksg import ksg_terms


def test_two_gaussian_columns() -> None:
    """The standard error at 4,000 rows is 0.013 nats."""
    source = Gaussian(rho=0.8)
    known = source.draw(4000, 0)
    assert ksg_terms(known.z, known.c, seed=0).mean() == pytest.approx(source.nats, abs=0.04)


def test_it_is_scikit_learns() -> None:
    """Theirs scales columns to unit variance and adds noise of its own."""
    known = Gaussian(rho=0.6).draw(2000, 1)
    z, c = (x / x.std() for x in (known.z, known.c))
    theirs = mutual_info_regression(z, c[:, 0], n_neighbors=4, random_state=0)[0]
    assert ksg_terms(z, c, seed=0).mean() == pytest.approx(theirs, abs=1e-3)


def test_ties_and_independence() -> None:
    g = np.random.default_rng(2)
    z, c = g.integers(0, 4, (1500, 1)).astype(float), g.normal(size=(1500, 1))
    assert abs(ksg_terms(z, c, seed=0).mean()) < 0.06
