"""Rows that conflict with the bias, and how well a score of rows finds them where the bias is known after all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["conflicting_rows", "scored"]


def conflicting_rows(y: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows (n,) of classes y (n,) have another bias class c (n,) than most rows of their class.

    Of equally frequent bias classes the first is the one that most rows have.

    Example:
        >>> conflicting_rows(np.array([0, 0, 0, 1, 1]), np.array([2, 2, 5, 5, 5])).tolist()
        [False, False, True, False, False]
    """
    counts = np.zeros((int(y.max(initial=0)) + 1, int(c.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (y, c), 1)
    found: NDArray[np.bool_] = c != counts.argmax(axis=1)[y]
    return found


def scored(score: NDArray[np.floating], y: NDArray[np.int64], c: NDArray[np.int64]) -> str:
    """In words, how well scores (n,) find the conflicting ones of the rows whose c (n,) is not −1.

    Nothing is said where no row of them conflicts, as where the bias is unknown. The average precision is the area
    under the curve of precision over recall; by chance it is the share of conflicting rows.
    """
    from sklearn.metrics import average_precision_score

    known = c >= 0
    truth = conflicting_rows(y[known], c[known])
    if not truth.any():
        return ""
    found = float(average_precision_score(truth, score[known]))
    return (
        f"; of rows whose bias is known {int(truth.sum())} of {len(truth)} do conflict, and are found with an average "
        f"precision of {found:.2f} ({truth.mean():.2f} by chance)"
    )
