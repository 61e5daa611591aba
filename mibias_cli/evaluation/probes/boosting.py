"""Gradient boosting as a probe: trees on the features and on the structure of degree two that screening found."""

from __future__ import annotations

from itertools import islice

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from mibias_cli.evaluation.probes.learners import TINY, log_proba
from mibias_cli.evaluation.probes.quadratic import QuadraticBasis, find_structure

__all__ = ["GradientBoosting"]

MOST_PRODUCTS = 16
MOST_DIRECTIONS = 16


class GradientBoosting:
    """Histogram gradient boosting of shallow trees; rungs are more and more iterations.

    Greedy trees alone cannot start on an XOR: no first split gains anything. Beside the features they therefore see the
    products and squared directions that screening found, on which one split is enough.
    """

    # trees are grown some rungs ahead: scikit-learn bins the features anew at every call
    AHEAD = 4
    ITERATIONS = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 140, 160, 190, 220, 250, 300)
    n_rungs = len(ITERATIONS)
    patience = 2
    whitened = True
    n_telling = 64

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._c = c
        self._n_trees = self._n_grown = 0
        self.classes_ = np.unique(c)
        x = x.astype(np.float32)
        structure = find_structure(x, c, seed=seed)
        self._basis = QuadraticBasis(
            x,
            structure,
            n_products=min(structure.n_products, MOST_PRODUCTS),
            n_directions=min(structure.n_directions, MOST_DIRECTIONS),
            squares=False,
        )
        self._x = self._basis(x)
        self._model = HistGradientBoostingClassifier(
            learning_rate=0.15,
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
        self._n_trees = self.ITERATIONS[rung]
        if self._n_trees > self._n_grown:
            ahead = self.AHEAD if self._n_grown or rung == 0 else 1  # a first call to a later rung wants just that one
            self._n_grown = self.ITERATIONS[min(rung + ahead, self.n_rungs) - 1]
            self._model.set_params(max_iter=self._n_grown)
            self._model.fit(self._x, self._c)

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        """Uncalibrated log-probabilities (n, len(classes_))."""
        z = self._basis(x.astype(np.float32))
        if self._n_trees == self._n_grown:
            return log_proba(self._model, z)
        stages = self._model.staged_predict_proba(z)
        p = next(islice(stages, self._n_trees - 1, None))
        return np.log(np.maximum(np.asarray(p, dtype=np.float64), TINY))

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 96

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        return f"{GradientBoosting.ITERATIONS[rung]} iterations"
