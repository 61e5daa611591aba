"""Gradient boosting as a probe: trees on the features and on the structure of degree two that screening found."""

from __future__ import annotations

from itertools import islice

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mibias_cli.evaluation.probes.learners import TINY, Classifier, Learner
from mibias_cli.evaluation.probes.quadratic import QuadraticBasis, find_structure

__all__ = ["BoostedRegression", "GradientBoosting"]

MOST = 16  # products, and directions, beside the features
N_BINS = 4  # of a number: the classes by which structure of degree two is screened


class _Boosting(Learner):
    """Histogram gradient boosting of shallow trees; rungs are more and more iterations.

    Greedy trees alone cannot start on an XOR: no first split gains anything. Beside the features they therefore see the
    products and squared directions that screening found, on which one split is enough.
    """

    # trees are grown some rungs ahead: scikit-learn bins the features anew at every call
    AHEAD = 4
    settings: tuple[int, ...]
    wording = "{} iterations"
    rate: float
    make: type[HistGradientBoostingClassifier] | type[HistGradientBoostingRegressor]
    most_columns = 96

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._c = c
        self._n_trees = self._n_grown = 0
        x = x.astype(np.float32)
        structure = find_structure(x, self._screened_by(c), seed=seed)
        n_products, n_directions = min(structure.n_products, MOST), min(structure.n_directions, MOST)
        self._basis = QuadraticBasis(x, structure, n_products=n_products, n_directions=n_directions, squares=False)
        self._x = self._basis(x)
        self._model = self.make(
            learning_rate=self.rate, max_leaf_nodes=8 if len(x) >= 1500 else 4,
            min_samples_leaf=max(3, min(20, len(x) // 20)), max_bins=128, l2_regularization=1.0, early_stopping=False,
            warm_start=True, random_state=seed,
        )  # fmt: skip

    @staticmethod
    def _screened_by(c: np.ndarray) -> np.ndarray:
        """Classes (n,) by which products and directions are screened."""
        return c

    def fit_to(self, rung: int) -> None:
        self._n_trees = self.settings[rung]
        if self._n_trees > self._n_grown:
            # a first call to a later rung wants just that one
            ahead = self.AHEAD if self._n_grown or rung == 0 else 1
            self._n_grown = self.settings[min(rung + ahead, len(self.settings)) - 1]
            self._model.set_params(max_iter=self._n_grown)
            self._model.fit(self._x, self._c)

    def _predicted(self, name: str, x: np.ndarray) -> np.ndarray:
        """What the method of this name says of rows x, by the trees of this rung alone."""
        z = self._basis(x.astype(np.float32))
        if self._n_trees == self._n_grown:
            return np.asarray(getattr(self._model, name)(z), dtype=np.float64)
        stages = getattr(self._model, f"staged_{name}")(z)
        return np.asarray(next(islice(stages, self._n_trees - 1, None)), dtype=np.float64)


class GradientBoosting(_Boosting, Classifier):
    """Boosted trees of classes."""

    settings = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 140, 160, 190, 220, 250, 300)
    rate = 0.15
    make = HistGradientBoostingClassifier

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        super().__init__(x, c, n_extra=n_extra, seed=seed)
        self.classes_ = np.unique(c)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(self._predicted("predict_proba", x), TINY))


class BoostedRegression(_Boosting):
    """Boosted trees of a number."""

    settings = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)
    rate = 0.1
    make = HistGradientBoostingRegressor

    @staticmethod
    def _screened_by(c: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.quantile(c, np.arange(1, N_BINS) / N_BINS), c)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return self._predicted("predict", x)
