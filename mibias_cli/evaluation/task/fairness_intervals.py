"""Intervals of fairness figures, by sample or by group, and of their change from one side to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.leakage_findings import Bounds, Interval
from mibias_cli.evaluation.statistics.inversion import paired_bounds, simultaneous_bounds, with_floor
from mibias_cli.evaluation.statistics.resampling import CHANGE
from mibias_cli.evaluation.task.fairness import FINDINGS, Amplified, Question
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import FairnessChange, FairnessFindings

__all__ = ["Judged", "fairness_change", "judge", "selection_logarithms"]

_KINDS: Mapping[str, tuple[str, ...]] = {
    "demographic_parity": ("selection",),
    "equal_opportunity": ("opportunity",),
    "equalized_odds": ("opportunity", "alarm"),
}
"""Which rates of the groups a figure compares."""
_SEED = 17


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Fairness figures of one side with their intervals, and the figures of its resamples by name, each (B,)."""

    findings: FairnessFindings
    draws: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Rates:
    """Shares by question and group: hits of n (Q, G), n 0 where there is no such group; and in resamples (B, Q, G)."""

    hits: np.ndarray
    n: np.ndarray
    drawn_hits: np.ndarray
    drawn_n: np.ndarray


def judge(
    findings: FairnessFindings, questions: Sequence[Question], amplified: Sequence[Amplified], terms: Terms
) -> Judged:
    """Point figures with their intervals, from the questions and leanings that they are the worst of.

    Differences and ratios have simultaneous intervals (see `simultaneous_bounds`; of ratios, of their logarithms), bias
    amplification, which may be on either side of 0, has the bootstrap's.
    """
    if not questions:
        return Judged(findings=findings, draws={})
    rates = _rates(questions, terms)
    found: dict[str, tuple[float, float]] = {}
    draws: dict[str, np.ndarray] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for figure, kinds in _KINDS.items():
            asked = [rates[kind] for kind in kinds]
            values, errors = _joined(asked, _shares)
            name = f"{figure}_difference"
            if getattr(findings, name) is not None:
                low, high = simultaneous_bounds(values, errors, terms.confidence)
                # in groups of a few the errors alone would reach beyond what shares can differ by
                found[name] = low, min(high, 1.0)
                draws[name] = _largest(values + errors)
            values, errors = _joined(asked, _logarithms)
            name = f"{figure}_ratio"
            if getattr(findings, name) is not None:
                low, high = simultaneous_bounds(values, errors, terms.confidence)
                found[name] = float(np.exp(-high)), float(np.exp(-low))
                draws[name] = np.exp(-_largest(values + errors))
    if findings.bias_amplification is not None:
        name = "bias_amplification"
        draws[name] = np.max([_amplification_draws(each, terms) for each in amplified], axis=0)
        interval = terms.interval(findings.bias_amplification, draws[name], CHANGE)
        found[name] = interval.lower, interval.upper
    return Judged(findings=_with_bounds(findings, found), draws=draws)


