"""Which single columns of wide features tell an attribute: those that principal components would lose."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

__all__ = ["telling_columns"]

N_BINS = 8
MOST_ROWS = 10_000  # enough to rank columns by


def telling_columns(x: np.ndarray, c: np.ndarray, *, most: int) -> np.ndarray:
    """Columns whose quantile bins depend on c more than the luckiest of as many idle ones would, strongest first.

    Args:
        x: Features (n, d) of the rows that a probe learns from.
        c: Labels (n,).
        most: How many columns at most.

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
