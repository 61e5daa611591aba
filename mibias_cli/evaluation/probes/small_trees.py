"""Gradient boosting on few rows: the trees of all classes of an iteration are grown at once, by matrix products.

On a few hundred rows scikit-learn's trees take most of their time to be set up; with eight classes there are eight of
them to an iteration, and the features are binned anew at every call.
"""

from __future__ import annotations

import numpy as np

from mibias_cli.evaluation.probes.links import softmax

__all__ = ["SmallTrees"]

MOST_BINS, ROWS_IN_BIN = 32, 30
RIDGE = 1.0
LEAST_BEND = 1e-3  # on either side of a split; less is rounding
LEAST_GAIN = 1e-6


class SmallTrees:
    """Boosted trees of up to four leaves, as scikit-learn's of depth 2: each half is split again where that gains."""

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
        self._trees: list[tuple[np.ndarray, np.ndarray]] = []

    def grow_to(self, n_trees: int, *, further: int) -> None:
        """Grow iterations until there are so many; that more may be wanted saves nothing here."""
        while len(self._trees) < n_trees:
            self._grow()

    def _grow(self) -> None:
        predicted = softmax(self._scores)
        slope = (predicted - self._targets).T
        bend = (predicted * (1 - predicted)).T
        parts = np.stack([slope, bend, np.ones_like(slope)])
        k = len(slope)
        # of every class: sums of all parts over its rows, and over those beyond every edge
        total, beyond = parts.sum(axis=2), np.empty((3, k, len(self._counts)), np.float32)
        beyond[:2], beyond[2] = self._sums(parts[:2]), self._counts
        first = self._best(beyond, total)
        right = self._beyond[first] * (first >= 0)[:, None]
        # both halves are split in turn; what is left of the first edge is the whole less what is beyond it
        part = parts * right
        right_total, right_beyond = part.sum(axis=2), self._sums(part)
        halves = np.concatenate([beyond - right_beyond, right_beyond], axis=1)
        second = self._best(halves, np.concatenate([total - right_total, right_total], axis=1))
        outer = (self._beyond[second] * (second >= 0)[:, None]).reshape(2, k, -1)
        half = np.stack([1 - right, right])
        rows = np.stack([half * (1 - outer), half * outer], axis=1)
        values = -self._rate * (rows * slope).sum(axis=3) / ((rows * bend).sum(axis=3) + RIDGE)
        self._scores = self._scores + (rows * values[..., None]).sum(axis=(0, 1)).T
        self._trees.append((np.stack([first, *second.reshape(2, k)]), values))

    def _sums(self, parts: np.ndarray) -> np.ndarray:
        """Sums (p, k, m) beyond every edge of what rows hold (p, k, n): one product, not one for each of the parts."""
        return (parts.reshape(-1, parts.shape[-1]) @ self._beyond.T).reshape(*parts.shape[:-1], -1)

    def _best(self, right: np.ndarray, total: np.ndarray) -> np.ndarray:
        """The edge (k,) that gains most; −1 where none gains.

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
        return np.where(gains > LEAST_GAIN, gain.argmax(axis=1), -1)

    def scores(self, x: np.ndarray, n_trees: int) -> np.ndarray:
        """Scores (n, k) of rows (n, d) by the first trees."""
        edges, values = (np.stack(parts) for parts in zip(*self._trees[:n_trees], strict=True))
        first = edges[:, 0]
        right = self._is_beyond(x, first)
        outer = np.where(right, self._is_beyond(x, edges[:, 2]), self._is_beyond(x, edges[:, 1]))
        leaf = 2 * right.astype(np.int64) + outer
        # the value of each row's leaf, for every tree (n, trees, 1, k)
        found = np.take_along_axis(values.reshape(1, n_trees, 4, -1), leaf[:, :, None], axis=2)
        return np.asarray(self._start + found.sum(axis=(1, 2)))

    def _is_beyond(self, x: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """Whether rows (n, d) are beyond edges (t, k): (n, t, k), nowhere beyond none."""
        return np.asarray((edge >= 0) & (x[:, self._feature[edge]] > self._edge[edge]))
