"""Multinomial logistic regression, as scikit-learn fits it, under many ridge penalties from one decomposition.

A ridge penalty knows no axes: fitted along the principal components of the features, the solution is the same, there
are never more coefficients than rows, and the curvature of the loss is nearly diagonal. In units in which that diagonal
is one, L-BFGS takes a dozen steps, not a hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import scipy

from mibias_cli.evaluation.probes.links import class_log_probabilities, class_targets

__all__ = ["LinearClassifier"]

ENOUGH = 1e-6  # nats: fits end where a step gains less
FLAT = 1e-4  # or where no slope is steeper, in units in which the loss bends by one
FLATTEST = 1e-12  # of the largest variance: components of less are rounding
LEAST_BEND = 1e-6
N_STEPS_KEPT = 8
ARMIJO, SHORTEST = 1e-4, 1e-8


class LinearClassifier:
    """Scores of classes that are linear in features, under a ridge penalty of 1 / C; the intercept is not penalised."""

    def __init__(self, x: np.ndarray, c: np.ndarray, *, max_iter: int, most_axes: int = 0) -> None:
        """Rows (n, d) with labels (n,); along principal components where there are `most_axes` at most.

        To find them takes as long as several fits.
        """
        self._mean = x.mean(axis=0)
        self._z = x - self._mean
        self._axes: np.ndarray | None = None
        if min(x.shape) <= most_axes:
            self._axes, self._variance = _axes(self._z)
            self._z = self._z @ self._axes.astype(x.dtype)
        else:
            self._variance = np.square(self._z).mean(axis=0, dtype=np.float64)
        self.classes_, targets = class_targets(c)
        self._targets = np.ascontiguousarray(targets.T, dtype=x.dtype)
        self._max_iter = max_iter
        self._weights = np.zeros((targets.shape[1], self._z.shape[1] + 1))

    def fit(self, strength: float) -> None:
        """Fit at C = `strength`, from where the last fit ended; an early stop is no fault: it is calibrated anyway."""
        penalty = 1 / (strength * len(self._z))
        predicted = self._loss(self._weights, penalty)[2]
        # how much the loss bends along each coefficient: exact where features tell nothing
        bend = np.maximum((predicted * (1 - predicted)).mean(axis=1, dtype=np.float64), LEAST_BEND)[:, None]
        # in these units it bends alike along all of them
        unit = 1 / np.sqrt(np.concatenate([self._variance * bend + penalty, bend], axis=1))

        def loss_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, slope, _ = self._loss(flat.reshape(unit.shape) * unit, penalty)
            return loss, (slope * unit).ravel()

        found = _least(loss_and_slope, (self._weights / unit).ravel(), self._max_iter)
        self._weights = found.reshape(unit.shape) * unit

    def _loss(self, weights: np.ndarray, penalty: float) -> tuple[float, np.ndarray, np.ndarray]:
        """The penalised mean cross-entropy, its slope by the weights (k, r + 1), and the predictions (k, n)."""
        small = weights.astype(self._z.dtype)
        n, scores = len(self._z), small[:, :-1] @ self._z.T
        scores += small[:, -1:]
        told = float(np.vdot(self._targets, scores))
        if len(scores) == 1:
            losses, predicted = np.logaddexp(0, scores), scipy.special.expit(scores)
        else:
            # classes lie along the first axis, over which a few are reduced ten times faster than over the last
            most = scores.max(axis=0)
            predicted = np.exp(scores - most)
            total = predicted.sum(axis=0)
            predicted /= total
            losses = most + np.log(total)
        difference = (predicted - self._targets) / n
        slope = np.empty(weights.shape)
        slope[:, :-1] = difference @ self._z
        slope[:, :-1] += penalty * weights[:, :-1]
        slope[:, -1] = difference.sum(axis=1)
        loss = (float(losses.sum(dtype=np.float64)) - told) / n
        return loss + penalty / 2 * float(np.vdot(weights[:, :-1], weights[:, :-1])), slope, predicted

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        """Of all classes (n, K), for rows (n, d)."""
        weights = self._weights[:, :-1].T if self._axes is None else self._axes @ self._weights[:, :-1].T
        return class_log_probabilities(x @ weights + (self._weights[:, -1] - self._mean @ weights))


def _least(
    loss_and_slope: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_iter: int
) -> np.ndarray:
    """Where a convex loss is least, by L-BFGS (Nocedal and Wright, 2006, algorithm 7.4), from `start` (p,).

    On fits of a few hundred rows scipy's takes twice as long, most of it in its own bookkeeping.
    """
    x, steps = start, deque[tuple[np.ndarray, np.ndarray, float]](maxlen=N_STEPS_KEPT)
    loss, slope = loss_and_slope(x)
    for _ in range(max_iter):
        way, shares = slope.copy(), []
        for moved, bent, product in reversed(steps):
            shares.append(float(moved.dot(way)) / product)
            way -= shares[-1] * bent
        if steps:
            _, bent, product = steps[-1]
            way *= product / float(bent.dot(bent))
        for moved, bent, product in steps:
            way += (shares.pop() - float(bent.dot(way)) / product) * moved
        length, descent = 1.0, float(way.dot(slope))
        found, next_slope = loss_and_slope(x - way)
        # no comparison holds for a loss that is no number
        while not found <= loss - ARMIJO * length * descent and length > SHORTEST:
            # to where a parabola through both losses is least
            length *= min(max(0.1, descent * length / (2 * (found - loss + descent * length))), 0.5)
            found, next_slope = loss_and_slope(x - length * way)
        if not found <= loss:
            break
        moved, bent = -length * way, next_slope - slope
        product = float(moved.dot(bent))
        if product > 0:
            steps.append((moved, bent, product))
        gained, x, loss, slope = loss - found, x + moved, found, next_slope
        if gained <= ENOUGH * max(abs(loss), 1.0) or np.abs(slope).max() <= FLAT:
            break
    return x


def _axes(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (d, r), r the number of rows or columns at most, and the variance (r,) of centred rows along each."""
    n, d = centred.shape
    if d <= n:
        values, vectors = scipy.linalg.eigh(centred.T @ centred, driver="evd", check_finite=False, overwrite_a=True)
        return vectors, np.maximum(values, 0) / n
    # fewer rows than columns: the products of rows have the same eigenvalues
    wide = centred.astype(np.float64)
    values, vectors = scipy.linalg.eigh(wide @ wide.T, driver="evd", check_finite=False, overwrite_a=True)
    seen = values > FLATTEST * max(float(values[-1]), 1e-300)
    return wide.T @ vectors[:, seen] / np.sqrt(values[seen]), values[seen] / n
