"""Structure of degree two in features: which products and which directions tell classes apart, and a probe on them.

With d features there are d(d+1)/2 products; all at once drown a leak of few products in noise. So structure is screened
first: products by how much their means differ between classes (finds XOR-coded leakage along axes), and directions in
which the classes' covariances differ most (finds variance- and XOR-coded leakage in any rotation). What the same
statistics reach on shuffled labels says how much of either is more than chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.probes.learners import Classifier
from mibias_cli.evaluation.probes.linear import LinearClassifier

__all__ = ["Quadratic", "QuadraticBasis", "Structure", "find_structure"]

CLIP = 10.0  # standard deviations: one outlier squared would rule the fit
N_SHUFFLES = 3
MOST_PRODUCTS = 64
MOST_DIRECTIONS = 32
WIDEST_FOR_ALL = 64  # features, of which all products may be taken


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Products and directions of one training set, the most telling first.

    `rows` and `columns` are the pair (p,) of features behind every product, directions (d, m) in the space of the
    features. `n_products` and `n_directions` are more telling than any on shuffled labels, within what a fit can use.
    """

    rows: np.ndarray
    columns: np.ndarray
    directions: np.ndarray
    n_products: int
    n_directions: int


def find_structure(x: np.ndarray, c: np.ndarray, *, seed: int) -> Structure:
    """Rank products and directions of standardised features (n, d), and count those that beat shuffled labels."""
    x = np.clip(x, -CLIP, CLIP)
    generator = np.random.default_rng([seed, 11])
    mean = x.T @ x / len(x)
    squared = x**2
    variance = np.maximum(squared.T @ squared / len(x) - mean**2, 1e-6)
    # whitened, all directions have the same variance over all classes; nearly constant ones are left out
    values, vectors = np.linalg.eigh(mean)
    good = values > 1e-4 * max(float(values[-1]), 1e-12)
    whiten = np.asarray(vectors[:, good] / np.sqrt(values[good]))
    u = x @ whiten
    rows, columns = np.triu_indices(x.shape[1])
    product_strength = _product_strength(x, c, mean, variance)[rows, columns]
    direction_strength, directions = _directions(u, c)
    # the strongest of all under shuffled labels: what is above it is more than the luckiest of many
    chance_product, chance_direction = 0.0, 0.0
    for _ in range(N_SHUFFLES):
        shuffled = generator.permutation(c)
        chance_product = max(chance_product, float(_product_strength(x, shuffled, mean, variance).max()))
        chance_direction = max(chance_direction, _direction_strength(u, shuffled))
    order = np.argsort(-product_strength, kind="stable")
    return Structure(
        rows=rows[order],
        columns=columns[order],
        directions=np.asarray(whiten @ directions, dtype=x.dtype),
        n_products=min(MOST_PRODUCTS, int((product_strength > chance_product).sum())),
        n_directions=min(MOST_DIRECTIONS, int((direction_strength > chance_direction).sum())),
    )


