"""Information between columns z and c, given y or not, by every estimator that suits c; rows are scored unseen.

Classes c go to the audit's probes. Numbers c go to the Gaussian ratio and the pair critic on normal scores and, where c
is one column, to the audit's regressors; nearest neighbours stand beside them where columns are few. The headline is
chosen fold by fold inside the fitting part; nearest neighbours, no bound and not to be checked on held-out rows, are
never it unless they are alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.estimate.cross_fit import CrossFitted, Estimate, FoldResult, combine, difference, summarise
from mibias_cli.estimate.folds import PAIR_ESTIMATORS, ksg_by_stratum, score_pair_fold, score_probe_fold
from mibias_cli.evaluation.probes.families import HEAD, PROBES, REGRESSORS
from mibias_cli.evaluation.statistics.information import label_entropy_bits
from mibias_cli.evaluation.statistics.partition import Fold, cross_folds
from mibias_cli.progress import Progress

__all__ = ["Columns", "Information", "estimate_information"]

SUITED = {"classes": tuple(name for name in PROBES if name != HEAD), "numbers": (*PAIR_ESTIMATORS, *REGRESSORS, "ksg")}
"""Estimators by what c is."""
MIN_ROWS = 40
MAX_FIT_ROWS = 20_000
N_FOLDS = 4
MANY_ROWS = 40_000  # two folds are enough beyond it
KSG_COLUMNS = 6  # z and c together; beyond it neighbours are slow, and blind
MARGIN = 0.3  # over √n, in nats: by so much an estimator must gain inside the fitting part over a simpler one
LN2 = float(np.log(2))


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What I(z; c), or I(z; c | given), is estimated from.

    Args:
        z: Numbers (n, d).
        c: Classes (n,) as integers from 0, or numbers (n, k) float.
        given: None, classes (n,) as integers from 0, or numbers (n, 1) float.
    """

    z: np.ndarray
    c: np.ndarray
    given: np.ndarray | None = None

    @property
    def discrete(self) -> bool:
        """Whether c are classes."""
        return bool(np.issubdtype(self.c.dtype, np.integer))


@dataclass(frozen=True, kw_only=True)
class Information:
    """The answer: estimates by name, the headline's name, H(c) of classes, and what selection saw, in nats."""

    estimates: Mapping[str, Estimate]
    headline: str
    entropy_nats: float | None
    selection_nats: Mapping[str, float]
    n_folds: int


def estimate_information(
    columns: Columns,
    *,
    estimators: Sequence[str] | None = None,
    seed: int,
    confidence: float = 0.95,
    progress: Progress,
) -> Information:
    """Estimate I(z; c) or I(z; c | given) in nats.

    Estimators are those of these names, or all that suit c.

    Raises:
        EvaluationError: Too few rows, a c that does not vary, unknown or unsuitable estimators.
    """
    _check(columns)
    names = _suited(columns) if estimators is None else _asked(columns, estimators)
    chain = columns.given is not None and not np.issubdtype(columns.given.dtype, np.integer)
    n_folds = N_FOLDS if len(columns.z) <= MANY_ROWS else 2
    progress.stage("estimating")
    progress.begin("folds", n_folds * (2 if chain else 1))
    done = itertools.count(1)

    def cross_fit(z: np.ndarray, given: np.ndarray | None) -> CrossFitted:
        asked = replace(columns, z=z, given=given)
        return _cross_fit(asked, names, n_folds, seed, lambda: progress.advance(next(done)))

    # many small fits, and results that do not vary with the machine
    with threadpool_limits(limits=1):
        if chain and columns.given is not None:
            # numbers cannot be strata: by the chain rule I(z; c | y) = I(z, y; c) − I(y; c), which as a difference of
            # two lower bounds is no bound
            both = cross_fit(np.concatenate([columns.z, columns.given], axis=1), None)
            fitted = difference(both, cross_fit(columns.given, None))
        else:
            fitted = cross_fit(columns.z, columns.given)
    progress.end()
    directions = {name: "none" if chain or name == "ksg" else "lower" for name in fitted.terms}
    return Information(
        estimates=summarise(fitted, directions, confidence=confidence), headline=fitted.headline,
        entropy_nats=label_entropy_bits(columns.c, 0) * LN2 if columns.discrete else None,
        selection_nats=fitted.selection, n_folds=n_folds,
    )  # fmt: skip


