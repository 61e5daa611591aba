"""Features as probes see them: on one scale, wide ones as principal components, and columns that those would lose.

All of it is made once for a representation and shared by every probe family, fold and channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import scipy

__all__ = ["Scaling", "Seen", "Sight", "telling_columns", "without_outliers"]

_FAR = 10.0
N_BINS = 8
MOST_ROWS = 10_000  # enough to rank columns by
MOST_TELLING = 64
EXACT = 2048  # rows or columns up to which all principal components are found at once


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Rows of features on one scale: standardised (n, d), and their principal components (n, k), k maybe 0."""

    z: np.ndarray
    components: np.ndarray

    def part(self, rows: slice) -> Seen:
        """Some of the rows."""
        return Seen(z=self.z[rows], components=self.components[rows])


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Standardises features and finds their principal components; knows no labels.

    `axes` (d, k) are the components' directions, the one of largest deviation (k,) first; `n_rows` were fitted.
    """

    mean: np.ndarray
    scale: np.ndarray
    spread: np.ndarray
    axes: np.ndarray
    deviation: np.ndarray
    n_rows: int

    @classmethod
    def fitted(cls, x: np.ndarray, *, n_components: int, seed: int) -> Scaling:
        """The scaling of a fitting part's features (n, d); the seed is that of a randomised decomposition."""
        mean, spread = x.mean(axis=0), x.std(axis=0)
        # a column whose spread is rounding noise counts as constant: blown up to unit variance it would be pure noise
        scale = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1e-30), spread, np.inf)
        z = (without_outliers(x, mean, spread) - mean) / scale
        axes, deviation = _principal_axes(z, min(n_components, len(x) - 1), seed)
        return cls(mean=mean, scale=scale, spread=spread, axes=axes, deviation=deviation, n_rows=len(x))

    def see(self, x: np.ndarray) -> Seen:
        """The features (n, d), each with mean 0 and variance 1, without outliers; and their principal components."""
        z = np.ascontiguousarray((without_outliers(x, self.mean, self.spread) - self.mean) / self.scale)
        return Seen(z=z, components=z @ self.axes)

    def reduced(self, seen: Seen, *, max_columns: int, whitened: bool) -> np.ndarray:
        """Standardised features as they are, or of more than `max_columns` as many principal components.

        Components are brought to one variance if `whitened`.
        """
        if seen.z.shape[1] <= max_columns:
            return seen.z
        n_components = min(max_columns, self.n_rows - 1)
        deviation = self.deviation[:n_components]
        # components far below the first would be noise blown up to unit variance
        noise = deviation <= 1e-6 * max(float(deviation[0]), 1e-30)
        # nor do a few rows say how little a component varies: with as many components as rows the last vary not at all
        # in these, and in others as the rest; so the mean variance of a column counts as well, the more the fewer rows
        doubt = float(np.isfinite(self.scale).mean()) * n_components / self.n_rows
        whitening = np.sqrt(np.square(deviation) + doubt) if whitened else deviation[0]
        return seen.components[:, :n_components] / np.where(noise, np.inf, whitening)


