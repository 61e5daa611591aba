"""Numbers turned into standard-normal ones by their ranks, so that a Gaussian bound on information is a bound."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

__all__ = ["MIN_STRATUM", "normal_scores"]

MIN_STRATUM = 30
"""A stratum with fewer fitting values takes the ranks of all values."""


def normal_scores(
    fit: np.ndarray, score: np.ndarray, fit_stratum: np.ndarray | None, score_stratum: np.ndarray | None, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values of both parts as normal scores of their ranks among the fitting part's values, ties broken at random.

    Information does not change under monotone maps, and noise within ties can only lower it; but after this map c is
    standard normal, and only then is the gain of a Gaussian prediction over N(0, 1) a lower bound on I(z; c). Of an
    exponential c, say, the plain Gaussian bound reports more than there is.

    Args:
        fit, score: Values (n_fit,) and (n_score,).
        fit_stratum, score_stratum: Integers: ranks are taken within each stratum (the target's classes); None: of all.
        seed: Of the ties.

    Returns:
        (n_fit,) and (n_score,) float64.
    """
    generator = np.random.default_rng([seed, 6])
    pooled = np.sort(fit)
    out = _scores(fit, pooled, True, generator), _scores(score, pooled, False, generator)
    if fit_stratum is None or score_stratum is None:
        return out
    for value in np.unique(fit_stratum):
        mine, others = fit_stratum == value, score_stratum == value
        if mine.sum() >= MIN_STRATUM:
            ranks = np.sort(fit[mine])
            out[0][mine] = _scores(fit[mine], ranks, True, generator)
            out[1][others] = _scores(score[others], ranks, False, generator)
    return out


def _scores(values: np.ndarray, ordered: np.ndarray, own: bool, generator: np.random.Generator) -> np.ndarray:
    """Normal scores of values among sorted ones, of which they are part (`own`) or not."""
    first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    steps = len(ordered) if own else len(ordered) + 1
    width = last - first + (0 if own else 1)
    position = (first + generator.random(len(values)) * width) / steps
    return np.asarray(norm.ppf(np.clip(position, 0.5 / steps / 10, 1 - 0.5 / steps / 10)))