def _product_strength(x: np.ndarray, c: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Sum over classes of n_k (class mean − mean)² / variance, for every product (d, d): about χ² under chance."""
    strength = np.zeros_like(mean)
    for k in np.unique(c):
        part = x[c == k]
        strength += len(part) * (part.T @ part / len(part) - mean) ** 2 / variance
    return strength


def _directions(u: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strengths (m,) and whitened directions (d, m) of the classes' deviations from the identity, strongest first."""
    strengths, found = [], []
    for part in _parts(u, c):
        n, d = part.shape
        if d <= n:
            values, vectors = np.linalg.eigh(part.T @ part / n)
        else:
            # fewer rows than directions: in the others the class does not vary, which says nothing of it
            _, singular, rows = np.linalg.svd(part, full_matrices=False)
            values, vectors = singular**2 / n, rows.T
        # in units that chance reaches alike in all classes
        strengths.append(np.abs(values - 1) * np.sqrt(n))
        found.append(vectors)
    strength, vectors = np.concatenate(strengths), np.concatenate(found, axis=1)
    order = np.argsort(-strength, kind="stable")[: 2 * MOST_DIRECTIONS]
    return strength[order], vectors[:, order]


def _direction_strength(u: np.ndarray, c: np.ndarray) -> float:
    """The largest strength alone: of a small class from products of its rows, which are fewer than those of columns."""
    strongest = 0.0
    for part in _parts(u, c):
        n, d = part.shape
        values = np.linalg.eigvalsh((part.T @ part if d <= n else part @ part.T) / n)
        strongest = max(strongest, float(np.abs(values - 1).max(initial=0.0)) * n**0.5)
    return strongest


def _parts(u: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    """The rows of every class; of two classes the other one deviates in the same directions."""
    classes = np.unique(c)
    return [u[c == k] for k in (classes[:1] if len(classes) == 2 else classes)]


class QuadraticBasis:
    """The features, some of their products, squares, and squared directions, standardised as on the training rows.

    The structure is that of the same standardised features (n, d); `n_products` None keeps all products, and `squares`
    every column's square.
    """

    def __init__(
        self, x: np.ndarray, structure: Structure, *, n_products: int | None, n_directions: int, squares: bool
    ) -> None:
        x = np.clip(x, -CLIP, CLIP)
        keep = np.arange(len(structure.rows))[:n_products]
        if squares:
            keep = np.union1d(keep, np.flatnonzero(structure.rows == structure.columns))
        self._rows, self._columns = structure.rows[keep], structure.columns[keep]
        self._directions = structure.directions[:, :n_directions]
        quadratic = self._raw(x)
        self._mean, spread = quadratic.mean(axis=0), quadratic.std(axis=0)
        self._scale = np.where(spread > 1e-6, spread, np.inf).astype(x.dtype)

    def _raw(self, x: np.ndarray) -> np.ndarray:
        t = np.ascontiguousarray(x.T)  # whole rows of this are taken faster than columns of x
        return np.concatenate([(t[self._rows] * t[self._columns]).T, (x @ self._directions) ** 2], axis=1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d + kept)."""
        x = np.clip(x, -CLIP, CLIP)
        quadratic = np.clip((self._raw(x) - self._mean) / self._scale, -CLIP, CLIP)
        return np.concatenate([x, quadratic], axis=1)


class Quadratic(Classifier):
    """Logistic regression on quadratic features; rungs are bases of growing size at penalties that suit them."""

    # (in words, share of the screened products, of the screened directions, squares, C); None: all products there are
    RUNGS: tuple[tuple[str, int | None, int, bool, float], ...] = (
        ("squares", 0, 0, True, 0.01),
        ("screened products", 1, 0, False, 0.1),
        ("screened directions", 0, 1, False, 0.03),
        ("screened products, screened directions", 1, 1, False, 0.003),
        ("screened products, screened directions", 1, 1, False, 0.03),
        ("twice the screened products, twice the screened directions, squares", 2, 2, True, 0.01),
        ("all products", None, 0, True, 0.001),
    )
    settings = tuple(strength for *_, strength in RUNGS)
    patience = len(RUNGS)  # bases do not nest: a later one may win after two that did not
    n_telling = 32

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self._x, self._c = x.astype(np.float32), c
        self._structure = find_structure(self._x, c, seed=seed)
        self._basis: tuple[tuple[int | None, int, bool], QuadraticBasis, np.ndarray] | None = None
        self._model: LinearClassifier | None = None
        self.classes_ = np.unique(c)

    def _sizes(self, rung: int) -> tuple[int | None, int, bool]:
        _, products, directions, squares, _ = self.RUNGS[rung]
        # twice what was found holds at least a few, in case that screening missed some
        spare = 4 if products == 2 else 0
        n_directions = directions * self._structure.n_directions + spare
        if products is not None:
            return products * self._structure.n_products + spare, n_directions, squares
        return None if self._x.shape[1] <= WIDEST_FOR_ALL else 4 * MOST_PRODUCTS, n_directions, squares

    def fit_to(self, rung: int) -> None:
        n_products, n_directions, squares = kind = self._sizes(rung)
        # rungs that differ in C alone share a basis
        if self._basis is None or self._basis[0] != kind:
            basis = QuadraticBasis(
                self._x, self._structure, n_products=n_products, n_directions=n_directions, squares=squares
            )
            self._basis = (kind, basis, basis(self._x))
        self._model = LinearClassifier(self._basis[2], self._c, max_iter=60)
        self._model.fit(self.settings[rung])

    def answer(self, x: np.ndarray) -> np.ndarray:
        assert self._basis is not None
        assert self._model is not None
        return self._model.log_probabilities(self._basis[1](x.astype(np.float32)))

    @classmethod
    def max_columns(cls, n: int) -> int:
        return min(256, max(64, n // 16))

    @classmethod
    def describe(cls, rung: int) -> str:
        return f"{cls.RUNGS[rung][0]}, C = {cls.settings[rung]:g}"
