"""The learners behind the probes: each climbs rungs of growing capacity on one training set.

A learner sees standardised features (n, d), the last `n_extra` columns of which are given facts (the target, one-hot)
rather than features. It predicts labels of at least two classes, or numbers of about unit variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mibias_cli.evaluation.probes.linear import LinearClassifier

__all__ = ["Classifier", "HeadScores", "Learner", "Logistic", "NearestNeighbours", "Ridge"]


class Learner(ABC):
    """One family on one training set. A rung is one of its settings; higher rungs fit more closely."""

    settings: tuple[float, ...]
    wording = "{}"
    """The rung's setting in words."""
    patience = 2
    """How many rungs without improvement before climbing stops."""
    whitened = True
    """Whether principal components are brought to one variance; distances do better without."""
    n_telling = 0
    """How many single columns are added to principal components: those that tell most and may carry no variance."""
    most_columns = 1024
    """More feature columns than this are first reduced to so many principal components."""

    @abstractmethod
    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None: ...

    @abstractmethod
    def fit_to(self, rung: int) -> None:
        """Train up to this rung, which is at or above the one where the learner stands."""

    @abstractmethod
    def answer(self, x: np.ndarray) -> np.ndarray:
        """Uncalibrated log-probabilities (n, len(classes_)) of a classifier, else the expected values (n,)."""

    @classmethod
    def max_columns(cls, n: int) -> int:
        """`most_columns` where there are n rows."""
        return cls.most_columns

    @classmethod
    def describe(cls, rung: int) -> str:
        """The rung's setting in words."""
        return cls.wording.format(cls.settings[rung])


class Classifier(Learner):
    """A learner of classes."""

    n_telling = 64
    classes_: np.ndarray
    """The classes of its training labels, sorted."""


class Logistic(Classifier):
    """Multinomial logistic regression; rungs are ever weaker ridge penalties."""

    settings = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    wording = "C = {:g}"

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._model = LinearClassifier(x.astype(np.float32), c, max_iter=300, most_axes=1024)
        self.classes_ = self._model.classes_

    def fit_to(self, rung: int) -> None:
        # each rung starts from the solution under the stronger penalty, which is near its own
        self._model.fit(self.settings[rung])

    def answer(self, x: np.ndarray) -> np.ndarray:
        return self._model.log_probabilities(x)


class HeadScores(Logistic):
    """Logistic regression on what a trained head says of each sample, in place of its features.

    A function of the features, so that it tells no more than they do; but of few columns, from which a small sample
    learns what many hide.
    """


class Ridge(Learner):
    """Ridge regression, solved for all penalties from one decomposition; rungs are ever weaker penalties."""

    settings = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001, 0.0001)
    wording = "penalty = {:g} per sample"
    patience = 3

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._mean, self._offset = x.mean(axis=0), float(c.mean())
        centred = x - self._mean
        # with XᵀX / n = V diag(λ) Vᵀ every penalty α has the solution V (Vᵀ Xᵀc / n) / (λ + α)
        self._values, self._vectors = np.linalg.eigh(centred.T @ centred / len(x))
        self._right = self._vectors.T @ (centred.T @ (c - self._offset) / len(x))
        self._solution = np.zeros(x.shape[1])

    def fit_to(self, rung: int) -> None:
        self._solution = self._vectors @ (self._right / (np.maximum(self._values, 0.0) + self.settings[rung]))

    def answer(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((x - self._mean) @ self._solution + self._offset)


class NearestNeighbours(Classifier):
    """Shares of the classes among the k nearest training rows; rungs are ever smaller k."""

    settings: tuple[int, ...] = (256, 128, 64, 32, 16, 8)
    wording = "k = {}"
    whitened = False
    n_telling = 4
    most_columns = 32

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._n_extra = n_extra
        self.classes_, indices = np.unique(c, return_inverse=True)
        self._one_hot = np.eye(len(self.classes_))[indices.reshape(-1)]
        self._search = NearestNeighbors(algorithm="brute").fit(self._placed(x))
        self._k = 1
        self._asked: tuple[np.ndarray, np.ndarray] | None = None

    def _placed(self, x: np.ndarray) -> np.ndarray:
        placed = x.astype(np.float32)
        # the facts decide first, features among rows of the same facts
        if self._n_extra:
            placed[:, -self._n_extra :] *= 4.0
        return placed

    def fit_to(self, rung: int) -> None:
        self._k = min(self.settings[rung], len(self._one_hot))

    def answer(self, x: np.ndarray) -> np.ndarray:
        # all rungs ask the same rows, and the nearest come first: one search for the largest k serves them all
        if self._asked is None or self._asked[0].shape != x.shape or not np.array_equal(self._asked[0], x):
            most = min(self.settings[0], len(self._one_hot))
            self._asked = x, self._search.kneighbors(self._placed(x), n_neighbors=most, return_distance=False)
        nearest = self._asked[1][:, : self._k]
        # half a neighbour is shared among the classes: none gets probability 0
        shares = (self._one_hot[nearest].sum(axis=1) + 0.5 / len(self.classes_)) / (self._k + 0.5)
        return np.asarray(np.log(shares))