def _check(columns: Columns) -> None:
    n = len(columns.z)
    if n < MIN_ROWS:
        raise EvaluationError(f"{n} rows are too few to estimate information from, {MIN_ROWS} are needed")
    if not np.isfinite(columns.z).all():
        raise EvaluationError("z holds values that are NaN or infinite; leave those rows or columns out")
    if (columns.c == columns.c[0]).all():
        raise EvaluationError("c holds one value only, so there is nothing to be informed of; choose another column")


def _suited(columns: Columns) -> tuple[str, ...]:
    """All estimators that suit c."""
    if columns.discrete:
        return SUITED["classes"]
    n_columns = columns.c.shape[1]
    left_out = {"ksg"} if columns.z.shape[1] + n_columns > KSG_COLUMNS else set()
    # a regressor predicts one column
    left_out |= set(REGRESSORS) if n_columns > 1 else set()
    return tuple(name for name in SUITED["numbers"] if name not in left_out)


def _asked(columns: Columns, names: Sequence[str]) -> tuple[str, ...]:
    """These estimators, in the order in which headlines are chosen: simple ones first."""
    kind, other = ("classes", "numbers") if columns.discrete else ("numbers", "classes")
    suited, everything = SUITED[kind], [*SUITED["classes"], *SUITED["numbers"]]
    there_are = f"of {kind} there are {', '.join(suited)}"
    for name in names:
        if name not in everything:
            raise EvaluationError(f"estimator '{name}': unknown{did_you_mean(name, everything)}; {there_are}")
        if name not in suited:
            raise EvaluationError(
                f"estimator '{name}': is for {other}, and c was taken for {kind}; {there_are} (or say --kind)"
            )
        if name in REGRESSORS and columns.c.shape[1] > 1:
            raise EvaluationError(f"estimator '{name}': predicts one column, c has {columns.c.shape[1]}")
    return tuple(name for name in suited if name in names)


def _cross_fit(
    columns: Columns, names: Sequence[str], n_folds: int, seed: int, advance: Callable[[], None]
) -> CrossFitted:
    n = len(columns.z)
    # folds alike in the classes of c and of what is given; numbers are not stratified by
    stratum = np.zeros(n, dtype=np.int64) if columns.given is None else columns.given
    labels = columns.c if columns.discrete else np.zeros(n, dtype=np.int64)
    generator = np.random.default_rng([seed, 61])
    folds = []
    for k, (fit, score) in enumerate(
        cross_folds(np.stack([labels, stratum], axis=1), n_folds, group=None, generator=generator)
    ):
        if len(fit) > MAX_FIT_ROWS:
            fit = np.sort(np.random.default_rng([seed, 62, k]).permutation(fit)[:MAX_FIT_ROWS])
        folds.append(_score_fold(columns, stratum, names, (fit, score), seed))
        advance()
    if "ksg" in names:
        # neighbours are not fitted: no row needs to be held out from them, and the more rows the better
        terms = ksg_by_stratum(columns.z, columns.c, stratum, seed=seed)
        folds = [replace(fold, terms={**fold.terms, "ksg": terms[fold.rows]}) for fold in folds]
    return combine(folds, margin_nats=MARGIN / np.sqrt(n))


def _score_fold(columns: Columns, stratum: np.ndarray, names: Sequence[str], fold: Fold, seed: int) -> FoldResult:
    z, c, given = columns.z, columns.c, columns.given
    if columns.discrete:
        return score_probe_fold(z, c, given, fold, names=names, seed=seed)
    pairs = [name for name in names if name in PAIR_ESTIMATORS]
    regressors = [name for name in names if name in REGRESSORS]
    found = score_pair_fold(z, c, stratum, fold, names=pairs, seed=seed)
    if not regressors:
        return found
    # there are no classes of c to stratify by: all rows are of one
    more = score_probe_fold(z, np.zeros_like(stratum), given, fold, values=c[:, 0], names=regressors, seed=seed)
    return replace(found, terms={**found.terms, **more.terms}, selection={**found.selection, **more.selection})
