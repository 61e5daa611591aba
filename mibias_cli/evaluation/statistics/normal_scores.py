"""Numbers turned into standard-normal ones by their ranks, so that a Gaussian bound on information is a bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

__all__ = ["MIN_STRATUM", "normal_scores", "scored_by_stratum"]

MIN_STRATUM = 30
"""A stratum with fewer fitting values takes the ranks of all values."""


def scored_by_stratum(
    place: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    fit: np.ndarray,
    score: np.ndarray,
    fit_stratum: np.ndarray | None,
    score_stratum: np.ndarray | None,
    *,
    least: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Both parts by `place`, which scores a sample and further values by the sample's ranks; within strata.

    A stratum with fewer than `least` fitting values keeps its scores among all: its own ranks would be mostly noise.
    """
    out = place(fit, score)
    if fit_stratum is None or score_stratum is None:
        return out
    for value in np.unique(fit_stratum):
        mine, others = fit_stratum == value, score_stratum == value
        if mine.sum() >= least:
            out[0][mine], out[1][others] = place(fit[mine], score[others])
    return out


def normal_scores(
    fit: np.ndarray, score: np.ndarray, fit_stratum: np.ndarray | None, score_stratum: np.ndarray | None, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values of both parts as normal scores of their ranks among the fitting part's values, ties broken at random.

    Information does not change under monotone maps, and noise within ties can only lower it; but after this map c is
    standard normal, and only then is the gain of a Gaussian prediction over N(0, 1) a lower bound on I(z; c). Of an
    exponential c, say, the plain Gaussian bound reports more than there is.

    Values and strata (the target's classes; None: ranks are taken among all) are (n_fit,) and (n_score,), as is what
    comes back. The seed is that of the ties.
    """
    generator = np.random.default_rng([seed, 6])

    def scores(values: np.ndarray, ordered: np.ndarray, own: bool) -> np.ndarray:
        first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
        # a new value stands beside n others: n + 1 places, one of which is its own
        steps, width = (len(ordered), last - first) if own else (len(ordered) + 1, last - first + 1)
        # anywhere within its ties: the position is then uniform, and its normal score standard normal
        position = (first + generator.random(len(values)) * width) / steps
        return np.asarray(scipy.stats.norm.ppf(np.clip(position, 0.5 / steps / 10, 1 - 0.5 / steps / 10)))

    def place(sample: np.ndarray, further: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = np.sort(sample)
        return scores(sample, ordered, True), scores(further, ordered, False)

    return scored_by_stratum(place, fit, score, fit_stratum, score_stratum, least=MIN_STRATUM)
