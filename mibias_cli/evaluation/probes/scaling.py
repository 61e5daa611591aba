"""Features brought to one scale, and wide ones to their principal components, before a probe learns from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

__all__ = ["Scaling", "fit_scaling", "without_outliers"]

_FAR = 10.0


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
    """The scaling of the fitting part's features (n, d).

    Args:
        x: Features.
        max_columns: More columns than this are reduced to so many principal components.
        whitened: Whether components are brought to one variance.
        seed: Of the randomised decomposition.
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
