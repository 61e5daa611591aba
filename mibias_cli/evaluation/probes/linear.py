"""Multinomial logistic regression, as scikit-learn fits it, without what that checks at every step of the solver."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from mibias_cli.evaluation.probes.links import class_log_probabilities, class_targets

__all__ = ["LinearClassifier"]


class LinearClassifier:
    """Scores of classes that are linear in features, under a ridge penalty of 1 / C; the intercept is not penalised."""

    def __init__(self, x: np.ndarray, c: np.ndarray, *, max_iter: int, tol: float) -> None:
        self._x = x
        self.classes_, targets = class_targets(c)
        self._targets = targets.astype(x.dtype)
        self._options = {"maxiter": max_iter, "maxls": 50, "gtol": tol, "ftol": 64 * np.finfo(np.float64).eps}
        self._weights = np.zeros((x.shape[1] + 1, targets.shape[1]))

    def fit(self, strength: float) -> None:
        """Fit at C = `strength`, from where the last fit ended; an early stop is no fault: it is calibrated anyway."""
        shape, penalty = self._weights.shape, 1 / (strength * len(self._x))

        def loss_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(shape)
            small = weights.astype(self._x.dtype)
            loss, difference = self._cross_entropy(self._x @ small[:-1] + small[-1])
            slope = np.empty(shape)
            slope[:-1] = self._x.T @ difference + penalty * weights[:-1]
            slope[-1] = difference.sum(axis=0)
            return loss + penalty / 2 * float(np.square(weights[:-1]).sum()), slope.ravel()

        found = minimize(loss_and_slope, self._weights.ravel(), jac=True, method="L-BFGS-B", options=self._options)
        self._weights = found.x.reshape(shape)

    def _cross_entropy(self, scores: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean cross-entropy of scores (n, k), and its slope."""
        n = len(scores)
        told = float((self._targets * scores).sum(dtype=np.float64))
        if scores.shape[1] == 1:
            losses, predicted = np.logaddexp(0, scores), expit(scores)
        else:
            most = scores.max(axis=1, keepdims=True)
            predicted = np.exp(scores - most)
            total = predicted.sum(axis=1, keepdims=True)
            losses, predicted = most + np.log(total), predicted / total
        return (float(losses.sum(dtype=np.float64)) - told) / n, (predicted - self._targets) / n

    def log_probabilities(self, x: np.ndarray) -> np.ndarray:
        """Of all classes (n, K), for rows (n, d)."""
        return class_log_probabilities(x @ self._weights[:-1] + self._weights[-1])
