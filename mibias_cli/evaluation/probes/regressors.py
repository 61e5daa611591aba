"""Fresh regressors: what they predict of a continuous attribute, as a calibrated density around each prediction.

The attribute comes as normal scores of its ranks (`normal_scores.py`): information does not change under monotone maps,
and log N(c; 0, 1) is then what is known of c without features. The mean of log q(c | z) − log N(c; 0, 1) over rows that
the regressor has not seen is a lower bound on I(z; c) in nats, up to sampling error, whatever the density q is. Here q
mixes a normal density around the prediction with N(0, 1), and its width and share are tuned, as for probes, on rows
held out inside the fitting part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.evaluation.probes.families import MIXES, WORTHWHILE_BITS
from mibias_cli.evaluation.probes.regression_learners import BoostedRegression, MlpRegression, RegressionLearner, Ridge
from mibias_cli.evaluation.probes.scaling import Scaling, fit_scaling
from mibias_cli.evaluation.statistics.partition import Fold

__all__ = [
    "REGRESSORS",
    "DensityCalibration",
    "FittedRegressor",
    "calibrate_density",
    "fit_regressor",
    "get_regressor",
    "standard_normal_log_density",
]

REGRESSORS: dict[str, type[RegressionLearner]] = {
    "ridge": Ridge,
    "mlp_regressor": MlpRegression,
    "boosted_regressor": BoostedRegression,
}
WIDTHS = np.geomspace(0.7, 2.0, 9)  # times the held-out residuals' root mean square
LN2 = float(np.log(2))


def get_regressor(name: str) -> type[RegressionLearner]:
    """The regressor family of this name.

    Raises:
        EvaluationError: There is none.
    """
    if name not in REGRESSORS:
        raise EvaluationError(
            f"regressor '{name}': unknown{did_you_mean(name, REGRESSORS)}; there are {', '.join(REGRESSORS)}"
        )
    return REGRESSORS[name]


def standard_normal_log_density(c: np.ndarray) -> np.ndarray:
    """log N(c; 0, 1) in nats: what is known of normal scores without features."""
    return np.asarray(-0.5 * c**2 - 0.5 * np.log(2 * np.pi))


@dataclass(frozen=True, kw_only=True)
class DensityCalibration:
    """Width of the density around a prediction and share of N(0, 1) in it, with the gain that chose them in bits.

    `cautious_gain_bits` is the gain less one standard error, by which calibrations are compared.
    """

    width: float
    mix: float
    gain_bits: float
    cautious_gain_bits: float

    def log_density(self, predicted: np.ndarray, c: np.ndarray) -> np.ndarray:
        """log q(c | prediction) in nats; arrays broadcast, so (n, 1) against (n', ) gives all pairs."""
        around = standard_normal_log_density((c - predicted) / self.width) - np.log(self.width)
        return np.asarray(np.logaddexp(np.log1p(-self.mix) + around, np.log(self.mix) + standard_normal_log_density(c)))


def calibrate_density(predicted: np.ndarray, c: np.ndarray) -> DensityCalibration:
    """The width and share that gain most on these rows over N(0, 1), less one standard error.

    Args:
        predicted: Predictions (n,) for rows that were not fitted.
        c: Their values (n,), normal scores.

    Example:
        >>> g = np.random.default_rng(0)
        >>> predicted = 0.8 * g.normal(size=20_000)
        >>> found = calibrate_density(predicted, predicted + 0.6 * g.normal(size=20_000))
        >>> round(found.width, 1), round(found.gain_bits * LN2, 1)  # truth: −½ log(1 − 0.64) = 0.51
        (0.6, 0.5)
    """
    spread = max(float(np.sqrt(np.mean((c - predicted) ** 2))), 1e-6)
    baseline = standard_normal_log_density(c)
    found = []
    for width in spread * WIDTHS:
        ratio = np.exp(standard_normal_log_density((c - predicted) / width) - np.log(width) - baseline)
        gains = np.log2(np.outer(1 - MIXES, ratio) + MIXES[:, None])
        mean = gains.mean(axis=1)
        cautious = mean - gains.std(axis=1) / np.sqrt(len(c))
        k = int(cautious.argmax())
        found.append(
            DensityCalibration(
                width=float(width),
                mix=float(MIXES[k]),
                gain_bits=float(mean[k]),
                cautious_gain_bits=float(cautious[k]),
            )
        )
    return max(found, key=lambda calibration: calibration.cautious_gain_bits)


@dataclass(frozen=True, kw_only=True)
class FittedRegressor:
    """A calibrated regressor: how it was chosen and what it says of new rows."""

    family: str
    setting: str
    selection_bits: float
    calibration: DensityCalibration
    scaling: Scaling
    learner: RegressionLearner

    def predict(self, x: np.ndarray, extra: np.ndarray) -> np.ndarray:
        """The expected value (n,); calibration plays no part in it."""
        return self.learner.predict(self.scaling(x, extra))

    def log_density(self, x: np.ndarray, extra: np.ndarray, c: np.ndarray) -> np.ndarray:
        """log q(c | x) (n,) in nats."""
        return self.calibration.log_density(self.predict(x, extra), c)

    def gains(self, x: np.ndarray, extra: np.ndarray, c: np.ndarray) -> np.ndarray:
        """log q(c | x) − log N(c; 0, 1) (n,) in nats: its mean over new rows is the leakage found."""
        return self.log_density(x, extra, c) - standard_normal_log_density(c)


def fit_regressor(
    family: str,
    x: np.ndarray,
    c: np.ndarray,
    *,
    extra: np.ndarray,
    folds: Sequence[Fold],
    seed: int,
) -> FittedRegressor:
    """Fit one family on the fitting part, tuned on rows held out within it.

    All folds climb the family's rungs together; the rung with the largest calibrated gain over all held-out rows is
    then fitted on the whole fitting part.

    Args:
        family: Key of REGRESSORS.
        x: Features (n, d) of the fitting part.
        c: Normal scores (n,); within strata of the given facts where leakage beyond these is asked for.
        extra: Given facts (n, e) beside the features, e may be 0.
        folds: (train, held-out) rows.
        seed: Of everything random.

    Returns:
        The regressor; its `selection_bits` is its gain over N(0, 1) on held-out rows.

    Raises:
        EvaluationError: The family is unknown.
    """
    make = get_regressor(family)
    scaling = fit_scaling(x, max_columns=make.max_columns(len(x)), whitened=True, seed=seed)
    scaled = scaling(x, extra)
    n_extra = extra.shape[1]
    rung, calibration = _climb(make, scaled, c, n_extra, folds, seed)
    learner = make(scaled, c, n_extra=n_extra, seed=seed)
    learner.fit_to(rung)
    return FittedRegressor(
        family=family, setting=make.describe(rung), selection_bits=calibration.gain_bits, calibration=calibration,
        scaling=scaling, learner=learner,
    )  # fmt: skip


def _climb(
    make: type[RegressionLearner], scaled: np.ndarray, c: np.ndarray, n_extra: int, folds: Sequence[Fold], seed: int
) -> tuple[int, DensityCalibration]:
    """The best rung and its calibration."""
    learners = [make(scaled[train], c[train], n_extra=n_extra, seed=seed) for train, _ in folds]
    held_c = np.concatenate([c[held] for _, held in folds])
    best: tuple[int, DensityCalibration] | None = None
    last_gain, mark = 0, -np.inf
    for rung in range(make.n_rungs):
        for learner in learners:
            learner.fit_to(rung)
        predicted = np.concatenate(
            [learner.predict(scaled[held]) for learner, (_, held) in zip(learners, folds, strict=True)]
        )
        found = calibrate_density(predicted, held_c)
        if best is None or found.cautious_gain_bits > best[1].cautious_gain_bits:
            best = (rung, found)
        if found.cautious_gain_bits > mark + WORTHWHILE_BITS:
            last_gain, mark = rung, found.cautious_gain_bits
        elif rung - last_gain >= make.patience:
            break
    assert best is not None
    return best