def selection_logarithms(question: Question, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the groups' selection rates (1, G), and their errors in the resamples (B, 1, G)."""
    return _joined([_rates([question], terms)["selection"]], _logarithms)


def _with_bounds(findings: FairnessFindings, found: Mapping[str, tuple[float, float]]) -> FairnessFindings:
    """The findings with these intervals, each of which holds its figure."""
    bounds = {}
    for name, (lower, upper) in found.items():
        # a ratio of 0 has no logarithm, and its interval is of shares with half a hit added
        value = float(getattr(findings, name))
        bounds[f"{name}_interval"] = Bounds(lower=min(lower, value), upper=max(upper, value))
    return findings.model_copy(update=bounds)


def _rates(questions: Sequence[Question], terms: Terms) -> dict[str, _Rates]:
    """Every question's rates in every group, observed and in the resamples."""
    n_groups = max(question.n_groups for question in questions)
    counts = np.zeros((4, len(questions), n_groups))
    drawn = np.zeros((4, terms.resamples.n_resamples, len(questions), n_groups))
    for q, question in enumerate(questions):
        inside = question.member[:, None] == np.arange(question.n_groups)
        chosen, true = question.chosen[:, None], question.true[:, None]
        # all rates are ratios of these four
        parts = [inside, inside & chosen, inside & true, inside & true & chosen]
        means = terms.resamples.means(np.concatenate(parts, axis=1).astype(np.float64)) * len(question.member)
        for k, part in enumerate(parts):
            counts[k, q, : question.n_groups] = part.sum(axis=0)
            drawn[k, :, q, : question.n_groups] = means[:, k * question.n_groups : (k + 1) * question.n_groups]

    def rates(hits: Callable[[np.ndarray], np.ndarray], n: Callable[[np.ndarray], np.ndarray]) -> _Rates:
        return _Rates(hits=hits(counts), n=n(counts), drawn_hits=hits(drawn), drawn_n=n(drawn))

    return {
        "selection": rates(lambda x: x[1], lambda x: x[0]),
        "opportunity": rates(lambda x: x[3], lambda x: x[2]),
        "alarm": rates(lambda x: x[1] - x[3], lambda x: x[0] - x[2]),
    }


Values = Callable[[_Rates], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""From rates to values (Q, G), NaN where there are none, values in resamples (B, Q, G), and least variances (Q, G)."""


def _shares(rates: _Rates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    smoothed = (rates.hits + 1) / (rates.n + 2)
    return rates.hits / rates.n, rates.drawn_hits / rates.drawn_n, smoothed * (1 - smoothed) / rates.n


def _logarithms(rates: _Rates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half a hit is added to each: the logarithm of none is no number."""
    there = np.where(rates.n > 0, 0.0, np.nan)
    smoothed = (rates.hits + 1) / (rates.n + 2)
    observed = np.log((rates.hits + 0.5) / (rates.n + 0.5)) + there
    return observed, np.log((rates.drawn_hits + 0.5) / (rates.drawn_n + 0.5)), (1 - smoothed) / (smoothed * rates.n)


def _joined(asked: Sequence[_Rates], values: Values) -> tuple[np.ndarray, np.ndarray]:
    """Values (Q, G) and errors (B, Q, G) of several kinds of rate, one behind the other."""
    observed, drawn, least = zip(*map(values, asked), strict=True)
    together = np.concatenate(observed)
    errors = np.concatenate(drawn, axis=1) - together
    # the same noise for whatever is compared, so that two sides stay paired
    generator = np.random.default_rng(_SEED)
    return together, with_floor(errors, np.where(np.isnan(together), 0.0, np.concatenate(least)), generator)


def _largest(values: np.ndarray) -> np.ndarray:
    """The largest difference between groups of any question, in every resample (B, Q, G)."""
    there = ~np.isnan(values)
    spread = np.where(there, values, -np.inf).max(axis=2) - np.where(there, values, np.inf).min(axis=2)
    return np.asarray(np.where(there.sum(axis=2) > 1, spread, 0.0).max(axis=1))


def _amplification_draws(amplified: Amplified, terms: Terms) -> np.ndarray:
    """Bias amplification of one channel in every resample: the mean over groups of each group's mean shift."""
    inside = amplified.member[:, None] == np.arange(amplified.n_groups)
    parts = np.concatenate([inside, inside * amplified.shift[:, None]], axis=1).astype(np.float64)
    means = terms.resamples.means(parts)
    # a resample may lack a group
    sizes = np.where(means[:, : amplified.n_groups] > 0, means[:, : amplified.n_groups], np.nan)
    return np.asarray(np.nanmean(means[:, amplified.n_groups :] / sizes, axis=1))


def fairness_change(before: Judged, after: Judged) -> FairnessChange:
    """After less before of every figure that both have."""
    return FairnessChange(**dict(_changes(before, after)))


def _changes(before: Judged, after: Judged) -> Iterator[tuple[str, Interval]]:
    for name in FINDINGS:
        sides = [(judged, judged.findings.bounds(name)) for judged in (before, after)]
        given = [
            (float(getattr(judged.findings, name)), bounds.lower, bounds.upper)
            for judged, bounds in sides
            if bounds is not None
        ]
        if len(given) < 2:
            continue
        drawn = before.draws[name], after.draws[name]
        # a side whose figure never varies shares nothing with the other
        varies = min(float(np.nanstd(draws)) for draws in drawn) > 0
        correlation = float(np.corrcoef(*drawn)[0, 1]) if varies else 0.0
        lower, upper = paired_bounds(given[0], given[1], correlation)
        # bias amplification may be on either side of 0, the others are not
        least, most = (2 * end for end in CHANGE) if name == "bias_amplification" else CHANGE
        yield name, Interval(estimate=given[1][0] - given[0][0], lower=max(lower, least), upper=min(upper, most))
