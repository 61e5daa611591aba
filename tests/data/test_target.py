from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.data.target import r_squared


def test_r_squared_is_the_mean_over_columns_that_vary() -> None:
    g = np.random.default_rng(0)
    y = g.normal(size=(50, 3)) * [1.0, 100.0, 0.0]
    predicted = y + g.normal(size=(50, 3)) * [0.5, 20.0, 1.0]
    by_hand = [1 - np.mean((predicted[:, k] - y[:, k]) ** 2) / np.var(y[:, k]) for k in (0, 1)]
    assert r_squared(y, predicted) == pytest.approx(np.mean(by_hand), rel=1e-12)
    assert r_squared(y, np.broadcast_to(y.mean(axis=0), y.shape)) == pytest.approx(0.0, abs=1e-12)


def test_without_a_column_that_varies_there_is_no_r_squared() -> None:
    assert r_squared(np.ones((5, 2)), np.zeros((5, 2))) is None
