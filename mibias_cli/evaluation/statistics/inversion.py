"""Intervals of figures that cannot be below 0, honest where the truth is 0, as the bootstrap is not.

A largest difference between groups, or a calibration error, is the size of a vector of effects. Noise makes sizes
larger, so that resamples of a figure whose truth is 0 never reach 0: the percentile interval of an absolute difference
covers 0 in one table of six.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

__all__ = ["inverted_bounds", "lowest_gap_bounds", "paired_bounds", "simultaneous_bounds", "with_floor"]

_HALVINGS = 24
_TINY = 1e-12


def inverted_bounds(
    effects: np.ndarray,
    errors: np.ndarray,
    size: Callable[[np.ndarray], np.ndarray],
    confidence: float,
    *,
    usual: np.ndarray,
) -> tuple[float, float]:
    """The truths under which the observed size is no surprise.

    The truth is taken to lie in the direction of the observed effects, with and without what may be noise of them, or
    in a usual one, and the widest interval counts. A size is tried by what resampled errors make of it; the lower bound
    is 0 where errors alone may explain what was observed, and there the test is exact up to the errors' law.

    Args:
        effects: Estimates, of any shape.
        errors: Their errors in resamples (B, *shape), of mean about 0.
        size: From effects (B, *shape) to figures (B,); size(s · x) = s · size(x) for s ≥ 0, and never below 0.
        confidence: Of the interval.
        usual: Effects in a direction that truths often have.

    References: Casella and Berger, "Statistical Inference" (2002), section 9.2.1, for inverting a test.
    """
    observed = float(size(effects[None])[0])
    # effects within their errors are mostly these: counted as truth they raise the lower bound, left out the upper
    noise = errors.var(axis=0)
    shrunk = effects * np.maximum(1 - noise / np.maximum(effects**2, _TINY), 0.0)
    directions = [x / length for x in (effects, shrunk, usual) if (length := float(size(x[None])[0])) > 0]
    tail = (1 - confidence) / 2

    def crossing(direction: np.ndarray, q: float, high: float) -> float:
        return _crossing(lambda truth: float(np.quantile(size(truth * direction + errors), q)), observed, high)

    # far enough above what was observed that errors cannot bring it down again
    most = observed + 2 * float(size(errors).max()) + _TINY
    upper = max(crossing(direction, tail, most) for direction in directions)
    if float(np.quantile(size(errors), 1 - tail)) >= observed:
        return 0.0, max(upper, observed)
    return min(crossing(direction, 1 - tail, observed) for direction in directions), max(upper, observed)


def _crossing(rising: Callable[[float], float], level: float, high: float) -> float:
    """Where a function that rises from 0 reaches a level, by halving."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return high


def simultaneous_bounds(rates: np.ndarray, errors: np.ndarray, confidence: float) -> tuple[float, float]:
    """The interval of the largest difference between any two rates of one row, over all rows.

    Intervals of all signed differences hold at once: the furthest error of any of them, in standard errors, is what the
    resamples say. Where they hold, the largest difference lies between their largest ends, and a difference whose
    interval reaches over 0 may be none. Of two rates it is the ordinary interval, with its sign forgotten.

    Args:
        rates: (Q, G), NaN where a group has none.
        errors: Their errors in resamples (B, Q, G).
        confidence: Of the interval.

    References: Hochberg and Tamhane, "Multiple comparison procedures" (1987), for simultaneous differences.
    """
    differences, spreads, furthest = [], [], np.zeros(len(errors))
    for first, second in itertools.combinations(range(rates.shape[1]), 2):
        both = ~np.isnan(rates[:, first] - rates[:, second])
        if not both.any():
            continue
        error = errors[:, both, first] - errors[:, both, second]
        spread = np.maximum(error.std(axis=0), _TINY)
        furthest = np.maximum(furthest, (np.abs(error) / spread).max(axis=1))
        differences.append(np.abs(rates[both, first] - rates[both, second]))
        spreads.append(spread)
    reach = _reach(furthest, confidence)
    size, spread = np.concatenate(differences), np.concatenate(spreads)
    return max(float((size - reach * spread).max()), 0.0), float((size + reach * spread).max())


def _reach(furthest: np.ndarray, confidence: float) -> float:
    """How many standard errors intervals must reach to hold at once, from the furthest error of each resample (B,)."""
    # never less than the normal quantile: that of few resamples may be
    return max(float(np.quantile(furthest, confidence)), NormalDist().inv_cdf((1 + confidence) / 2))


def lowest_gap_bounds(rates: np.ndarray, errors: np.ndarray, index: int, confidence: float) -> tuple[float, float]:
    """The interval of one rate less the highest of all, at most 0, itself among them.

    Intervals of its differences to all others hold at once (see `simultaneous_bounds`): where they hold, the lowest
    difference lies between their lowest ends. Which rate is the highest need not be known.

    Args:
        rates: (G,), two at least.
        errors: Their errors in resamples (B, G).
        index: Whose difference.
        confidence: Of the interval.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(1000, 2)) / 100
        >>> lower, upper = lowest_gap_bounds(np.array([0.1, 0.2]), noise, 0, 0.95)
        >>> round(lower, 2), round(upper, 2)
        (-0.13, -0.07)
    """
    others = np.arange(len(rates)) != index
    error = errors[:, [index]] - errors[:, others]
    spread = np.maximum(error.std(axis=0), _TINY)
    reach = _reach((np.abs(error) / spread).max(axis=1), confidence)
    gaps = rates[index] - rates[others]
    # its difference to itself is exactly 0
    return min(float((gaps - reach * spread).min()), 0.0), min(float((gaps + reach * spread).min()), 0.0)


def with_floor(errors: np.ndarray, least_variance: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Errors (B, …) whose variance is at least so much (…): resamples of a group without a single hit do not vary.

    What lacks is added as normal noise. `least_variance` is that of shares with one hit and one miss added, which keeps
    an interval honest in small groups.

    References: Agresti and Caffo, "Simple and effective confidence intervals for proportions" (2000).
    """
    centred = np.nan_to_num(errors)
    lacking = np.sqrt(np.maximum(np.nan_to_num(least_variance) - centred.var(axis=0), 0.0))
    return centred + lacking * generator.standard_normal(centred.shape)


def paired_bounds(
    before: tuple[float, float, float], after: tuple[float, float, float], correlation: float
) -> tuple[float, float]:
    """The interval of after less before from each one's (estimate, lower, upper), and how their errors correlate.

    Each side's own bounds are recovered, so that what is honest at 0 stays so, and errors that both share cancel.

    References: Zou and Donner, "Construction of confidence limits about effect measures: a general approach" (2008).

    Example:
        >>> lower, upper = paired_bounds((0.3, 0.2, 0.4), (0.1, 0.0, 0.2), 0.0)
        >>> round(lower, 3), round(upper, 3)
        (-0.341, -0.059)
    """
    (b, b_low, b_high), (a, a_low, a_high) = before, after
    down, up = (a - a_low, b_high - b), (a_high - a, b - b_low)

    def reach(own: float, other: float) -> float:
        return float(np.sqrt(max(own**2 + other**2 - 2 * correlation * own * other, 0.0)))

    return a - b - reach(*down), a - b + reach(*up)
