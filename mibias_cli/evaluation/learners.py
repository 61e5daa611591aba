"""The learners behind the probes: each climbs rungs of growing capacity on one training set.

A learner sees standardised features (n, d), the last `n_extra` columns of which are given facts (the target, one-hot)
rather than features, and labels that hold at least two classes. `fit_to(rung)` brings it to a rung at or above the
one where it stands; `log_probabilities` answers for the classes in `classes_`.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

__all__ = ["GradientBoosting", "Learner", "Logistic", "Mlp", "Quadratic", "QuadraticBasis"]

TINY = 1e-12  # below any probability that calibration leaves alone


class Learner(Protocol):
    """One family of classifiers on one training set."""

    n_rungs: int
    patience: int
    """How many rungs without improvement before climbing stops."""
    max_columns: int
    """More feature columns than this are first reduced to so many principal components."""
    classes_: np.ndarray

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None: ...

    def fit_to(self, rung: int) -> None:
        """Train up to this rung."""
        ...

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        """Uncalibrated log-probabilities (n, len(classes_))."""
        ...

    @staticmethod
    def describe(rung: int) -> str:
        """The rung's setting in words."""
        ...


def _log_proba(model: Any, x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(model.predict_proba(x), dtype=np.float64), TINY))


def _fit_quietly(model: Any, x: np.ndarray, c: np.ndarray) -> None:
    # a strongly separable problem needs no last digit: an early stop is no fault of the user's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, c)


class Logistic:
    """Multinomial logistic regression; rungs are ever weaker ridge penalties."""

    C = (0.001, 0.01, 0.1, 1.0, 10.0)
    n_rungs = len(C)
    patience = 2
    max_columns = 1024

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x, c
        self._model = LogisticRegression(max_iter=300, warm_start=True)
        self.classes_ = np.unique(c)

    def fit_to(self, rung: int) -> None:
        self._model.set_params(C=self.C[rung])
        _fit_quietly(self._model, self._x, self._c)

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        return _log_proba(self._model, x)

    @staticmethod
    def describe(rung: int) -> str:
        return f"C = {Logistic.C[rung]:g}"


