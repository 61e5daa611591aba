"""How far predicted probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.evaluation.leakage_findings import Bounds
from mibias_cli.evaluation.statistics.inversion import inverted_bounds
from mibias_cli.evaluation.task.rule import Terms

__all__ = ["calibration_bounds", "calibration_error"]

N_BINS = 15


def calibration_error(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error: over bins of the largest probability, how far its mean is from the share right.

    Of probabilities (n, K), n > 0, and classes y (n,), by bins of equal width.

    References: Guo et al., "On calibration of modern neural networks", arXiv 1706.04599.

    Example:
        >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    bins, gaps = _gaps(probabilities, y)
    return float(np.abs(np.bincount(bins, weights=gaps, minlength=N_BINS)).sum() / len(y))


def _gaps(probabilities: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each sample (n,), and its confidence less 1 where it is right (n,)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1), confidence - right


def calibration_bounds(predicted: Sequence[tuple[np.ndarray, np.ndarray]], terms: Terms) -> Bounds:
    """The interval of the mean calibration error of some tasks, each of probabilities (n, K) and classes (n,).

    Noise within bins makes the error larger; see `inverted_bounds`.
    """
    effects, errors, usual = [], [], []
    for probabilities, y in predicted:
        bins, gaps = _gaps(probabilities, y)
        inside = bins[:, None] == np.unique(bins)
        effects.append((inside * gaps[:, None]).mean(axis=0))
        errors.append(terms.resamples.means(inside * gaps[:, None]) - effects[-1])
        # too sure, or not sure enough, of all samples alike is the usual fault
        usual.append(inside.mean(axis=0))
    lower, upper = inverted_bounds(
        np.concatenate(effects),
        np.concatenate(errors, axis=1),
        lambda x: np.abs(x).sum(axis=1) / len(predicted),
        terms.confidence,
        usual=np.concatenate(usual),
    )
    return Bounds(lower=lower, upper=min(upper, 1.0))
