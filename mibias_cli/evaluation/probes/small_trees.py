"""Gradient boosting on few rows: the trees of all classes of an iteration are grown at once, by matrix products.

On a few hundred rows scikit-learn's trees take most of their time to be set up; with eight classes there are eight of
them to an iteration, and the features are binned anew at every call.
"""

from __future__ import annotations

import numpy as np

from mibias_cli.evaluation.probes.links import softmax

__all__ = ["SmallTrees"]

MOST_BINS, ROWS_IN_BIN = 32, 20
N_LEAVES = 4
RIDGE = 1.0
LEAST_BEND = 1e-3  # on either side of a split; less is rounding
LEAST_GAIN = 1e-6


class SmallTrees:
    """Boosted trees of up to four leaves: as scikit-learn's, the leaf that gains most by it is split next."""

    def __init__(self, x: np.ndarray, targets: np.ndarray, *, start: np.ndarray, rate: float, min_leaf: int) -> None:
        """Features (n, d); one-hot targets (n, k), to which `start` (k,) are the first scores."""
        n_bins = min(MOST_BINS, max(2, len(x) // ROWS_IN_BIN))
        edges = np.quantile(x, np.arange(1, n_bins) / n_bins, axis=0).astype(x.dtype)
        # whether a value is beyond an edge: sums over a side of every split are one product with this
        beyond = x[:, None, :] > edges
        counts = beyond.sum(axis=0)
        # an edge that leaves too few rows on a side, or parts the rows as the one before it, is no split
        splits = (np.minimum(counts, len(x) - counts) >= min_leaf) & (np.diff(counts, axis=0, prepend=-1) != 0)
        edge, feature = np.nonzero(splits) if splits.any() else (np.zeros(1, dtype=np.int64), np.zeros(1, np.int64))
        self._feature, self._edge = feature, edges[edge, feature]
        # one row for each split (m, n): the few that trees take are then read in one piece
        self._beyond = np.ascontiguousarray(beyond[:, edge, feature].T).astype(np.float32)
        self._counts = self._beyond.sum(axis=1)
        self._targets, self._start = targets.astype(np.float32), start
        self._rate, self._min_leaf = rate, min_leaf
        self._scores = np.broadcast_to(start, targets.shape).astype(np.float32)
        self._trees: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def grow_to(self, n_trees: int, *, further: int) -> None:
        """Grow iterations until there are so many; that more may be wanted saves nothing here."""
        while len(self._trees) < n_trees:
            self._grow()

    def _grow(self) -> None:
        predicted = softmax(self._scores)
        slope = (predicted - self._targets).T
        bend = (predicted * (1 - predicted)).T
        parts = np.stack([slope, bend, np.ones_like(slope)])
        # of every leaf and class: its rows, the sums of all parts over these, those beyond every edge, the best split
        k, m = len(slope), len(self._counts)
        # sums are written before they are read: to clear so much memory for every iteration would cost as much as they
        rows, total, beyond = (np.empty((N_LEAVES, *s), np.float32) for s in (slope.shape, (3, k), (3, k, m)))
        edge, gain = np.zeros((N_LEAVES, k), dtype=np.int64), np.full((N_LEAVES, k), -np.inf)
        rows[0], total[0] = 1, parts.sum(axis=2)
        beyond[0, :2], beyond[0, 2] = self._sums(parts[:2]), self._counts
        edge[0], gain[0] = self._best(beyond[0], total[0])
        classes, splits = np.arange(k), []
        for new in range(1, N_LEAVES):
            # what is beyond the edge becomes a new leaf; where nothing gains, an empty one
            old = gain.argmax(axis=0)
            at = np.where(np.isfinite(gain[old, classes]), edge[old, classes], -1)
            splits.append((old, at))
            rows[new] = rows[old, classes] * self._beyond[at] * (at >= 0)[:, None]
            rows[old, classes] -= rows[new]
            if new + 1 < N_LEAVES:
                right = parts * rows[new]
                total[new], beyond[new] = right.sum(axis=2), self._sums(right)
                total[old, :, classes] -= total[new].T
                beyond[old, :, classes] -= beyond[new].swapaxes(0, 1)
                edge[new], gain[new] = self._best(beyond[new], total[new])
                left = self._best(beyond[old, :, classes].swapaxes(0, 1), total[old, :, classes].T)
                edge[old, classes], gain[old, classes] = left
        values = -self._rate * (rows * slope).sum(axis=2) / ((rows * bend).sum(axis=2) + RIDGE)
        self._scores = self._scores + np.einsum("lkn,lk->nk", rows, values)
        self._trees.append((*map(np.stack, zip(*splits, strict=True)), values))

    def _sums(self, parts: np.ndarray) -> np.ndarray:
        """Sums (p, k, m) beyond every edge of what rows hold (p, k, n): one product, not one for each of the parts."""
        return (parts.reshape(-1, parts.shape[-1]) @ self._beyond.T).reshape(*parts.shape[:-1], -1)

    def _best(self, right: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edge (k,) that gains most, a column of `_beyond`, and its gain; −∞ where none gains.

        From sums of slopes, bends and rows beyond every edge (3, k, m), and of the whole leaf (3, k).
        """
        left = total[:, :, None] - right
        # in place, since these are most of what a tree takes beside the sums
        gain, other = np.square(right[0]), np.square(left[0])
        gain /= right[1] + RIDGE
        other /= left[1] + RIDGE
        gain += other
        fits = np.minimum(right[2], left[2]) >= self._min_leaf
        fits &= np.minimum(right[1], left[1]) > LEAST_BEND
        gain[~fits] = -np.inf
        gains = gain.max(axis=1) - total[0] ** 2 / (total[1] + RIDGE)
        return gain.argmax(axis=1), np.where(gains > LEAST_GAIN, gains, -np.inf)

    def scores(self, x: np.ndarray, n_trees: int) -> np.ndarray:
        """Scores (n, k) of rows (n, d) by the first trees."""
        old, at, values = (np.stack(parts) for parts in zip(*self._trees[:n_trees], strict=True))
        leaf = np.zeros((len(x), n_trees, values.shape[2]), dtype=np.int64)
        for split in range(N_LEAVES - 1):
            edge = at[:, split]
            is_beyond = (edge >= 0) & (x[:, self._feature[edge]] > self._edge[edge])
            leaf[(leaf == old[:, split]) & is_beyond] = split + 1
        # the value of each row's leaf, for every tree (n, trees, 1, k)
        found = np.take_along_axis(values[None], leaf[:, :, None], axis=2)
        return np.asarray(self._start + found.sum(axis=(1, 2)))
