"""Normal scores of columns and the Gaussian density ratio between two sets of them (a Gaussian copula).

Mutual information does not change under invertible maps of single columns, so heavy tails and skewed scales need not be
borne: each column is mapped to normal scores of its ranks. What is Gaussian up to such maps is then Gaussian, and its
information is a sum over canonical correlations ρ: −½ Σ log(1 − ρ²).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

__all__ = ["GaussianRatio", "NormalScores", "fit_gaussian_ratio"]

RIDGES = (1e-6, 0.03, 0.3)  # shares of the mean variance, added to both covariances
N_FOLDS = 5
STRONGEST = 0.99999  # a correlation of 1 would have infinite information


class NormalScores:
    """Maps columns to normal scores of their ranks among the fitting rows, monotone, and alike for new rows.

    Example:
        >>> x = np.random.default_rng(0).lognormal(size=(1000, 2))
        >>> scores = NormalScores(x)(x)
        >>> bool(abs(scores.mean()) < 0.01 and 0.98 < scores.std() < 1.0)
        True
    """

    def __init__(self, x: np.ndarray) -> None:
        self._sorted = np.sort(x, axis=0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scores (n, d) float64; values tied with fitting rows get the middle of the tie."""
        n = len(self._sorted)
        out = np.empty(x.shape)
        for j, column in enumerate(self._sorted.T):
            first, last = (np.searchsorted(column, x[:, j], side=side) for side in ("left", "right"))
            # half a rank from either end at least: a new extreme gets a finite score
            out[:, j] = norm.ppf(np.clip(0.5 * (first + last), 0.5, n - 0.5) / n)
        return out


@dataclass(frozen=True, kw_only=True)
class GaussianRatio:
    """log p(u, v) / p(u) p(v) of a Gaussian, along its canonical pairs.

    Args:
        u_mean, v_mean: (d,) and (k,).
        u_map, v_map: To canonical variates: (d, m) and (k, m).
        rho: Correlation (m,) of each pair, as seen on rows held out from the fit of its directions.
    """

    u_mean: np.ndarray
    v_mean: np.ndarray
    u_map: np.ndarray
    v_map: np.ndarray
    rho: np.ndarray

    @property
    def nats(self) -> float:
        """The information of this Gaussian itself."""
        return float(-0.5 * np.log1p(-(self.rho**2)).sum())

    def variates(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Canonical variates (n, m) of u and of v."""
        return (u - self.u_mean) @ self.u_map, (v - self.v_mean) @ self.v_map

    def scorer(self, u: np.ndarray, v: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """The log density ratio (m,) in nats of pairs of rows, asked for by their indices in u and in v, (m,) each."""
        s, t = self.variates(u, v)
        # of one pair: −½ log(1 − ρ²) − ½ (ρ² s² + ρ² t² − 2 ρ s t) / (1 − ρ²); the terms in s or t alone are kept
        kept = 1 - self.rho**2
        constant = -0.5 * np.log(kept).sum()
        s_alone, t_alone = (-0.5 * ((self.rho**2 / kept) * x**2).sum(axis=1) for x in (s, t))
        cross = self.rho / kept

        def score(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            return np.asarray(constant + s_alone[i] + t_alone[j] + np.einsum("nm,nm,m->n", s[i], t[j], cross))

        return score


def fit_gaussian_ratio(u: np.ndarray, v: np.ndarray) -> GaussianRatio:
    """The Gaussian ratio of normal scores (n, d) and (n, k), its correlations and ridge chosen by cross-validation.

    Sample canonical correlations are too large, the more columns the more. Here every pair's correlation is that of
    held-out rows, so that columns without news add about nothing; directions are those of all rows.

    References: Hotelling, Relations between two sets of variates (1936).
    """
    # rows come in random order, or in none that matters
    fold = np.arange(len(u)) % min(N_FOLDS, len(u))
    found = []
    for ridge in RIDGES:
        moments = []
        for k in range(int(fold.max()) + 1):
            train, held = fold != k, fold == k
            s, t = _canonical(u[train], v[train], ridge).variates(u[held], v[held])
            moments.append(np.stack([(s * t).sum(0), (s**2).sum(0), (t**2).sum(0)]))
        cross, s_power, t_power = np.sum(moments, axis=0)
        rho = cross / np.sqrt(np.maximum(s_power * t_power, 1e-30))
        # what one standard error explains counts as none
        rho = np.clip(np.where(rho > 1 / np.sqrt(len(u)), rho, 0.0), 0.0, STRONGEST)
        found.append(replace(_canonical(u, v, ridge), rho=rho))
    best = max(found, key=lambda ratio: ratio.nats)
    # directions of unit variance, as the density ratio takes them
    s, t = best.variates(u, v)
    u_map, v_map = best.u_map / np.maximum(s.std(axis=0), 1e-6), best.v_map / np.maximum(t.std(axis=0), 1e-6)
    return replace(best, u_map=u_map, v_map=v_map)


def _canonical(u: np.ndarray, v: np.ndarray, ridge: float) -> GaussianRatio:
    """Canonical directions of these rows, strongest first, with their sample correlations."""
    u_mean, v_mean = u.mean(axis=0), v.mean(axis=0)
    a, b = u - u_mean, v - v_mean
    u_white, v_white = _whitening(a, ridge), _whitening(b, ridge)
    # singular vectors of the whitened cross-covariance
    left, rho, right = np.linalg.svd(u_white.T @ (a.T @ b / len(u)) @ v_white, full_matrices=False)
    return GaussianRatio(u_mean=u_mean, v_mean=v_mean, u_map=u_white @ left, v_map=v_white @ right.T, rho=rho)


def _whitening(a: np.ndarray, ridge: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(a.T @ a / len(a))
    added = ridge * max(float(values.mean()), 1e-12)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 0) + added)) @ vectors.T)
