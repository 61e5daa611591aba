"""Splitting samples into parts that share no group and have about the same share of every label."""

from __future__ import annotations

import numpy as np

__all__ = ["Fold", "assign_parts", "cross_folds", "fit_and_score_rows", "inner_folds", "two_parts"]

Fold = tuple[np.ndarray, np.ndarray]
"""Rows to learn from, and rows to try it on."""
SMALL = 1500  # rows below which one held-out part is too noisy


def assign_parts(
    labels: np.ndarray, shares: tuple[float, ...], *, group: np.ndarray | None, generator: np.random.Generator
) -> np.ndarray:
    """The part (0, 1, …) of every sample, sized by `shares`.

    Without groups, samples are ordered by their labels (ties in random order) and dealt out evenly along that order, so
    that every cell is shared out as the whole is, however rare it is. With groups, whole groups are dealt in random
    order, each to the part that is furthest behind its share.

    Labels are integers (n, m) to stratify by, the first column first; the shares sum to 1; the generator breaks ties.

    Example:
        >>> labels, generator = np.array([[0], [1], [0], [1]]), np.random.default_rng(0)
        >>> parts = assign_parts(labels, (0.5, 0.5), group=None, generator=generator)
        >>> sorted(parts[[0, 2]].tolist()), sorted(parts[[1, 3]].tolist())
        ([0, 1], [0, 1])
    """
    if group is not None:
        return _assign_groups(group, shares, generator)
    n = len(labels)
    order = np.lexsort((generator.permutation(n), *labels.T[::-1]))
    # each part takes its share of every stretch of the order: multiples of the golden ratio, modulo 1, spread evenly
    # over every stretch and have no period that labels could share
    position = (np.arange(n) * 0.6180339887498949 + generator.random()) % 1.0
    if len(set(shares)) == 1:
        # equal parts are dealt in turn, which is as even as can be
        position = ((np.arange(n) + int(generator.integers(len(shares)))) % len(shares) + 0.5) / len(shares)
    parts = np.empty(n, dtype=np.int64)
    parts[order] = np.searchsorted(np.cumsum(shares)[:-1], position, side="right")
    return parts


def _assign_groups(group: np.ndarray, shares: tuple[float, ...], generator: np.random.Generator) -> np.ndarray:
    _, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    filled, part_of = np.zeros(len(shares)), np.empty(len(counts), dtype=np.int64)
    # large groups first: small ones can then even things out
    order = generator.permutation(len(counts))
    for g in order[np.argsort(-counts[order], kind="stable")]:
        part_of[g] = np.argmin(filled / np.asarray(shares))
        filled[part_of[g]] += counts[g]
    return part_of[member.reshape(-1)]


def two_parts(
    labels: np.ndarray, shares: tuple[float, float], *, group: np.ndarray | None, generator: np.random.Generator
) -> Fold:
    """The rows of two parts, split as `assign_parts` does."""
    parts = assign_parts(labels, shares, group=group, generator=generator)
    return np.flatnonzero(parts == 0), np.flatnonzero(parts == 1)


def cross_folds(
    labels: np.ndarray, n_folds: int, *, group: np.ndarray | None, generator: np.random.Generator
) -> list[Fold]:
    """Folds of equal size, each held out once, split as `assign_parts` does."""
    parts = assign_parts(labels, (1 / n_folds,) * n_folds, group=group, generator=generator)
    return [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(n_folds)]


def fit_and_score_rows(labels: np.ndarray, *, fit_fraction: float, group: np.ndarray | None, seed: int) -> Fold:
    """Rows on which probes are fitted, and rows on which they are scored; they share no group."""
    shares = (fit_fraction, 1.0 - fit_fraction)
    return two_parts(labels, shares, group=group, generator=np.random.default_rng([seed, 1]))


def inner_folds(labels: np.ndarray, *, group: np.ndarray | None, seed: int) -> list[Fold]:
    """(train, held-out) rows inside the fitting part: three folds where it is small, one 70:30 split where it is not.

    With few samples one held-out part is too noisy to calibrate on; with many, folds only cost time.
    """
    generator = np.random.default_rng([seed, 2])
    n_groups = None if group is None else len(np.unique(group))
    if len(labels) < SMALL and (n_groups is None or n_groups >= 3):
        return cross_folds(labels, 3, group=group, generator=generator)
    # one group cannot be held out from itself
    return [two_parts(labels, (0.7, 0.3), group=None if n_groups == 1 else group, generator=generator)]
