"""How far predicted probabilities can be believed, and how well they rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from mibias_cli.evaluation.leakage_findings import Bounds
from mibias_cli.evaluation.statistics.inversion import inverted_bounds
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.rule import Terms

__all__ = ["auroc", "auroc_draws", "calibration_bounds", "calibration_error"]

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
    return Bounds(lower=lower, upper=upper)


def auroc(probabilities: np.ndarray, y: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean over each class against the rest.

    None where the samples hold one class alone; classes that do not occur are left out of the mean.
    """
    present = np.unique(y)
    if len(present) < 2:
        return None
    classes = present if probabilities.shape[1] > 2 else present[-1:]
    return float(np.mean([roc_auc_score(y == k, probabilities[:, k]) for k in classes]))


def auroc_draws(probabilities: np.ndarray, y: np.ndarray, resamples: Resamples) -> np.ndarray | None:
    """`auroc` in every resample (B,), to first order; None where the samples hold one class alone.

    The area is the mean over positives of the share of negatives below them, and over negatives of the share of
    positives above them: resampled, each of both means varies, and their variations add.

    References: DeLong et al., "Comparing the areas under two or more correlated ROC curves" (1988).
    """
    present = np.unique(y)
    if len(present) < 2:
        return None
    classes = present if probabilities.shape[1] > 2 else present[-1:]
    return np.asarray(np.mean([_area_draws(probabilities[:, k], y == k, resamples) for k in classes], axis=0))


def _area_draws(score: np.ndarray, positive: np.ndarray, resamples: Resamples) -> np.ndarray:
    placement = np.empty(len(score))
    # equal scores count half
    for own, sign in ((positive, 1.0), (~positive, -1.0)):
        others = np.sort(sign * score[~own])
        places = [np.searchsorted(others, sign * score[own], side=side) for side in ("left", "right")]
        placement[own] = (places[0] + places[1]) / (2 * len(others))
    parts = [positive, positive * placement, ~positive, ~positive * placement]
    means = resamples.means(np.stack(parts, axis=1).astype(np.float64))
    # a resample may lack a class
    sizes = np.where(means > 0, means, np.nan)
    area = float(placement[positive].mean())
    return np.nan_to_num(means[:, 1] / sizes[:, 0] + means[:, 3] / sizes[:, 2] - area, nan=area)
