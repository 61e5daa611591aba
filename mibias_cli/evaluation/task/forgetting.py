"""How well rows were forgotten: accuracy of trained heads on them, and whether their losses give them away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditInput, TrainedRows
from mibias_cli.evaluation.leakage_findings import Interval, Side
from mibias_cli.evaluation.statistics.ranking import grouped_auroc
from mibias_cli.evaluation.statistics.resampling import SHARE, Resamples, bootstrap_interval
from mibias_cli.evaluation.task_findings import ForgettingFigures, ForgettingSides

__all__ = ["forgetting_findings", "margin"]


def forgetting_findings(inputs: AuditInput, settings: AuditSettings, *, seed: int) -> ForgettingSides | None:
    """Figures of every side whose head was trained; None where no rows were to be forgotten, or no head is audited."""
    trained = inputs.trained
    if trained is None or "after" not in trained.heads:
        return None
    among = _Compared(inputs=inputs, trained=trained, settings=settings, seed=seed)
    return ForgettingSides(
        before=among.figures("before") if "before" in trained.heads else None,
        after=among.figures("after"),
        n_forgotten=int(trained.forget.sum()),
        n_retained=int((~trained.forget).sum()),
        n_compared=len(among.rows),
    )


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Forgotten rows beside audited ones of their groups, the same on all sides."""

    inputs: AuditInput
    trained: TrainedRows
    settings: AuditSettings
    seed: int

    @cached_property
    def rows(self) -> np.ndarray:
        """Positions among training rows: forgotten ones of whose group a row is audited."""
        group = self.trained.group
        return np.flatnonzero(self.trained.forget & (group >= 0) & np.isin(group, self.trained.audit_group))

    @cached_property
    def alike(self) -> np.ndarray:
        """Positions among audited rows of the same groups."""
        return np.flatnonzero(np.isin(self.trained.audit_group, self.trained.group[self.rows]))

    @property
    def n_units(self) -> int:
        """How many forgotten rows are compared, or groups of them: of one alone no resample tells how far it varies."""
        unit = self.trained.unit
        return len(self.rows) if unit is None else len(np.unique(unit[self.rows]))

    def figures(self, side: Side) -> ForgettingFigures:
        trained, there_are = self.trained, len(self.rows) > 0
        right = trained.heads[side].argmax(axis=1) == trained.y
        audited = self.inputs.heads[side].argmax(axis=1) == self.inputs.audit_y
        return ForgettingFigures(
            forgotten_accuracy=float(right[trained.forget].mean()),
            retained_accuracy=float(right[~trained.forget].mean()),
            audit_accuracy=float(audited.mean()),
            alike_accuracy=self._alike_accuracy(audited) if there_are else None,
            membership_auroc=self._membership(side) if self.n_units >= self.settings.min_cell else None,
        )

    def _alike_accuracy(self, right: np.ndarray) -> float:
        """Accuracy on audited rows, a group weighing as many forgotten rows as it has."""
        groups, n = np.unique(self.trained.group[self.rows], return_counts=True)
        return float(np.average([right[self.trained.audit_group == group].mean() for group in groups], weights=n))

    def _membership(self, side: Side) -> Interval:
        """How well margins tell forgotten rows from audited ones of their groups."""
        inputs, trained, rows, alike = self.inputs, self.trained, self.rows, self.alike
        own = margin(trained.heads[side][rows], trained.y[rows])
        score = np.concatenate([own, margin(inputs.heads[side][alike], inputs.audit_y[alike])])
        group = np.concatenate([trained.group[rows], trained.audit_group[alike]])
        unit = None
        if trained.unit is not None and inputs.group is not None:
            unit = np.concatenate([trained.unit[rows], inputs.group[alike]])
        resamples = Resamples(len(score), self.settings.n_bootstrap, group=unit, seed=self.seed)
        area, draws = grouped_auroc(score, np.arange(len(score)) < len(rows), group, resamples)
        return bootstrap_interval(area, draws, self.settings.confidence, n_units=resamples.n_units, within=SHARE)


def margin(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log p_y − log of all other classes' probability (n,): ranks rows as their losses do, lower losses higher.

    A loss near 0 is rounded to 0 in single precision, and would tie; the others' probability is not.

    Example:
        >>> margin(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1])).round(3).tolist()
        [0.0, 1.386]
    """
    p = probabilities.astype(np.float64)
    right = p[np.arange(len(y)), y]
    p[np.arange(len(y)), y] = 0
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.log(right.clip(tiny)) - np.log(p.sum(axis=1).clip(tiny)))
