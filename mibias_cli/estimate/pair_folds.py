"""Estimators of information between columns of numbers, fold by fold: Gaussian ratio, pair critic, neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.estimate.copula import NormalScores, fit_gaussian_ratio
from mibias_cli.estimate.cross_fit import FoldResult
from mibias_cli.estimate.ksg import ksg_terms
from mibias_cli.estimate.pair_critic import PairCritic, Pairs, fit_pair_critic
from mibias_cli.evaluation.statistics.normal_scores import scored_by_stratum
from mibias_cli.evaluation.statistics.partition import Fold, two_parts

__all__ = ["PAIR_ESTIMATORS", "ksg_by_stratum", "score_pair_fold"]

PAIR_ESTIMATORS = ("gaussian", "critic")
MIN_STRATUM = 50
"""A stratum with fewer fitting rows takes the ranks of all rows."""


def score_pair_fold(
    z: np.ndarray, c: np.ndarray, stratum: np.ndarray, fold: Fold, *, names: Sequence[str], seed: int
) -> FoldResult:
    """Fit on one part, score the other.

    Args:
        z, c: Numbers (n, d) and (n, k).
        stratum: Integers (n,): information is that within strata.
        fold: Rows of the two parts.
        names: Of PAIR_ESTIMATORS.
        seed: Of everything random.
    """
    fit, score = fold
    # monotone maps of single columns change no information; ranks are the fitting part's alone
    (u_fit, u_score), (v_fit, v_score) = (
        scored_by_stratum(_placed, x[fit], x[score], stratum[fit], stratum[score], least=MIN_STRATUM) for x in (z, c)
    )
    fitted = Pairs(u=u_fit, v=v_fit, stratum=stratum[fit])
    scored = Pairs(u=u_score, v=v_score, stratum=stratum[score])
    generator = np.random.default_rng([seed, 51])
    train, held = two_parts(fitted.stratum[:, None], (7 / 8, 1 / 8), group=None, generator=generator)
    n_strata = int(stratum.max()) + 1
    terms: dict[str, np.ndarray] = {}
    selection: dict[str, float] = {}

    def gaussian(rows: Pairs) -> PairCritic:
        return PairCritic(base=fit_gaussian_ratio(rows.u, rows.v), n_strata=n_strata)

    if "gaussian" in names:
        terms["gaussian"] = gaussian(fitted).terms(scored, seed=seed)
        selection["gaussian"] = float(gaussian(fitted.take(train)).terms(fitted.take(held), seed=seed).mean())
    if "critic" in names:
        critic = fit_pair_critic(fitted, n_strata=n_strata, train=train, held=held, seed=seed)
        terms["critic"] = critic.terms(scored, seed=seed)
        selection["critic"] = critic.selection_nats
    return FoldResult(rows=score, terms=terms, selection=selection)


def _placed(sample: np.ndarray, further: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = NormalScores(sample)
    return scores(sample), scores(further)


def ksg_by_stratum(z: np.ndarray, c: np.ndarray, stratum: np.ndarray, *, seed: int) -> np.ndarray:
    """Nearest-neighbour contributions (n,) within strata; one of fewer than five rows contributes 0."""
    terms = np.zeros(len(z))
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        if len(rows) >= 5:
            u, v = (NormalScores(x[rows])(x[rows]) for x in (z, c))
            terms[rows] = ksg_terms(u, v, seed=seed)
    return terms
