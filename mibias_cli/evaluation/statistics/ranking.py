"""How well predicted probabilities rank samples: the area under the ROC curve, and how it varies."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from mibias_cli.evaluation.statistics.resampling import Resamples

__all__ = ["auroc", "auroc_draws"]


def auroc(probabilities: np.ndarray, y: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean over each class against the rest.

    None where the samples hold one class alone; classes that do not occur are left out of the mean.
    """
    present = np.unique(y)
    if len(present) < 2:
        return None
    classes = present if probabilities.shape[1] > 2 else present[-1:]
    positive = y[:, None] == classes
    n_positive = positive.sum(axis=0)
    # Mann and Whitney's count of pairs in the right order, from ranks: equal scores count half
    above = (rankdata(probabilities[:, classes], axis=0) * positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    return float(np.mean(above / (n_positive * (len(y) - n_positive))))


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
