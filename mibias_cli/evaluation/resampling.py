"""Intervals: the bootstrap by sample or by group, and Wilson's interval of a share."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from mibias_cli.evaluation.audit_types import Interval

__all__ = ["Resamples", "bootstrap_interval", "wilson_interval"]

CHUNK = 64


class Resamples:
    """Bootstrap resamples of n samples, drawn once and then used for everything that is to be compared.

    Two figures computed with the same resamples are paired: the resamples of their difference are the difference of
    their resamples. With groups, whole groups are drawn, because samples of one patient are no independent evidence.

    Args:
        n: Number of samples.
        n_resamples: Number of resamples.
        group: Group ids (n,), or None.
        seed: Of the draws.
    """

    def __init__(self, n: int, n_resamples: int, *, group: np.ndarray | None = None, seed: int) -> None:
        generator = np.random.default_rng([seed, 3])
        self._member: np.ndarray | None = None
        units = n
        if group is not None:
            ids, member = np.unique(group, return_inverse=True)
            self._member, units = member.reshape(-1), len(ids)
        self._counts = np.empty((n_resamples, units), dtype=np.int32)
        for b in range(n_resamples):
            self._counts[b] = np.bincount(generator.integers(units, size=units), minlength=units)

    def means(self, terms: np.ndarray) -> np.ndarray:
        """The mean of each column of terms (n, m) in every resample: (n_resamples, m)."""
        out = np.empty((len(self._counts), terms.shape[1]))
        for start in range(0, len(self._counts), CHUNK):  # in pieces: the whole (n_resamples, n) may not fit in memory
            counts = self._counts[start : start + CHUNK].astype(np.float64)
            weights = counts if self._member is None else counts[:, self._member]
            out[start : start + CHUNK] = (weights @ terms) / weights.sum(axis=1, keepdims=True)
        return out


def bootstrap_interval(estimate: float, draws: np.ndarray, confidence: float) -> Interval:
    """The percentile interval of the resamples' values, moved so that their mean is the estimate.

    The entropy of a resample is lower than that of the sample on average; without the move every interval of a leakage
    would lie too low by that much.
    """
    tail = 100 * (1 - confidence) / 2
    lower, upper = np.percentile(draws, [tail, 100 - tail]) - draws.mean() + estimate
    value = float(estimate)
    return Interval(estimate=value, lower=min(float(lower), value), upper=max(float(upper), value))


def wilson_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share of `successes` among n > 0: inside [0, 1], and of some width even at 0 and 1.

    Example:
        >>> [round(v, 3) for v in wilson_interval(10, 10, 0.95)]
        [0.722, 1.0]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    lower = 0.0 if successes == 0 else float(centre - half)
    return lower, 1.0 if successes == n else float(centre + half)
