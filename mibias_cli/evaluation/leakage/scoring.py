"""A probe on the scored rows: how much better than the baseline it predicts each label, and any other label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import r2_score

from mibias_cli.evaluation.leakage.channel import ChannelTask, Question
from mibias_cli.evaluation.leakage_findings import ProbeFindings
from mibias_cli.evaluation.probes.families import REGRESSORS, FittedProbe, FittedRegressor, fit_probe, fit_regressor

__all__ = ["ClassScore", "DensityScore", "Scored", "families", "score_probe"]

LN2 = float(np.log(2))
ROWS = 2000  # scored at a time: thousands of quadratic features of all rows would fall out of the cache, then of memory


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Gains of a classifier in bits: log2 q(k | z_i) − log2 baseline(k) for every sample and class (n, K)."""

    table: np.ndarray
    c: np.ndarray

    def gains(self) -> np.ndarray:
        """Gain (n,) on each sample's own label."""
        return np.asarray(self.table[np.arange(len(self.c)), self.c])

    def shuffled_means(self, rows: np.ndarray) -> np.ndarray:
        """See `Score`."""
        # looked up in the flat table: sample i's gain on the label of another sample
        n, n_classes = self.table.shape
        return np.asarray(self.table.ravel()[np.arange(n) * n_classes + self.c[rows]].mean(axis=1))


@dataclass(frozen=True, kw_only=True)
class DensityScore:
    """Gains of a regressor in bits: log2 q(c | z_i) − log2 N(c; 0, 1), for normal scores c (n,)."""

    regressor: FittedRegressor
    predicted: np.ndarray
    c: np.ndarray

    def gains(self) -> np.ndarray:
        """Gain (n,) on each sample's own value."""
        return self.regressor.gains(self.predicted, self.c) / LN2

    def shuffled_means(self, rows: np.ndarray) -> np.ndarray:
        """See `Score`."""
        return np.asarray((self.regressor.gains(self.predicted, self.c[rows]) / LN2).mean(axis=1))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One fitted probe, scored; `findings.leakage_bits` is still to be filled in. A regressor is no `probe`.

    `price_bits` and `price_sd_bits` are what its gains overstate on average, and the standard deviation of that.
    """

    findings: ProbeFindings
    score: ClassScore | DensityScore
    probe: FittedProbe | None
    price_bits: float
    price_sd_bits: float


def families(probes: Sequence[str], kind: str) -> tuple[str, ...]:
    """The families to which questions are put: of a continuous attribute, probes of its bins and regressors."""
    return (*probes, *(REGRESSORS if kind == "continuous" else ()))


def score_probe(
    name: str, task: ChannelTask, question: Question, z_fit: np.ndarray, z_score: np.ndarray, seed: int
) -> Scored:
    """Fit one family on the fitting part and score it on the other."""
    if name in REGRESSORS:
        return _score_regressor(name, task, question, z_fit, z_score, seed)
    probe = fit_probe(
        name, z_fit, task.c_fit, n_classes=task.n_classes, extra=question.extra_fit, baseline=question.baseline_fit,
        folds=task.folds, seed=seed,
    )  # fmt: skip
    parts = [slice(start, start + ROWS) for start in range(0, len(z_score), ROWS)]
    said = [probe.predict(z_score[part], question.extra_score[part], question.baseline_score[part]) for part in parts]
    predicted, log_p = (np.concatenate(halves) for halves in zip(*said, strict=True))
    findings = ProbeFindings(
        accuracy=float((predicted == task.c_score).mean()), leakage_bits=float("nan"),
        selection_bits=probe.selection_bits, setting=probe.setting,
    )  # fmt: skip
    # differences of log-probabilities: their mean is the baseline's cross-entropy less the probe's, a lower bound on
    # what the features tell, however poor the probe is
    score = ClassScore(table=(log_p - question.baseline_score) / LN2, c=task.c_score)
    return Scored(
        findings=findings, score=score, probe=probe, price_bits=question.price_bits,
        price_sd_bits=question.price_sd_bits,
    )  # fmt: skip


def _score_regressor(
    name: str, task: ChannelTask, question: Question, z_fit: np.ndarray, z_score: np.ndarray, seed: int
) -> Scored:
    c_fit, c_score = question.numbers
    assert c_fit is not None
    assert c_score is not None
    regressor = fit_regressor(name, z_fit, c_fit, extra=question.extra_fit, folds=task.folds, seed=seed)
    predicted = regressor.predict(z_score, question.extra_score)
    findings = ProbeFindings(
        accuracy=None, leakage_bits=float("nan"), selection_bits=regressor.selection_bits, setting=regressor.setting,
        r2=float(r2_score(c_score, predicted)),
    )  # fmt: skip
    # normal scores by the fitting part's ranks: a mean and a variance were estimated, each costs 1 / 2n nats
    price = 1 / (len(c_fit) * LN2)
    return Scored(
        findings=findings, score=DensityScore(regressor=regressor, predicted=predicted, c=c_score), probe=None,
        price_bits=price, price_sd_bits=price,
    )  # fmt: skip
