"""Features as a probe sees them: on one scale, wide ones as principal components, and columns that those would lose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from sklearn.decomposition import PCA

__all__ = ["Scaling", "fit_scaling", "telling_columns", "without_outliers"]

_FAR = 10.0
N_BINS = 8
MOST_ROWS = 10_000  # enough to rank columns by


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Standardises features and, where they are wide, reduces them to principal components; knows no labels."""

    mean: np.ndarray
    scale: np.ndarray
    spread: np.ndarray
    components: np.ndarray | None
    component_scale: np.ndarray | None

    @property
    def n_components(self) -> int:
        """Principal components that stand for the features; 0 where the features stand for themselves."""
        return 0 if self.components is None else self.components.shape[1]

    def beside(self, z: np.ndarray, extra: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Reduced features of standardised ones (n, d), some of their columns as they are, and the given facts."""
        return np.concatenate([self.reduced(z), z[:, columns], extra], axis=1)

    def standardised(self, x: np.ndarray) -> np.ndarray:
        """The features (n, d), each with mean 0 and variance 1, without outliers."""
        return np.asarray((without_outliers(x, self.mean, self.spread) - self.mean) / self.scale)

    def reduced(self, z: np.ndarray) -> np.ndarray:
        """Standardised features (n, d) as their principal components (n, d'), or as they are."""
        return z if self.components is None else np.asarray((z @ self.components) / self.component_scale)


def without_outliers(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Features (n, d), none farther from its mean than ten standard deviations; mean and deviations (d,) as fitted.

    A rectified feature that is silent but for a trace where it was fitted has next to no deviation; the first row in
    which it speaks up would be a million deviations out, and nothing else would count beside it.
    """
    return np.clip(x, mean - _FAR * spread, mean + _FAR * spread)


def fit_scaling(x: np.ndarray, *, max_columns: int, whitened: bool, seed: int) -> Scaling:
    """The scaling of the fitting part's features (n, d); the seed is that of the randomised decomposition.

    More columns than `max_columns` are reduced to so many principal components, brought to one variance if `whitened`.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0)
    # a column whose spread is rounding noise counts as constant: blown up to unit variance it would be pure noise
    scale = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1e-30), spread, np.inf)
    if x.shape[1] <= max_columns:
        return Scaling(mean=mean, scale=scale, spread=spread, components=None, component_scale=None)
    n_components = min(max_columns, len(x) - 1)
    z = (without_outliers(x, mean, spread) - mean) / scale
    pca = PCA(n_components, svd_solver="randomized", random_state=seed).fit(z)
    # components far below the first would be noise blown up to unit variance
    deviation = np.sqrt(np.maximum(pca.explained_variance_, 0))
    noise = deviation <= 1e-6 * max(float(deviation[0]), 1e-30)
    # nor do a few rows say how little a component varies: with as many components as rows the last vary not at all
    # in these, and in others as the rest; so the mean variance of a column counts as well, the more the fewer rows
    doubt = float(np.isfinite(scale).mean()) * n_components / len(x)
    whitening = np.sqrt(np.square(deviation) + doubt) if whitened else deviation[0]
    component_scale = np.where(noise, np.inf, whitening)
    return Scaling(mean=mean, scale=scale, spread=spread, components=pca.components_.T, component_scale=component_scale)


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
    share = np.bincount(label) / len(label)
    cuts = np.quantile(x, np.arange(1, N_BINS) / N_BINS, axis=0)
    strength, quantile = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for j in range(x.shape[1]):
        # χ² of the contingency table of quantile bins by classes: sees a mean, a variance or any other difference
        edges = np.unique(cuts[:, j])
        cell = np.searchsorted(edges, x[:, j]) * len(classes) + label
        counts = np.bincount(cell, minlength=(len(edges) + 1) * len(classes)).reshape(-1, len(classes))
        counts = counts[counts.sum(axis=1) > 0]
        expected = counts.sum(axis=1, keepdims=True) * share
        strength[j] = ((counts - expected) ** 2 / expected).sum()
        freedom = max(1, (len(counts) - 1) * (len(classes) - 1))
        quantile[j] = chi2.isf(min(0.05, 1 / x.shape[1]), freedom)
    # against what the luckiest of as many idle columns would reach, in units of its own degrees of freedom
    excess = strength / quantile
    order = np.argsort(-excess, kind="stable")[:most]
    return order[excess[order] > 1]
