"""A probe on the scored rows: how much better than the baseline it predicts each label, and any other label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.audit_types import ProbeFindings
from mibias_cli.evaluation.channel import ChannelTask, Side
from mibias_cli.evaluation.probes import FittedProbe, fit_probe

__all__ = ["ClassScore", "Scored", "families", "score_probe"]

LN2 = float(np.log(2))


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
        n, n_classes = self.table.shape
        return np.asarray(self.table.ravel()[np.arange(n) * n_classes + self.c[rows]].mean(axis=1))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One fitted probe, scored; `findings.leakage_bits` is still to be filled in."""

    findings: ProbeFindings
    score: ClassScore
    probe: FittedProbe


def families(probes: Sequence[str], side: Side) -> tuple[str, ...]:
    """The probe families to which a question is put."""
    return tuple(probes)


def score_probe(name: str, task: ChannelTask, side: Side, z_fit: np.ndarray, z_score: np.ndarray, seed: int) -> Scored:
    """Fit one family on the fitting part and score it on the other."""
    probe = fit_probe(
        name, z_fit, task.c_fit, n_classes=task.n_classes, extra=side.extra_fit, baseline=side.baseline_fit,
        folds=task.folds, seed=seed,
    )  # fmt: skip
    log_p = probe.log_probabilities(z_score, side.extra_score, side.baseline_score)
    predicted = probe.predict(z_score, side.extra_score, side.baseline_score)
    findings = ProbeFindings(
        accuracy=float((predicted == task.c_score).mean()), leakage_bits=float("nan"),
        selection_bits=probe.selection_bits, setting=probe.setting,
    )  # fmt: skip
    score = ClassScore(table=(log_p - side.baseline_score) / LN2, c=task.c_score)
    return Scored(findings=findings, score=score, probe=probe)