class QuadraticBasis:
    """Features of degree two: squares, the products that tell the classes apart, and squared discriminating directions.

    All d(d+1)/2 products at once drown a leak of few products in noise. So products are ranked by how much their means
    differ between classes (which finds XOR-coded leakage along axes), and directions in which the classes' covariances
    differ most are found by eigenvectors (which finds variance- and XOR-coded leakage in any rotation).

    Args:
        x: (n, d) standardised features.
        c: Labels (n,).
        n_products: How many products to keep; None keeps all.
        n_directions: Directions per class.
        squares: Whether every column's square is kept.
    """

    CLIP = 10.0  # standard deviations: one outlier squared would rule the fit

    def __init__(
        self, x: np.ndarray, c: np.ndarray, *, n_products: int | None, n_directions: int, squares: bool
    ) -> None:
        x = np.clip(x, -self.CLIP, self.CLIP)
        rows, columns = np.triu_indices(x.shape[1])
        keep = np.arange(len(rows))
        if n_products is not None:
            keep = self._rank_products(x, c, rows, columns)[:n_products]
            if squares:
                keep = np.union1d(keep, np.flatnonzero(rows == columns))
        self._rows, self._columns = rows[keep], columns[keep]
        self._directions = self._find_directions(x, c, n_directions)
        quadratic = self._raw(x)
        self._mean, spread = quadratic.mean(axis=0), quadratic.std(axis=0)
        self._scale = np.where(spread > 1e-6, spread, np.inf).astype(x.dtype)

    @staticmethod
    def _rank_products(x: np.ndarray, c: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        n, d = x.shape
        mean = x.T @ x / n
        squared = (x**2).T @ (x**2) / n
        variance = np.maximum(squared - mean**2, 1e-6)
        between = np.zeros((d, d))
        for k in np.unique(c):
            part = x[c == k]
            between += len(part) * (part.T @ part / len(part) - mean) ** 2 / variance
        return np.argsort(-between[rows, columns], kind="stable")

    @staticmethod
    def _find_directions(x: np.ndarray, c: np.ndarray, n_directions: int) -> np.ndarray:
        d = x.shape[1]
        if n_directions == 0:
            return np.zeros((d, 0), dtype=x.dtype)
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        good = values > 1e-4 * max(float(values[-1]), TINY)
        whiten = vectors[:, good] / np.sqrt(values[good])
        u = x @ whiten
        found = []
        for k in np.unique(c):
            part = u[c == k]
            strength, directions = np.linalg.eigh(part.T @ part / len(part) - u.T @ u / len(u))
            found.append(directions[:, np.argsort(-np.abs(strength), kind="stable")[:n_directions]])
        return np.asarray(whiten @ np.concatenate(found, axis=1), dtype=x.dtype)

    def _raw(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[:, self._rows] * x[:, self._columns], (x @ self._directions) ** 2], axis=1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The columns themselves and their quadratic features, standardised as on the training rows."""
        x = np.clip(x, -self.CLIP, self.CLIP)
        quadratic = np.clip((self._raw(x) - self._mean) / self._scale, -self.CLIP, self.CLIP)
        return np.concatenate([x, quadratic], axis=1)


class Quadratic:
    """Logistic regression on quadratic features; rungs are bases of growing size at penalties that suit them."""

    RUNGS: tuple[tuple[int | None, int, bool, float], ...] = (
        (0, 0, True, 0.01),
        (4, 0, False, 0.1),
        (8, 1, False, 0.03),
        (32, 4, True, 0.01),
        (32, 4, True, 0.1),
        (256, 16, True, 0.01),
        (None, 0, True, 0.001),
    )
    n_rungs = len(RUNGS)
    patience = len(RUNGS)  # bases do not nest: a later one may win after two that did not
    max_columns = 64

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x.astype(np.float32), c
        self._basis: tuple[tuple[int | None, int, bool], QuadraticBasis, np.ndarray] | None = None
        self._model = LogisticRegression(max_iter=60, tol=1e-3)
        self.classes_ = np.unique(c)

    def fit_to(self, rung: int) -> None:
        n_products, n_directions, squares, strength = self.RUNGS[rung]
        kind = (n_products, n_directions, squares)
        if self._basis is None or self._basis[0] != kind:
            basis = QuadraticBasis(self._x, self._c, n_products=n_products, n_directions=n_directions, squares=squares)
            self._basis = (kind, basis, basis(self._x))
        self._model.set_params(C=strength)
        _fit_quietly(self._model, self._basis[2], self._c)

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        assert self._basis is not None
        return _log_proba(self._model, self._basis[1](x.astype(np.float32)))

    @staticmethod
    def describe(rung: int) -> str:
        n_products, n_directions, _, strength = Quadratic.RUNGS[rung]
        products = "all" if n_products is None else str(n_products)
        return f"{products} products, {n_directions} directions per class, C = {strength:g}"


class Mlp:
    """A small network trained by Adam; rungs are stretches of training, so that climbing stops early."""

    STEPS = 60
    n_rungs = 12
    patience = 2
    max_columns = 1024

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
        return _log_proba(self._model, x.astype(np.float32))

    @staticmethod
    def describe(rung: int) -> str:
        return f"about {(rung + 1) * Mlp.STEPS} steps"


class GradientBoosting:
    """Histogram gradient boosting of shallow trees; rungs are five more iterations each."""

    ITERATIONS = 5
    n_rungs = 20
    patience = 2
    max_columns = 96

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x, c
        self.classes_ = np.unique(c)
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
        self._model.set_params(max_iter=(rung + 1) * self.ITERATIONS)
        self._model.fit(self._x, self._c)

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        return _log_proba(self._model, x)

    @staticmethod
    def describe(rung: int) -> str:
        return f"{(rung + 1) * GradientBoosting.ITERATIONS} iterations"
