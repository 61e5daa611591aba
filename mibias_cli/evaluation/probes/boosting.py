"""Gradient boosting as a probe: trees on the features and on the structure of degree two that screening found."""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mibias_cli.evaluation.probes.learners import Classifier, Learner
from mibias_cli.evaluation.probes.links import class_log_probabilities, class_targets
from mibias_cli.evaluation.probes.quadratic import QuadraticBasis, find_structure
from mibias_cli.evaluation.probes.small_trees import SmallTrees

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

__all__ = ["BoostedRegression", "GradientBoosting"]

MOST = 16  # products, and directions, beside the features
N_BINS = 4  # of a number: the classes by which structure of degree two is screened
SMALL = 500  # rows below which the trees of more than two classes are grown at once
AHEAD = 4  # rungs: scikit-learn bins the features anew at every call


class _LibraryTrees:
    """scikit-learn's trees of these rows, grown some rungs ahead."""

    def __init__(
        self, model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, x: np.ndarray, c: np.ndarray
    ) -> None:
        self._model, self._x, self._c = model, x, c
        self._score = "decision_function" if hasattr(model, "decision_function") else "predict"
        self._n_grown = 0

    def grow_to(self, n_trees: int, *, further: int) -> None:
        """Grow iterations until there are so many; where there are fewer, go further at once."""
        if n_trees > self._n_grown:
            self._n_grown = further
            self._model.set_params(max_iter=further)
            self._model.fit(self._x, self._c)

    def scores(self, x: np.ndarray, n_trees: int) -> np.ndarray:
        """Scores (n, k) of rows (n, d) by the first trees."""
        if n_trees == self._n_grown:
            found = getattr(self._model, self._score)(x)
        else:
            found = next(islice(getattr(self._model, f"staged_{self._score}")(x), n_trees - 1, None))
        return np.asarray(found, dtype=np.float64).reshape(len(x), -1)


class _Boosting(Learner):
    """Histogram gradient boosting of shallow trees; rungs are more and more iterations.

    Greedy trees alone cannot start on an XOR: no first split gains anything. Beside the features they therefore see the
    products and squared directions that screening found, on which one split is enough.
    """

    settings: tuple[int, ...]
    wording = "{} iterations"
    rate: float
    most_columns = 96

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._n_trees, self._climbs = 0, False
        self._asked: tuple[np.ndarray, np.ndarray] | None = None
        x = x.astype(np.float32)
        structure = find_structure(x, self._screened_by(c), seed=seed)
        n_products, n_directions = min(structure.n_products, MOST), min(structure.n_directions, MOST)
        self._basis = QuadraticBasis(x, structure, n_products=n_products, n_directions=n_directions, squares=False)
        self._trees = self._planted(self._basis(x), c, seed)

    @abstractmethod
    def _planted(self, z: np.ndarray, c: np.ndarray, seed: int) -> _LibraryTrees | SmallTrees:
        """Trees of these rows, none of them grown."""

    @staticmethod
    def _screened_by(c: np.ndarray) -> np.ndarray:
        """Classes (n,) by which products and directions are screened."""
        return c

    def fit_to(self, rung: int) -> None:
        self._n_trees = self.settings[rung]
        # whoever begins at a later rung wants just that one
        self._climbs |= rung == 0
        furthest = min(rung + AHEAD, len(self.settings)) - 1 if self._climbs else rung
        self._trees.grow_to(self._n_trees, further=self.settings[furthest])

    def _scores(self, x: np.ndarray) -> np.ndarray:
        """Of rows x, by the trees of this rung alone."""
        # all rungs ask the same rows
        if self._asked is None or self._asked[0] is not x:
            self._asked = x, self._basis(x.astype(np.float32))
        return self._trees.scores(self._asked[1], self._n_trees)


class GradientBoosting(_Boosting, Classifier):
    """Boosted trees of classes."""

    settings = (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 95, 110, 125, 150, 175, 200, 240)
    rate = 0.2

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        super().__init__(x, c, n_extra=n_extra, seed=seed)
        self.classes_ = np.unique(c)

    def _planted(self, z: np.ndarray, c: np.ndarray, seed: int) -> _LibraryTrees | SmallTrees:
        from sklearn.ensemble import HistGradientBoostingClassifier

        classes, targets = class_targets(c)
        # of two classes there is one tree an iteration, which scikit-learn grows as fast
        if len(z) < SMALL and len(classes) > 2:
            start = np.log(targets.mean(axis=0))
            return SmallTrees(z, targets, start=start, rate=self.rate, min_leaf=_min_leaf(len(z)))
        model = HistGradientBoostingClassifier(learning_rate=self.rate, **_options(len(z), seed))
        return _LibraryTrees(model, z, c)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return class_log_probabilities(self._scores(x))


class BoostedRegression(_Boosting):
    """Boosted trees of a number."""

    settings = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)
    rate = 0.1

    def _planted(self, z: np.ndarray, c: np.ndarray, seed: int) -> _LibraryTrees:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return _LibraryTrees(HistGradientBoostingRegressor(learning_rate=self.rate, **_options(len(z), seed)), z, c)

    @staticmethod
    def _screened_by(c: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.quantile(c, np.arange(1, N_BINS) / N_BINS), c)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return self._scores(x)[:, 0]


def _options(n: int, seed: int) -> dict[str, int | float | bool]:
    return {
        "max_leaf_nodes": 8 if n >= 1500 else 4, "min_samples_leaf": _min_leaf(n), "max_bins": 128,
        "l2_regularization": 1.0, "early_stopping": False, "warm_start": True, "random_state": seed,
    }  # fmt: skip


def _min_leaf(n: int) -> int:
    return max(3, min(20, n // 20))
