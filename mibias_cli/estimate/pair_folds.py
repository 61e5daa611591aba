"""Estimators of information between columns of numbers, fold by fold: Gaussian ratio, pair critic, neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.estimate.copula import NormalScores, fit_gaussian_ratio
from mibias_cli.estimate.cross_fit import FoldResult
from mibias_cli.estimate.ksg import ksg_terms
from mibias_cli.estimate.pair_bound import donsker_varadhan_terms
from mibias_cli.estimate.pair_critic import Pairs, fit_pair_critic
from mibias_cli.evaluation.statistics.partition import assign_parts

__all__ = ["PAIR_ESTIMATORS", "ksg_by_stratum", "score_pair_fold"]

PAIR_ESTIMATORS = ("gaussian", "critic")
MIN_STRATUM = 50
"""A stratum with fewer fitting rows takes the ranks of all rows."""


def score_pair_fold(
    z: np.ndarray,
    c: np.ndarray,
    stratum: np.ndarray,
    fit: np.ndarray,
    score: np.ndarray,
    *,
    names: Sequence[str],
    seed: int,
) -> FoldResult:
    """Fit on one part, score the other.

    Args:
        z, c: Numbers (n, d) and (n, k).
        stratum: Integers (n,): information is that within strata.
        fit, score: Rows of the two parts.
        names: Of PAIR_ESTIMATORS.
        seed: Of everything random.
    """
    fitted, scored = _normal_pairs(z, c, stratum, fit, score)
    generator = np.random.default_rng([seed, 51])
    held = assign_parts(fitted.stratum[:, None], (7 / 8, 1 / 8), group=None, generator=generator) == 1
    terms: dict[str, np.ndarray] = {}
    selection: dict[str, float] = {}
    if "gaussian" in names:
        ratio = fit_gaussian_ratio(fitted.u, fitted.v)
        terms["gaussian"] = donsker_varadhan_terms(ratio.scorer(scored.u, scored.v), scored.stratum, seed=seed)
        inner, checked = fitted.take(np.flatnonzero(~held)), fitted.take(np.flatnonzero(held))
        part = fit_gaussian_ratio(inner.u, inner.v)
        found = donsker_varadhan_terms(part.scorer(checked.u, checked.v), checked.stratum, seed=seed)
        selection["gaussian"] = float(found.mean())
    if "critic" in names:
        critic = fit_pair_critic(
            fitted, n_strata=int(stratum.max()) + 1, train=np.flatnonzero(~held), held=np.flatnonzero(held), seed=seed
        )
        terms["critic"] = donsker_varadhan_terms(critic.scorer(scored), scored.stratum, seed=seed)
        selection["critic"] = critic.selection_nats
    return FoldResult(rows=score, terms=terms, selection=selection)


def _normal_pairs(
    z: np.ndarray, c: np.ndarray, stratum: np.ndarray, fit: np.ndarray, score: np.ndarray
) -> tuple[Pairs, Pairs]:
    """Both parts as normal scores by the fitting part's ranks, within strata where these are large enough."""
    sides = []
    for x in (z, c):
        pooled = NormalScores(x[fit])
        parts = pooled(x[fit]), pooled(x[score])
        values = np.unique(stratum[fit])
        for value in values if len(values) > 1 else ():
            rows = fit[stratum[fit] == value]
            if len(rows) >= MIN_STRATUM:
                own = NormalScores(x[rows])
                for part, where in zip(parts, (fit, score), strict=True):
                    inside = stratum[where] == value
                    part[inside] = own(x[where[inside]])
        sides.append(parts)
    (u_fit, u_score), (v_fit, v_score) = sides
    return (
        Pairs(u=u_fit, v=v_fit, stratum=stratum[fit]),
        Pairs(u=u_score, v=v_score, stratum=stratum[score]),
    )


def ksg_by_stratum(z: np.ndarray, c: np.ndarray, stratum: np.ndarray, *, seed: int) -> np.ndarray:
    """Nearest-neighbour contributions (n,) within strata; one of fewer than five rows contributes 0."""
    terms = np.zeros(len(z))
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        if len(rows) >= 5:
            u, v = (NormalScores(x[rows])(x[rows]) for x in (z, c))
            terms[rows] = ksg_terms(u, v, seed=seed)
    return terms
