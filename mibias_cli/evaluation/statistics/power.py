"""The smallest leakage that a sample detects: what a report of "nothing found" is worth."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["detectable_bits"]

LN2 = math.log(2)


def detectable_bits(
    n_fit: int, n_score: int, n_features: int, *, n_classes: int = 2, level: float = 0.05, power: float = 0.8
) -> float:
    """The leakage in bits that the permutation test finds with this power, if it is coded in the features' means.

    Two things blur a small leakage I (in nats). A linear probe must first find its direction among n_features on
    n_fit samples, which costs d (K − 1) / 2 n_fit, so that what it carries over is I² / (I + d (K − 1) / 2 n_fit). On
    n_score samples the gain of a fixed probe that carries J has mean J and variance 2 J / n_score, and −J and the same
    variance where labels are shuffled, so that it is found where 2 J reaches (z_level + z_power) √(2 J / n_score). The
    figure solves both for I. Leakage that is coded in any other way needs more samples than that.

    Args:
        n_fit, n_score: Samples (with groups: groups) on which probes are fitted and scored.
        n_features: Columns that are not constant.
        n_classes: Classes of the attribute.
        level: Of the one-sided test.
        power: Wanted.

    Example:
        >>> round(detectable_bits(2500, 2500, 64), 4), round(detectable_bits(500, 500, 64), 4)
        (0.0067, 0.0335)
    """
    # I² / (I + search) = needed, solved for I
    quantile = NormalDist().inv_cdf
    needed = (quantile(1 - level) + quantile(power)) ** 2 / (2 * n_score)
    search = n_features * (n_classes - 1) / (2 * n_fit)
    return (needed + math.sqrt(needed**2 + 4 * needed * search)) / 2 / LN2
