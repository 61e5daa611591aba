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
        terms: By name, (len(rows),) in nats.
        selection: By name, nats; an estimator without an entry is never the headline unless none has one.
    """

    rows: np.ndarray
    terms: Mapping[str, np.ndarray]
    selection: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """All estimators over all rows: contributions (n,) and mean selection over folds by name; the headline's name."""

    terms: Mapping[str, np.ndarray]
    selection: Mapping[str, float]
    headline: str


def combine(folds: Sequence[FoldResult], *, margin_nats: float) -> CrossFitted:
    """Put folds together; each fold's headline is chosen by its own fitting part.

    Together they score every row once. An estimator takes the place of one that stands before it only by a gain above
    `margin_nats`. Where folds disagree on the headline, there is a further estimator named CHOSEN.
    """
    order = np.argsort(np.concatenate([fold.rows for fold in folds]))

    def stitched(names: Sequence[str]) -> np.ndarray:
        return np.concatenate([fold.terms[name] for fold, name in zip(folds, names, strict=True)])[order]

    # chosen inside the fitting part: the best on the scored rows themselves would be a winner's curse
    chosen = [_choose(fold, margin_nats) for fold in folds]
    terms = {name: stitched([name] * len(folds)) for name in folds[0].terms}
    selection = {name: float(np.mean([fold.selection[name] for fold in folds])) for name in folds[0].selection}
    if len(set(chosen)) == 1:
        return CrossFitted(terms=terms, selection=selection, headline=chosen[0])
    return CrossFitted(terms={**terms, CHOSEN: stitched(chosen)}, selection=selection, headline=CHOSEN)


def _choose(fold: FoldResult, margin_nats: float) -> str:
    best, *others = [name for name in fold.terms if name in fold.selection] or fold.terms
    for name in others:
        if fold.selection.get(name, 0.0) > fold.selection.get(best, 0.0) + margin_nats:
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
    """Each estimator's mean and its normal interval; `directions` says by name what bound it is."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    found = {}
    for name, terms in fitted.terms.items():
        nats, half = float(terms.mean()), z * float(terms.std(ddof=1)) / float(np.sqrt(len(terms)))
        found[name] = Estimate(nats=nats, lower=nats - half, upper=nats + half, direction=directions.get(name, "none"))
    return found
