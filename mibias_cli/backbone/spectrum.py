"""How many directions features use: training watches it, the audit reports it."""

from __future__ import annotations

import numpy as np

__all__ = ["centred", "effective_rank"]

RELATIVE_NOISE = 1e-12  # variance below this share of the mean square is float32 rounding


def centred(z: np.ndarray) -> np.ndarray | None:
    """Features less their mean, or None where they are constant up to rounding."""
    z = np.asarray(z, dtype=np.float64)
    deviation = z - z.mean(axis=0)
    return deviation if float((deviation**2).sum()) > RELATIVE_NOISE * float((z**2).sum()) else None


def effective_rank(z: np.ndarray) -> float:
    """exp of the entropy of the covariance's normalised eigenvalues: how many directions the features really use.

    Args:
        z: Features (n, d).

    Returns:
        Between 1 and min(n, d); 0 for constant features.

    References: Roy and Vetterli, "The effective rank" (EUSIPCO 2007).

    Example:
        >>> round(effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
        2.0
    """
    deviation = centred(z)
    if deviation is None:
        return 0.0
    wide = deviation.shape[1] > deviation.shape[0]
    gram = deviation @ deviation.T if wide else deviation.T @ deviation
    shares = np.maximum(np.linalg.eigvalsh(gram), 0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
