"""Cross-fitted estimates of information: every row is scored by something that was fitted, and chosen, without it.

Each estimator says what every row contributes (n,): the mean is its estimate and the spread its standard error, and two
estimators on the same rows can be compared or subtracted row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["CHOSEN", "CrossFitted", "Estimate", "FoldResult", "combine", "difference", "summarise"]

CHOSEN = "chosen_per_fold"
"""Name of the headline where folds chose differently: each fold's rows by what its own fitting part chose."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One estimator's figure in nats, with its interval; a bound from below, or none."""

    nats: float
    lower: float
    upper: float
    direction: str


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One fold: contributions of its scored rows by estimator, and what each reached inside the fitting part.

    Args:
        rows: The scored rows.
        terms: By name, (len(rows),) in nats.
        selection: By name, nats; an estimator without an entry is never the headline.
    """

    rows: np.ndarray
    terms: Mapping[str, np.ndarray]
    selection: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """All estimators over all rows: contributions (n,) by name, and the headline's name.

    `selection` holds the mean over folds of what each estimator reached inside the fitting parts.
    """

    terms: Mapping[str, np.ndarray]
    selection: Mapping[str, float]
    headline: str


def combine(folds: Sequence[FoldResult], n: int, *, margin_nats: float) -> CrossFitted:
    """Put folds together; each fold's headline is chosen by its own fitting part.

    Args:
        folds: Together they score every row once.
        n: Number of rows.
        margin_nats: An estimator takes the place of one that stands before it only by a gain above this.

    Returns:
        The estimators, with a further one named CHOSEN where folds disagree on the headline.
    """
    names = list(folds[0].terms)
    terms = {name: np.empty(n) for name in names}
    stitched = np.empty(n)
    chosen = []
    for fold in folds:
        best = _choose(names, fold.selection, margin_nats)
        chosen.append(best)
        for name in names:
            terms[name][fold.rows] = fold.terms[name]
        stitched[fold.rows] = fold.terms[best]
    selection = {name: float(np.mean([fold.selection[name] for fold in folds])) for name in folds[0].selection}
    headline = chosen[0]
    if len(set(chosen)) > 1:
        headline = CHOSEN
        terms[CHOSEN] = stitched
    return CrossFitted(terms=terms, selection=selection, headline=headline)


def _choose(names: Sequence[str], selection: Mapping[str, float], margin_nats: float) -> str:
    candidates = [name for name in names if name in selection] or list(names)
    best = candidates[0]
    for name in candidates[1:]:
        if selection.get(name, 0.0) > selection.get(best, 0.0) + margin_nats:
            best = name
    return best


def difference(whole: CrossFitted, part: CrossFitted) -> CrossFitted:
    """Row by row, whole less part: I(z; c | y) = I(z, y; c) − I(y; c). Each name against the part's headline."""
    base = part.terms[part.headline]
    return CrossFitted(
        terms={name: values - base for name, values in whole.terms.items()},
        selection={name: value - part.selection.get(part.headline, 0.0) for name, value in whole.selection.items()},
        headline=whole.headline,
    )


def summarise(fitted: CrossFitted, directions: Mapping[str, str], *, confidence: float) -> dict[str, Estimate]:
    """Means with normal intervals, by name.

    Args:
        fitted: The contributions.
        directions: `lower` where an estimator is a bound from below; `none` is taken for the others.
        confidence: Of the intervals.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    found = {}
    for name, terms in fitted.terms.items():
        nats, half = float(terms.mean()), z * float(terms.std(ddof=1)) / float(np.sqrt(len(terms)))
        found[name] = Estimate(nats=nats, lower=nats - half, upper=nats + half, direction=directions.get(name, "none"))
    return found
