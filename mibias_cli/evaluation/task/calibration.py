"""How far predicted probabilities can be believed, and how well they rank."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

__all__ = ["auroc", "calibration_error"]

N_BINS = 15


def calibration_error(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error: over bins of the largest probability, how far its mean is from the share right.

    Of probabilities (n, K), n > 0, and classes y (n,), by bins of equal width.

    References: Guo et al., "On calibration of modern neural networks", arXiv 1706.04599.

    Example:
        >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    bins = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.abs(np.bincount(bins, weights=confidence - right, minlength=N_BINS))
    return float(gaps.sum() / len(y))


def auroc(probabilities: np.ndarray, y: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean over each class against the rest.

    None where the samples hold one class alone; classes that do not occur are left out of the mean.
    """
    present = np.unique(y)
    if len(present) < 2:
        return None
    classes = present if probabilities.shape[1] > 2 else present[-1:]
    return float(np.mean([roc_auc_score(y == k, probabilities[:, k]) for k in classes]))
