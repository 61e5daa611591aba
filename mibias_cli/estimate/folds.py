"""Estimators of information, fold by fold: what is fitted on one part says what the rows of the other contribute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.estimate.copula import NormalScores, fit_gaussian_ratio
from mibias_cli.estimate.cross_fit import FoldResult
from mibias_cli.estimate.ksg import ksg_terms
from mibias_cli.estimate.pair_critic import PairCritic, Pairs, fit_pair_critic
from mibias_cli.evaluation.leakage.channel import make_channel_task
from mibias_cli.evaluation.leakage.rare import pool_rare
from mibias_cli.evaluation.leakage.scoring import score_probe
from mibias_cli.evaluation.probes.families import REGRESSORS, make_sight
from mibias_cli.evaluation.statistics.normal_scores import scored_by_stratum
from mibias_cli.evaluation.statistics.partition import Fold, inner_folds, two_parts

__all__ = ["PAIR_ESTIMATORS", "ksg_by_stratum", "score_pair_fold", "score_probe_fold"]

PAIR_ESTIMATORS = ("gaussian", "critic")
MIN_STRATUM = 50
"""A stratum with fewer fitting rows takes the ranks of all rows."""
LN2 = float(np.log(2))


def score_pair_fold(
    z: np.ndarray, c: np.ndarray, stratum: np.ndarray, fold: Fold, *, names: Sequence[str], seed: int
) -> FoldResult:
    """The Gaussian ratio and the pair critic: fit on one part, score the other.

    Of numbers z (n, d) and c (n, k): information is that within strata (n,). `names` are of PAIR_ESTIMATORS.
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


def score_probe_fold(
    z: np.ndarray,
    c: np.ndarray,
    y: np.ndarray | None,
    fold: Fold,
    *,
    values: np.ndarray | None = None,
    names: Sequence[str],
    seed: int,
) -> FoldResult:
    """The audit's probes of classes, or its regressors: fit on one part, score the other.

    `y` (n,) are given classes, or None. With numbers `values` (n,) the names are those of regressors, and c (n,) are
    the bins of these numbers.
    """
    fit, score = fold
    if values is None:
        c = pool_rare(c, np.ones(len(c), dtype=bool))
    strata = np.zeros(len(c), dtype=np.int64) if y is None else y
    folds = inner_folds(np.stack([c[fit], strata[fit]], axis=1), group=None, seed=seed)
    n_classes = int(c.max()) + 1
    task = make_channel_task(
        "c", c, strata, fit, score, folds, n_classes=n_classes, n_y=int(strata.max()) + 1, values=values, seed=seed
    )
    question = task.marginal if y is None else task.conditional
    share = np.bincount(c, minlength=n_classes) / len(c)
    terms, selection = {}, {}
    sight = make_sight(z[fit], names, seed=seed)
    seen = sight.scaling.see(z[score])
    for name in names:
        scored = score_probe(name, task, question, sight, seen, seed)
        gains = scored.gains * LN2
        if name in REGRESSORS:
            gains = gains - scored.price_bits * LN2
        elif y is None:
            # against the shares of all rows: the mean over all folds is then H(c) less the cross-entropy
            gains = gains + question.baseline_score[np.arange(len(score)), c[score]] - np.log(share[c[score]])
        terms[name] = gains
        selection[name] = scored.findings.selection_bits * LN2
    return FoldResult(rows=score, terms=terms, selection=selection)
