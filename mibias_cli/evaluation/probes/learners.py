"""The learners behind the probes: each climbs rungs of growing capacity on one training set.

A learner sees standardised features (n, d), the last `n_extra` columns of which are given facts (the target, one-hot)
rather than features, and labels that hold at least two classes. `fit_to(rung)` brings it to a rung at or above the
one where it stands; `log_probabilities` answers for the classes in `classes_`.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

__all__ = ["Learner", "Logistic", "Mlp", "NearestNeighbours", "fit_quietly", "log_proba"]

TINY = 1e-12  # below any probability that calibration leaves alone


class Learner(Protocol):
    """One family of classifiers on one training set."""

    n_rungs: int
    patience: int
    """How many rungs without improvement before climbing stops."""
    whitened: bool
    """Whether principal components are brought to one variance; distances do better without."""
    n_telling: int
    """How many single columns are added to principal components: those that tell most and may carry no variance."""
    classes_: np.ndarray

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None: ...

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        ...

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        """Uncalibrated log-probabilities (n, len(classes_))."""
        ...

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        ...

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        ...


def log_proba(model: Any, x: np.ndarray) -> np.ndarray:
    """A scikit-learn classifier's log-probabilities, no class below what calibration leaves alone."""
    return np.log(np.maximum(np.asarray(model.predict_proba(x), dtype=np.float64), TINY))


def fit_quietly(model: Any, x: np.ndarray, c: np.ndarray) -> None:
    """Fit without a word about convergence."""
    # a strongly separable problem needs no last digit: an early stop is no fault of the user's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, c)


class Logistic:
    """Multinomial logistic regression; rungs are ever weaker ridge penalties."""

    C = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    n_rungs = len(C)
    patience = 2
    whitened = True
    n_telling = 64

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x, c
        self._model = LogisticRegression(max_iter=300, warm_start=True)
        self.classes_ = np.unique(c)

    def fit_to(self, rung: int) -> None:
        self._model.set_params(C=self.C[rung])
        fit_quietly(self._model, self._x, self._c)

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        return log_proba(self._model, x)

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 1024

    @staticmethod
    def describe(rung: int) -> str:
        return f"C = {Logistic.C[rung]:g}"


class Mlp:
    """A small network trained by Adam; rungs are stretches of training, so that climbing stops early."""

    STEPS = 60
    n_rungs = 12
    patience = 2
    whitened = True
    n_telling = 64

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x.astype(np.float32), c
        self.classes_ = np.unique(c)
        batch = min(128 if len(x) >= 1500 else 32, len(x))
        self._epochs = max(1, round(self.STEPS * batch / len(x)))
        self._model = MLPClassifier((64,), batch_size=batch, alpha=1.0, learning_rate_init=0.005, random_state=seed)
        self._rung = -1

    def fit_to(self, rung: int) -> None:
        for _ in range((rung - self._rung) * self._epochs):
            self._model.partial_fit(self._x, self._c, classes=self.classes_)
        self._rung = rung

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        return log_proba(self._model, x.astype(np.float32))

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 1024

    @staticmethod
    def describe(rung: int) -> str:
        return f"about {(rung + 1) * Mlp.STEPS} steps"


class NearestNeighbours:
    """Shares of the classes among the k nearest training rows; rungs are ever smaller k."""

    K = (256, 128, 64, 32, 16, 8)
    n_rungs = len(K)
    patience = 2
    whitened = False
    n_telling = 4

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._n_extra = n_extra
        self.classes_, indices = np.unique(c, return_inverse=True)
        self._one_hot = np.eye(len(self.classes_))[indices.reshape(-1)]
        self._search = NearestNeighbors(algorithm="brute").fit(self._placed(x))
        self._k = 1
        self._asked: tuple[np.ndarray, np.ndarray] | None = None

    def _placed(self, x: np.ndarray) -> np.ndarray:
        placed = x.astype(np.float32)
        if self._n_extra:  # the facts decide first, features among rows of the same facts
            placed[:, -self._n_extra :] *= 4.0
        return placed

    def fit_to(self, rung: int) -> None:
        self._k = min(self.K[rung], len(self._one_hot))

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        if self._asked is None or self._asked[0].shape != x.shape or not np.array_equal(self._asked[0], x):
            most = min(self.K[0], len(self._one_hot))
            found = self._search.kneighbors(self._placed(x), n_neighbors=most, return_distance=False)
            self._asked = (x, found)  # all rungs ask the same rows, and the nearest come first
        nearest = self._asked[1][:, : self._k]
        # half a neighbour is shared among the classes: none gets probability 0
        shares = (self._one_hot[nearest].sum(axis=1) + 0.5 / len(self.classes_)) / (self._k + 0.5)
        return np.asarray(np.log(shares))

    @staticmethod
    def max_columns(n: int) -> int:
        """More feature columns than this are, with n rows, first reduced to so many principal components."""
        return 32

    @staticmethod
    def describe(rung: int) -> str:
        return f"k = {NearestNeighbours.K[rung]}"
