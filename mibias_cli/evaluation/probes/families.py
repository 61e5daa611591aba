"""Fresh probes: models that try to read a bias attribute from features, calibrated before they are scored.

For any q, the mean of log q(c | z) − log p(c) over rows that q has not seen is, up to sampling error, at most I(z; c)
(Barber and Agakov, 2003): what a probe gains over the baseline is a lower bound on the leakage, in nats. Probes of
classes take class frequencies as p(c); probes of numbers predict normal scores, of which p(c) is N(0, 1).

How far a probe is trained and how far it is trusted is chosen on rows held out inside the fitting part, and so is the
headline probe: the best on the rows on which leakage is measured would be a winner's curse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.evaluation.probes import boosting, learners, network
from mibias_cli.evaluation.probes.calibration import Calibration, calibrate, calibrate_density
from mibias_cli.evaluation.probes.learners import Classifier, Learner
from mibias_cli.evaluation.probes.quadratic import Quadratic
from mibias_cli.evaluation.probes.scaling import Scaling, Seen, Sight
from mibias_cli.evaluation.statistics.partition import Fold

__all__ = [
    "HEAD", "PROBES", "REGRESSORS", "FittedProbe", "Tuned", "fit_probe", "fit_regressor", "get_probe", "make_sight",
    "screen",
]  # fmt: skip

HEAD = "head"
"""The probe that reads the scores of a trained head, where there is one."""
PROBES: dict[str, type[Classifier]] = {
    "logistic": learners.Logistic,
    "quadratic": Quadratic,
    "mlp": network.Mlp,
    "knn": learners.NearestNeighbours,
    "gradient_boosting": boosting.GradientBoosting,
    HEAD: learners.HeadScores,
}
"""Probes of classes by name."""
REGRESSORS: dict[str, type[Learner]] = {
    "ridge": learners.Ridge,
    "mlp_regressor": network.MlpRegression,
    "boosted_regressor": boosting.BoostedRegression,
}
"""Probes of numbers by name."""
WORTHWHILE_BITS = 0.001  # climbing goes on for gains above this

L = TypeVar("L", bound=Learner)


def get_probe(name: str) -> type[Classifier]:
    """The probe family of this name; EvaluationError where there is none."""
    if name not in PROBES:
        raise EvaluationError(
            f"probe '{name}': unknown{did_you_mean(name, PROBES)}; evaluation.probes takes {', '.join(PROBES)}"
        )
    return PROBES[name]


def make_sight(x: np.ndarray, families: Sequence[str], *, seed: int) -> Sight:
    """Features (n, d) of a fitting part, ready for these families of PROBES or REGRESSORS.

    Example:
        >>> sight = make_sight(np.random.default_rng(0).normal(size=(200, 50)), ("logistic", "knn"), seed=0)
        >>> sight.seen.components.shape  # neighbours are looked for among 32 columns
        (200, 32)
    """
    widest = [_any_family(name).max_columns(len(x)) for name in families]
    return Sight(x, n_components=max((k for k in widest if k < x.shape[1]), default=0), seed=seed)


def screen(sight: Sight, families: Sequence[str], c: np.ndarray, folds: Sequence[Fold]) -> None:
    """Find the single columns that these families will want beside components, before they are sent to processes."""
    d, n = sight.seen.z.shape[1], sight.scaling.n_rows
    if any(make.n_telling and d > make.max_columns(n) for make in map(_any_family, families)):
        for rows in (*(train for train, _ in folds), np.arange(len(c))):
            sight.telling(rows, c[rows], most=1)


def _any_family(name: str) -> type[Learner]:
    return REGRESSORS[name] if name in REGRESSORS else get_probe(name)


@dataclass(frozen=True, kw_only=True)
class Tuned(Generic[L]):
    """A learner of the whole fitting part at the chosen rung, with how it sees features and how far it is trusted.

    `setting` is the chosen rung in words.
    """

    learner: L
    setting: str
    calibration: Calibration
    scaling: Scaling
    columns: np.ndarray

    def seen(self, x: np.ndarray | Seen, extra: np.ndarray) -> np.ndarray:
        """Features (n, d) and given facts (n, e) as the learner sees them."""
        seen = x if isinstance(x, Seen) else self.scaling.see(x)
        return _beside(type(self.learner), self.scaling, seen, extra, self.columns)


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A calibrated probe of classes; without a tuned learner, all it says is the baseline.

    `setting` is the chosen rung in words, `selection_bits` the mean gain over the baseline on held-out rows.
    """

    tuned: Tuned[Classifier] | None
    n_classes: int
    setting: str
    selection_bits: float

    def predict(self, x: np.ndarray | Seen, extra: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Most likely class (n,) and calibrated log-probabilities (n, n_classes) in nats.

        Of features (n, d), or of what the scaling of the fitting part's `Sight` has made of them.
        The class is the learner's own: calibration plays no part in accuracy. The log-probabilities are finite for
        every class that `baseline` gives mass.
        """
        if self.tuned is None:
            return np.asarray(baseline.argmax(axis=1)), np.asarray(baseline)
        raw = _spread(self.tuned.learner, self.tuned.seen(x, extra), self.n_classes)
        return np.asarray(raw.argmax(axis=1)), self.tuned.calibration.log_probabilities(raw, baseline)


def fit_probe(
    family: str,
    sight: Sight,
    c: np.ndarray,
    *,
    n_classes: int,
    extra: np.ndarray,
    baseline: np.ndarray,
    folds: Sequence[Fold],
    seed: int,
) -> FittedProbe:
    """Fit one family of PROBES on the fitting part, tuned on rows held out within it.

    Args:
        family: Its name; EvaluationError where it is unknown.
        sight: The fitting part's features, from `make_sight` of at least this family.
        c: Labels (n,).
        n_classes: K, classes that are absent here included.
        extra: Given facts (n, e) beside the features (the target one-hot), e may be 0.
        baseline: Log-probabilities (n, K) without features, for held-out rows from their fold's training rows.
        folds: (train, held-out) rows.
        seed: Of everything random.
    """
    make = get_probe(family)
    usable = [(train, held) for train, held in folds if len(np.unique(c[train])) > 1 and len(held)]
    # a single class to learn from: nothing beyond the baseline can be said
    if not usable:
        return FittedProbe(tuned=None, n_classes=n_classes, setting="baseline", selection_bits=0.0)
    tuned = _tune(
        make, sight, c, extra, usable, seed,
        answer=lambda learner, seen: _spread(learner, seen, n_classes),
        judge=lambda raw, held: calibrate(raw, c[held], baseline[held]),
    )  # fmt: skip
    gain = tuned.calibration.gain_bits
    return FittedProbe(tuned=tuned, n_classes=n_classes, setting=tuned.setting, selection_bits=gain)


def fit_regressor(
    family: str, sight: Sight, c: np.ndarray, *, extra: np.ndarray, folds: Sequence[Fold], seed: int
) -> Tuned[Learner]:
    """Fit one family of REGRESSORS as `fit_probe` does; c are normal scores (n,), within strata of the facts if any."""
    return _tune(
        REGRESSORS[family], sight, c, extra, folds, seed,
        answer=lambda learner, seen: learner.answer(seen),
        judge=lambda predicted, held: calibrate_density(predicted, c[held]),
    )  # fmt: skip


def _spread(learner: Classifier, x: np.ndarray, n_classes: int) -> np.ndarray:
    """The learner's log-probabilities over all classes; −inf where it never saw the class."""
    out = np.full((len(x), n_classes), -np.inf)
    out[:, learner.classes_] = learner.answer(x)
    return out


def _beside(make: type[Learner], scaling: Scaling, seen: Seen, extra: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Features reduced as a family wants them, some of their columns as they are, and the given facts."""
    reduced = scaling.reduced(seen, max_columns=make.max_columns(scaling.n_rows), whitened=make.whitened)
    return np.concatenate([reduced, seen.z[:, columns], extra], axis=1)


def _tune(
    make: type[L],
    sight: Sight,
    c: np.ndarray,
    extra: np.ndarray,
    folds: Sequence[Fold],
    seed: int,
    *,
    answer: Callable[[L, np.ndarray], np.ndarray],
    judge: Callable[[np.ndarray, np.ndarray], Calibration],
) -> Tuned[L]:
    """Climb the family's rungs on all folds together; fit the best one on the whole fitting part.

    `answer` is what a learner says of rows as it sees them, `judge` the calibration of that for the rows it is about.
    """
    scaling, seen = sight.scaling, sight.seen
    is_reduced = seen.z.shape[1] > make.max_columns(scaling.n_rows)

    def screened(rows: np.ndarray) -> np.ndarray:
        """Single columns beside the principal components, which may lose them: by labels, so by these rows alone."""
        return sight.telling(rows, c[rows], most=make.n_telling if is_reduced else 0)

    def fitted(rows: np.ndarray, z: np.ndarray) -> L:
        return make(z[rows], c[rows], n_extra=extra.shape[1], seed=seed)

    learners, unseen = [], []
    for train, held in folds:
        z = _beside(make, scaling, seen, extra, screened(train))
        learners.append(fitted(train, z))
        unseen.append(z[held])
    held_rows = np.concatenate([held for _, held in folds])

    def reached(rung: int) -> Calibration:
        for learner in learners:
            learner.fit_to(rung)
        answers = np.concatenate([answer(*pair) for pair in zip(learners, unseen, strict=True)])
        return judge(answers, held_rows)

    rung, calibration = _climb(make, reached)
    everything = np.arange(len(c))
    columns = screened(everything)
    learner = fitted(everything, _beside(make, scaling, seen, extra, columns))
    learner.fit_to(rung)
    setting = make.describe(rung)
    return Tuned(learner=learner, setting=setting, calibration=calibration, scaling=scaling, columns=columns)


def _climb(make: type[Learner], reached: Callable[[int], Calibration]) -> tuple[int, Calibration]:
    """The best rung and its calibration; stops after `patience` rungs without a gain worth the time."""
    best = 0, reached(0)
    last_gain, mark = 0, best[1].cautious_gain_bits
    for rung in range(1, len(make.settings)):
        found = reached(rung)
        if found.cautious_gain_bits > best[1].cautious_gain_bits:
            best = rung, found
        if found.cautious_gain_bits > mark + WORTHWHILE_BITS:
            last_gain, mark = rung, found.cautious_gain_bits
        elif rung - last_gain >= make.patience:
            break
    return best
