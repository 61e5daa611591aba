"""Intervals by the bootstrap, by sample or by group."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import scipy

from mibias_cli.evaluation.leakage_findings import Interval

__all__ = ["CHANGE", "MAX_UNITS", "SHARE", "Resamples", "bootstrap_interval"]

CHUNK = 64
MAX_UNITS = 20_000
"""More samples (or groups) than this are first put into so many random bags, which are then drawn whole."""
SHARE = (0.0, 1.0)
"""Between what accuracies, areas under curves and other shares lie."""
CHANGE = (-1.0, 1.0)
"""Between what differences of shares lie."""


class Resamples:
    """Bootstrap resamples of n samples, drawn once and then used for everything that is to be compared.

    Two figures computed with the same resamples are paired: the resamples of their difference are the difference of
    their resamples. With groups, whole groups are drawn, because samples of one patient are no independent evidence.
    Memory does not grow with n beyond `MAX_UNITS`. `group` holds ids (n,).
    """

    def __init__(self, n: int, n_resamples: int, *, group: np.ndarray | None = None, seed: int) -> None:
        generator = np.random.default_rng([seed, 3])
        member = np.arange(n)
        if group is not None:
            member = np.unique(group, return_inverse=True)[1].reshape(-1)
        units = int(member.max()) + 1
        if units > MAX_UNITS:
            bag = np.arange(units) % MAX_UNITS
            generator.shuffle(bag)
            member, units = bag[member], MAX_UNITS
        self._member, self.n_units = member, units
        # a resample is kept as how often each unit was drawn: any ratio of sums is then one matrix product
        self._sizes = np.bincount(member, minlength=units).astype(np.float64)
        self.n_resamples, self.is_grouped = n_resamples, group is not None
        self._counts = np.empty((n_resamples, units), dtype=np.int16)
        for b in range(n_resamples):
            self._counts[b] = np.bincount(generator.integers(units, size=units), minlength=units)

    def means(self, terms: np.ndarray) -> np.ndarray:
        """The mean of each column of terms (n, m) in every resample: (n_resamples, m)."""
        sums = np.stack([np.bincount(self._member, weights=column, minlength=self.n_units) for column in terms.T])
        per_unit = np.concatenate([sums, self._sizes[None]]).T
        out = np.empty((len(self._counts), terms.shape[1]))
        # in pieces: the whole in float64 may not fit in memory
        for start in range(0, len(self._counts), CHUNK):
            # the last column is the resample's size, which varies where whole groups are drawn
            totals = self._counts[start : start + CHUNK].astype(np.float64) @ per_unit
            out[start : start + CHUNK] = totals[:, :-1] / totals[:, -1:]
        return out

    def effective_size(self, rows: np.ndarray, hits: np.ndarray) -> float:
        """How many independent samples would tell the share of hits among some rows (masks (n,)) as well as these.

        Never more than there are rows; where the share does not vary, as many as there are groups in them.
        """
        n, share = int(rows.sum()), float(hits[rows].mean())
        if not self.is_grouped:
            return float(n)
        n_groups = len(np.unique(self._member[rows]))
        means = self.means(np.stack([rows, rows & hits], axis=1).astype(np.float64))
        variance = float(np.var(means[means[:, 0] > 0, 1] / means[means[:, 0] > 0, 0]))
        if share in (0.0, 1.0) or variance == 0:
            return float(n_groups)
        return float(min(share * (1 - share) / variance, n))


def bootstrap_interval(
    estimate: float,
    draws: np.ndarray,
    confidence: float,
    *,
    n_units: int | None = None,
    extra_sd: float = 0.0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """The percentile interval of the resamples' values around the estimate, widened to what a small sample owes.

    Args:
        estimate: The figure.
        draws: Its values in the resamples (n_resamples,); their mean is moved onto the estimate.
        confidence: Of the interval.
        n_units: How many samples (or groups) were drawn from: plain percentile intervals are too narrow by
            √((n − 1) / n) and by the ratio of Student's quantile to the normal's. None: no correction.
        extra_sd: Standard deviation of a further error, independent of the resampled one.
        within: Between what the figure lies whatever the data: the interval ends there, and covers the truth as often.

    References: Hesterberg, "What teachers should know about the bootstrap", arXiv 1411.5279 (expanded percentiles).
    """
    tail = (1 - confidence) / 2
    z = NormalDist().inv_cdf(1 - tail)
    deviations = np.percentile(draws, [100 * tail, 100 * (1 - tail)]) - draws.mean()
    if n_units is not None and n_units > 1:
        widening = float(scipy.stats.t.ppf(1 - tail, n_units - 1)) / z * float(np.sqrt(n_units / (n_units - 1)))
        deviations = deviations * widening
    if extra_sd > 0:
        # independent errors add by their squares; constant draws leave the further one alone
        signs = np.sign(deviations) if deviations.any() else np.array([-1.0, 1.0])
        deviations = signs * np.hypot(deviations, z * extra_sd)
    value = float(estimate)
    lower, upper = (float(end) for end in np.clip(value + deviations, *within))
    return Interval(estimate=value, lower=min(lower, value), upper=max(upper, value))