def _principal_axes(z: np.ndarray, n_components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (d, k) and standard deviations (k,) of the principal components of z (n, d), the largest first."""
    n, d = z.shape
    if n_components <= 0:
        return np.zeros((d, 0)), np.zeros(0)
    size = min(n, d)
    if size > EXACT and n_components < size // 8:
        from sklearn.decomposition import PCA

        pca = PCA(n_components, svd_solver="randomized", random_state=seed).fit(z)
        return np.ascontiguousarray(pca.components_.T), np.sqrt(np.maximum(pca.explained_variance_, 0))
    # the products of columns, or of rows where those are fewer, have the same eigenvalues
    centred = z - z.mean(axis=0)
    gram = centred.T @ centred if d <= n else centred @ centred.T
    largest = (size - min(n_components, size), size - 1)
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=largest, check_finite=False)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    if d > n:
        vectors = centred.T @ vectors / np.sqrt(np.maximum(values, 1e-12 * max(float(values[0]), 1e-30)))
    return np.ascontiguousarray(vectors), np.sqrt(values / (n - 1))


class Sight:
    """The features (n, d) of a fitting part, made ready once for all who look at them.

    `n_components` principal components are found, as many as the family with the most wants.
    """

    def __init__(self, x: np.ndarray, *, n_components: int, seed: int) -> None:
        self.scaling = Scaling.fitted(x, n_components=n_components, seed=seed)
        self.seen = self.scaling.see(x)
        self._telling: dict[bytes, np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        """What another process is sent, also while this one goes on to find telling columns."""
        return {**self.__dict__, "_telling": dict(self._telling)}

    def telling(self, rows: np.ndarray, c: np.ndarray, *, most: int) -> np.ndarray:
        """`telling_columns` of these rows with their labels c, computed once for all families and questions."""
        if not most:
            return np.zeros(0, dtype=np.int64)
        key = sha256(rows.tobytes() + np.ascontiguousarray(c).tobytes()).digest()
        if key not in self._telling:
            self._telling[key] = telling_columns(self.seen.z[rows], c, most=MOST_TELLING)
        return self._telling[key][:most]


def without_outliers(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Features (n, d), none farther from its mean than ten standard deviations; mean and deviations (d,) as fitted.

    A rectified feature that is silent but for a trace where it was fitted has next to no deviation; the first row in
    which it speaks up would be a million deviations out, and nothing else would count beside it.
    """
    return np.clip(x, mean - _FAR * spread, mean + _FAR * spread)


def telling_columns(x: np.ndarray, c: np.ndarray, *, most: int) -> np.ndarray:
    """Columns whose quantile bins depend on c more than the luckiest of as many idle ones would, strongest first.

    Returns:
        Indices (k,), k ≤ `most`: χ² of bins by classes beyond its 1 − 1/d quantile (at least 95 %) under independence.

    Example:
        >>> g = np.random.default_rng(0)
        >>> x, c = g.normal(size=(2000, 100)), g.integers(0, 2, 2000)
        >>> x[:, 7] *= 1 + 0.5 * c
        >>> telling_columns(x, c, most=5)[0].item()
        7
    """
    none = np.zeros(0, dtype=np.int64)
    if not most or not x.shape[1]:
        return none
    x, c = x[:MOST_ROWS], c[:MOST_ROWS]
    classes, label = np.unique(c, return_inverse=True)
    if len(classes) < 2:
        return none
    counts = _contingency(x, np.eye(len(classes), dtype=np.float32)[label])
    # χ² of every column's table of quantile bins by classes: sees a mean, a variance or any other difference
    expected = counts.sum(axis=2, keepdims=True) * (np.bincount(label) / len(label))
    strength = (np.square(counts - expected) / np.maximum(expected, 1e-300)).sum(axis=(1, 2))
    freedom = np.maximum(1, ((expected[:, :, 0] > 0).sum(axis=1) - 1) * (len(classes) - 1))
    limits = scipy.stats.chi2.isf(min(0.05, 1 / x.shape[1]), np.arange(1, freedom.max() + 1))
    # against what the luckiest of as many idle columns would reach, in units of its own degrees of freedom
    excess = strength / limits[freedom - 1]
    order = np.argsort(-excess, kind="stable")[:most]
    return order[excess[order] > 1]


def _contingency(x: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """How many rows of x (n, d) are in each quantile bin of each column, by class (d, bins, classes)."""
    # the bin of a value is how many edges are below it; edges that are equal leave bins without rows between them
    edges = np.quantile(x, np.arange(1, N_BINS) / N_BINS, axis=0)
    bins = np.zeros(x.shape, dtype=np.int8)
    for edge in edges:
        bins += x > edge
    # counted by matrix products, which are exact in single precision for so few rows
    return np.stack([(bins == k).astype(np.float32).T @ one_hot for k in range(N_BINS)], axis=1).astype(np.float64)
