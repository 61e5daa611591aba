"""How well predicted probabilities rank samples: the area under the ROC curve, and how it varies."""

from __future__ import annotations

import numpy as np
import scipy

from mibias_cli.evaluation.statistics.resampling import Resamples

__all__ = ["auroc", "auroc_draws", "grouped_auroc"]


def auroc(probabilities: np.ndarray, y: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean over each class against the rest.

    None where the samples hold one class alone; classes that do not occur are left out of the mean.
    """
    classes = _ranked(probabilities, y)
    if classes is None:
        return None
    positive = y[:, None] == classes
    n_positive = positive.sum(axis=0)
    # Mann and Whitney's count of pairs in the right order, from ranks: equal scores count half
    ranks = scipy.stats.rankdata(probabilities[:, classes], axis=0)
    above = (ranks * positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    return float(np.mean(above / (n_positive * (len(y) - n_positive))))


def auroc_draws(probabilities: np.ndarray, y: np.ndarray, resamples: Resamples) -> np.ndarray | None:
    """`auroc` in every resample (B,), to first order; None where the samples hold one class alone.

    The area is the mean over positives of the share of negatives below them, and over negatives of the share of
    positives above them: resampled, each of both means varies, and their variations add.

    References: DeLong et al., "Comparing the areas under two or more correlated ROC curves" (1988).
    """
    classes, together = _ranked(probabilities, y), np.zeros(len(y), dtype=np.int64)
    if classes is None:
        return None
    draws = [grouped_auroc(probabilities[:, k], y == k, together, resamples)[1] for k in classes]
    return np.asarray(np.mean(draws, axis=0))


def _ranked(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """The classes that are ranked against the rest: of two the second, of more those that occur; None of one alone."""
    present = np.unique(y)
    return None if len(present) < 2 else present if probabilities.shape[1] > 2 else present[-1:]


def grouped_auroc(
    score: np.ndarray, positive: np.ndarray, group: np.ndarray, resamples: Resamples
) -> tuple[float, np.ndarray]:
    """The area under the ROC curve inside groups, the mean over positives, and its value in every resample (B,).

    Each positive is compared with negatives of its own group alone; equal scores count half. Resamples are to first
    order, see `auroc_draws`.

    Args:
        score, positive: Scores (n,), and a mask (n,) of the rows that should have the larger ones.
        group: Groups (n,), each with rows of both kinds.
        resamples: Of these n rows.

    Example:
        >>> drawn = Resamples(5, 100, seed=0)
        >>> score, positive = np.array([3.0, 1.0, 2.0, 5.0, 6.0]), np.array([True, False, False, True, False])
        >>> grouped_auroc(score, positive, np.array([0, 0, 0, 1, 1]), drawn)[0]
        0.5
    """
    placement, weight = np.empty(len(score)), np.ones(len(score))
    for g in np.unique(group):
        inside = group == g
        for own, others, sign in ((positive, ~positive, 1.0), (~positive, positive, -1.0)):
            among = np.sort(sign * score[others & inside])
            places = [np.searchsorted(among, sign * score[own & inside], side=side) for side in ("left", "right")]
            placement[own & inside] = (places[0] + places[1]) / (2 * len(among))
        # negatives count as often as positives of their group do
        shares = [(inside & of_kind).sum() / of_kind.sum() for of_kind in (positive, ~positive)]
        weight[inside & ~positive] = shares[0] / shares[1]
    parts = [positive, positive * placement, ~positive * weight, ~positive * weight * placement]
    means = resamples.means(np.stack(parts, axis=1).astype(np.float64))
    # a resample may lack a class
    sizes = np.where(means > 0, means, np.nan)
    area = float(placement[positive].mean())
    return area, np.nan_to_num(means[:, 1] / sizes[:, 0] + means[:, 3] / sizes[:, 2] - area, nan=area)
