"""Fresh probes: classifiers that try to read a bias attribute from features, calibrated before they are scored.

An over-confident probe makes H(c) − cross-entropy strongly negative and so hides leakage. Every probe here is therefore
tuned on rows held out inside the fitting part: how far to train, a temperature, and how much of the baseline (the
attribute's distribution without features) to mix in. The score on those rows chooses the headline; rows on which
leakage is measured are never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.evaluation.probes.boosting import GradientBoosting
from mibias_cli.evaluation.probes.learners import Learner, Logistic, Mlp, NearestNeighbours
from mibias_cli.evaluation.probes.quadratic import Quadratic
from mibias_cli.evaluation.probes.scaling import Scaling, fit_scaling
from mibias_cli.evaluation.probes.screening import telling_columns
from mibias_cli.evaluation.statistics.partition import Fold

__all__ = ["PROBES", "Calibration", "FittedProbe", "calibrate", "fit_probe", "get_probe"]

PROBES: dict[str, type[Learner]] = {
    "logistic": Logistic,
    "quadratic": Quadratic,
    "mlp": Mlp,
    "knn": NearestNeighbours,
    "gradient_boosting": GradientBoosting,
}

WORTHWHILE_BITS = 0.001  # climbing goes on for gains above this
TEMPERATURES = np.geomspace(0.5, 8.0, 9)
# never 0: no class may get probability 0; never 1: a probe that says nothing would get an interval of no width
MIXES = np.array([0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9])


def get_probe(name: str) -> type[Learner]:
    """The probe family of this name.

    Raises:
        EvaluationError: There is none.
    """
    if name not in PROBES:
        raise EvaluationError(
            f"probe '{name}': unknown{did_you_mean(name, PROBES)}; evaluation.probes takes {', '.join(PROBES)}"
        )
    return PROBES[name]


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A calibrated probe: how it was chosen and what it says of new rows."""

    family: str
    setting: str
    selection_bits: float
    n_classes: int
    temperature: float
    mix: float
    scaling: Scaling
    columns: np.ndarray
    learner: Learner | None

    def _raw(self, x: np.ndarray, extra: np.ndarray) -> np.ndarray | None:
        if self.learner is None:
            return None
        features = self.scaling.beside(self.scaling.standardised(x), extra, self.columns)
        return _spread(self.learner, features, self.n_classes)

    def predict(self, x: np.ndarray, extra: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        """Most likely class (n,) by the learner itself; calibration plays no part in accuracy."""
        raw = self._raw(x, extra)
        return np.asarray((baseline if raw is None else raw).argmax(axis=1))

    def log_probabilities(self, x: np.ndarray, extra: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        """Calibrated log-probabilities (n, n_classes) in nats, finite for every class that `baseline` gives mass."""
        raw = self._raw(x, extra)
        return np.asarray(baseline) if raw is None else _mixed(raw, baseline, self.temperature, self.mix)


def _spread(learner: Learner, x: np.ndarray, n_classes: int) -> np.ndarray:
    """The learner's log-probabilities over all classes; −inf where it never saw the class."""
    out = np.full((len(x), n_classes), -np.inf)
    out[:, learner.classes_] = learner.log_probabilities(x)
    return out


def _tempered(raw: np.ndarray, temperature: float) -> np.ndarray:
    scaled = raw / temperature
    return np.asarray(scaled - logsumexp(scaled, axis=1, keepdims=True))


def _mixed(raw: np.ndarray, baseline: np.ndarray, temperature: float, mix: float) -> np.ndarray:
    return np.logaddexp(np.log1p(-mix) + _tempered(raw, temperature), np.log(mix) + baseline)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far a probe is trusted: temperature, share of the baseline, and the gain over the baseline in bits.

    `cautious_gain_bits` is the gain less one standard error, by which calibrations are compared.
    """

    temperature: float
    mix: float
    gain_bits: float
    cautious_gain_bits: float


def calibrate(raw: np.ndarray, c: np.ndarray, baseline: np.ndarray) -> Calibration:
    """The temperature and share of the baseline that gain most on these rows, in cross-entropy over the baseline's.

    What is compared is the gain less one standard error. Taking the largest gain itself would, on features that hold
    nothing, take noise for a gain, and the probe would lose as much again on the scored rows.

    Args:
        raw: Uncalibrated log-probabilities (n, n_classes); −inf is allowed.
        c: Labels (n,).
        baseline: Log-probabilities (n, n_classes) without features.
    """
    rows = np.arange(len(c))
    p_baseline = np.exp(baseline[rows, c])
    found = []
    for temperature in TEMPERATURES:
        p = np.exp(_tempered(raw, float(temperature))[rows, c])
        gains = np.log2(np.outer(1 - MIXES, p / p_baseline) + MIXES[:, None])
        mean = gains.mean(axis=1)
        cautious = mean - gains.std(axis=1) / np.sqrt(len(c))
        k = int(cautious.argmax())
        found.append(
            Calibration(
                temperature=float(temperature),
                mix=float(MIXES[k]),
                gain_bits=float(mean[k]),
                cautious_gain_bits=float(cautious[k]),
            )
        )
    return max(found, key=lambda calibration: calibration.cautious_gain_bits)


def fit_probe(
    family: str,
    x: np.ndarray,
    c: np.ndarray,
    *,
    n_classes: int,
    extra: np.ndarray,
    baseline: np.ndarray,
    folds: Sequence[Fold],
    seed: int,
) -> FittedProbe:
    """Fit one family on the fitting part, tuned on rows held out within it.

    All folds climb the family's rungs together; the rung with the largest calibrated gain over all held-out rows
    is then fitted on the whole fitting part.

    Args:
        family: Key of PROBES.
        x: Features (n, d) of the fitting part.
        c: Labels (n,).
        n_classes: K, classes that are absent here included.
        extra: Given facts (n, e) beside the features (the target one-hot), e may be 0.
        baseline: Log-probabilities (n, K) without features, for held-out rows from their fold's training rows.
        folds: (train, held-out) rows.
        seed: Of everything random.

    Returns:
        The probe; its `selection_bits` is the baseline's held-out cross-entropy less the probe's.

    Raises:
        EvaluationError: The family is unknown.
    """
    make = get_probe(family)
    scaling = fit_scaling(x, max_columns=make.max_columns(len(x)), whitened=make.whitened, seed=seed)
    z = scaling.standardised(x)
    usable = [(train, held) for train, held in folds if len(np.unique(c[train])) > 1 and len(held)]
    if not usable:  # a single class to learn from: nothing beyond the baseline can be said
        return FittedProbe(
            family=family, setting="baseline", selection_bits=0.0, n_classes=n_classes,
            temperature=1.0, mix=1.0, scaling=scaling, columns=np.zeros(0, dtype=np.int64), learner=None,
        )  # fmt: skip

    def features(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All rows as a learner of some of them sees them, and the single columns among it that tell c there."""
        most = make.n_telling if scaling.n_components else 0
        columns = telling_columns(z[rows], c[rows], most=most)
        return scaling.beside(z, extra, columns), columns

    rung, calibration = _climb(make, features, c, n_classes, extra.shape[1], baseline, usable, seed)
    seen, columns = features(np.arange(len(c)))
    learner = make(seen, c, n_extra=extra.shape[1], seed=seed)
    learner.fit_to(rung)
    return FittedProbe(
        family=family, setting=make.describe(rung), selection_bits=calibration.gain_bits, n_classes=n_classes,
        temperature=calibration.temperature, mix=calibration.mix, scaling=scaling, columns=columns,
        learner=learner,
    )  # fmt: skip


def _climb(
    make: type[Learner],
    features: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    c: np.ndarray,
    n_classes: int,
    n_extra: int,
    baseline: np.ndarray,
    folds: Sequence[Fold],
    seed: int,
) -> tuple[int, Calibration]:
    """The best rung and its calibration."""
    learners, unseen = [], []
    for train, part in folds:
        seen = features(train)[0]
        learners.append(make(seen[train], c[train], n_extra=n_extra, seed=seed))
        unseen.append(seen[part])
    held = np.concatenate([h for _, h in folds])
    best: tuple[int, Calibration] | None = None
    last_gain, mark = 0, -np.inf
    for rung in range(make.n_rungs):
        for learner in learners:
            learner.fit_to(rung)
        raw = np.concatenate([_spread(*pair, n_classes) for pair in zip(learners, unseen, strict=True)])
        found = calibrate(raw, c[held], baseline[held])
        if best is None or found.cautious_gain_bits > best[1].cautious_gain_bits:
            best = (rung, found)
        if found.cautious_gain_bits > mark + WORTHWHILE_BITS:
            last_gain, mark = rung, found.cautious_gain_bits
        elif rung - last_gain >= make.patience:
            break
    assert best is not None
    return best
