"""The audit's probes and regressors as estimators of information, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.estimate.cross_fit import FoldResult
from mibias_cli.evaluation.leakage.channel import make_channel_task
from mibias_cli.evaluation.leakage.scoring import score_probe
from mibias_cli.evaluation.probes.families import REGRESSORS
from mibias_cli.evaluation.statistics.partition import Fold, inner_folds

__all__ = ["score_probe_fold"]

LN2 = float(np.log(2))


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
    """Fit on one part, score the other.

    Args:
        z: Features (n, d).
        c: Classes (n,), or the bins of `values`.
        y: Given classes (n,), or None.
        fold: Rows of the two parts.
        values: Numbers (n,) for regressors, else None.
        names: Probe families, or regressors where there are `values`.
        seed: Of everything random.
    """
    fit, score = fold
    strata = np.zeros(len(c), dtype=np.int64) if y is None else y
    folds = inner_folds(np.stack([c[fit], strata[fit]], axis=1), group=None, seed=seed)
    n_classes = int(c.max()) + 1
    task = make_channel_task(
        "c", c, strata, fit, score, folds, n_classes=n_classes, n_y=int(strata.max()) + 1, values=values, seed=seed
    )
    side = task.marginal if y is None else task.conditional
    share = np.bincount(c, minlength=n_classes) / len(c)
    terms, selection = {}, {}
    for name in names:
        scored = score_probe(name, task, side, z[fit], z[score], seed)
        gains = scored.score.gains() * LN2
        if name in REGRESSORS:
            gains = gains - scored.price_bits * LN2
        elif y is None:
            # against the shares of all rows: the mean over all folds is then H(c) less the cross-entropy
            gains = gains + side.baseline_score[np.arange(len(score)), c[score]] - np.log(share[c[score]])
        terms[name] = gains
        selection[name] = scored.findings.selection_bits * LN2
    return FoldResult(rows=score, terms=terms, selection=selection)
