"""The learners behind the regressors of continuous attributes: each climbs rungs of growing capacity on one sample.

A learner sees standardised features (n, d), the last `n_extra` columns of which are given facts rather than features,
and values c (n,) of about unit variance. `fit_to(rung)` brings it to a rung at or above the one where it stands.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neural_network import MLPRegressor

from mibias_cli.evaluation.probes.quadratic import QuadraticBasis, find_structure

__all__ = ["BoostedRegression", "MlpRegression", "RegressionLearner", "Ridge"]

N_BINS = 4  # classes of c by which structure of degree two is screened


class RegressionLearner(Protocol):
    """One family of regressors on one training set."""

    n_rungs: int
    patience: int
    """How many rungs without improvement before climbing stops."""

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None: ...

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        ...

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The expected value (n,)."""
        ...

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        ...

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        ...


class Ridge:
    """Ridge regression, solved for all penalties from one decomposition; rungs are ever weaker penalties."""

    ALPHAS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001, 0.0001)  # per sample
    n_rungs = len(ALPHAS)
    patience = 3

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._mean, self._offset = x.mean(axis=0), float(c.mean())
        centred = x - self._mean
        self._values, self._vectors = np.linalg.eigh(centred.T @ centred / len(x))
        self._right = self._vectors.T @ (centred.T @ (c - self._offset) / len(x))
        self._solution = np.zeros(x.shape[1])

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        self._solution = self._vectors @ (self._right / (np.maximum(self._values, 0.0) + self.ALPHAS[rung]))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The expected value (n,)."""
        return np.asarray((x - self._mean) @ self._solution + self._offset)

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 1024

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        return f"penalty = {Ridge.ALPHAS[rung]:g} per sample"


class MlpRegression:
    """A small network trained by Adam; rungs are stretches of training, so that climbing stops early."""

    STEPS = 60
    n_rungs = 14
    patience = 2

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x.astype(np.float32), c.astype(np.float32)
        batch = min(128 if len(x) >= 1500 else 32, len(x))
        self._epochs = max(1, round(self.STEPS * batch / len(x)))
        self._model = MLPRegressor(
            hidden_layer_sizes=(64,), batch_size=batch, alpha=1.0, learning_rate_init=0.005, random_state=seed
        )
        self._rung = -1

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        for _ in range((rung - self._rung) * self._epochs):
            self._model.partial_fit(self._x, self._c)
        self._rung = rung

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The expected value (n,)."""
        return np.asarray(self._model.predict(x.astype(np.float32)), dtype=np.float64)

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 1024

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        return f"about {(rung + 1) * MlpRegression.STEPS} steps"


class BoostedRegression:
    """Histogram gradient boosting on features and the structure of degree two that screening by bins of c found."""

    ITERATIONS = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)
    n_rungs = len(ITERATIONS)
    patience = 2
    MOST = 16

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        x = x.astype(np.float32)
        edges = np.quantile(c, np.arange(1, N_BINS) / N_BINS)
        structure = find_structure(x, np.searchsorted(edges, c), seed=seed)
        self._basis = QuadraticBasis(
            x,
            structure,
            n_products=min(structure.n_products, self.MOST),
            n_directions=min(structure.n_directions, self.MOST),
            squares=False,
        )
        self._x, self._c = self._basis(x), c
        self._model = HistGradientBoostingRegressor(
            learning_rate=0.1,
            max_leaf_nodes=8 if len(x) >= 1500 else 4,
            min_samples_leaf=max(3, min(20, len(x) // 20)),
            max_bins=128,
            l2_regularization=1.0,
            early_stopping=False,
            warm_start=True,
            random_state=seed,
        )

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        self._model.set_params(max_iter=self.ITERATIONS[rung])
        self._model.fit(self._x, self._c)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The expected value (n,)."""
        return np.asarray(self._model.predict(self._basis(x.astype(np.float32))))

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 96

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        return f"{BoostedRegression.ITERATIONS[rung]} iterations"
