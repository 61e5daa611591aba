"""From scores of a network or of trees to predictions, and from labels to what these are fitted to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["Link", "class_log_probabilities", "class_targets", "identity", "softmax"]

TINY = 1e-12  # below any probability that calibration leaves alone
Link = Callable[[np.ndarray], np.ndarray]
"""Predictions (n, k) of scores (n, k); those less the targets are the slope of the loss."""


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of classes (n, k); of a single score (n, 1), the probability of the second of two classes.

    Example:
        >>> softmax(np.array([[0.0, 0.0]])).tolist(), softmax(np.array([[0.0]])).tolist()
        ([[0.5, 0.5]], [[0.5]])
    """
    if scores.shape[1] == 1:
        return 1 / (1 + np.exp(-np.clip(scores, -50, 50)))
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def identity(scores: np.ndarray) -> np.ndarray:
    """Numbers as they are."""
    return scores


def class_targets(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes of labels (n,), and what scores are fitted to: (n, k) one-hot, or (n, 1) of two classes."""
    classes, index = np.unique(c, return_inverse=True)
    one_hot = np.eye(len(classes))[index.reshape(-1)]
    return classes, one_hot[:, 1:] if len(classes) == 2 else one_hot


def class_log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Of all classes, none below what calibration leaves alone."""
    p = softmax(scores)
    if p.shape[1] == 1:
        p = np.concatenate([1 - p, p], axis=1)
    return np.log(np.maximum(p, TINY))
