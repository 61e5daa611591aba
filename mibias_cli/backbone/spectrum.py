"""How many directions features use, and when they have lost nearly all: training watches it, the audit reports it."""

from __future__ import annotations

import numpy as np

__all__ = ["centred", "effective_rank", "has_collapsed"]

RELATIVE_NOISE = 1e-12  # variance below this share of the mean square is float32 rounding
LOW_RANK, RANK_DROP = 2.0, 0.1
KEPT, CHANCE_MARGIN = 0.9, 0.05


def centred(z: np.ndarray) -> np.ndarray | None:
    """Features less their mean, or None where they are constant up to rounding."""
    z = np.asarray(z, dtype=np.float64)
    deviation = z - z.mean(axis=0)
    return deviation if float((deviation**2).sum()) > RELATIVE_NOISE * float((z**2).sum()) else None


def effective_rank(z: np.ndarray) -> float:
    """exp of the entropy of the covariance's normalised eigenvalues: how many directions the features really use.

    Of features (n, d) it is between 1 and min(n, d), or 0 where they are constant.

    References: Roy and Vetterli, "The effective rank" (EUSIPCO 2007).

    Example:
        >>> round(effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
        2.0
    """
    deviation = centred(z)
    if deviation is None:
        return 0.0
    # the covariance up to a factor; for few samples the Gram matrix has the same non-zero eigenvalues, and is smaller
    wide = deviation.shape[1] > deviation.shape[0]
    gram = deviation @ deviation.T if wide else deviation.T @ deviation
    shares = np.maximum(np.linalg.eigvalsh(gram), 0)
    # 0 · log 0 is 0: directions without variance drop out
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def has_collapsed(
    rank: float, before: float | None, *, n_classes: int, kept: tuple[float, float] | None = None
) -> bool:
    """Whether features have lost nearly all their directions, so that low leakage is no success.

    They are constant; or their effective rank fell below a tenth of what it was (or below 2) and below half of it; or,
    with nothing to compare with, it is below 2 for a target of more than three classes. A target of k classes needs
    k - 1 directions and fine-tuning ends near that number, so few directions are no collapse where the features predict
    the target about as well as before.

    Args:
        rank: Effective rank of the features now.
        before: Of the original's, or the largest so far in training; None without one.
        n_classes: Classes of the target; of labels strata, of numbers one more than columns; 0 without a target.
        kept: Balanced accuracy beyond chance, or R², at its best before and now; None where that is unknown.

    References: Papyan et al., arXiv 2008.08186, of ranks at the end of training.

    Example:
        >>> has_collapsed(1.5, 12.0, n_classes=10), has_collapsed(1.5, 12.0, n_classes=10, kept=(0.8, 0.8))
        (True, False)
    """
    # constant features; any others have a rank of 1 or more
    if rank < 1:
        return True
    # few directions that still tell the target are what a good fine-tuned extractor ends with (neural collapse)
    if kept is not None and kept[1] > max(KEPT * kept[0], CHANCE_MARGIN):
        return False
    if before is None:
        return rank < LOW_RANK and n_classes > 3
    return rank < max(RANK_DROP * before, LOW_RANK) and rank < before / 2
