"""The task's side of an audit: accuracy, fairness and crossings, before and after, by one rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.audit_types import (
    AuditInput,
    AuditSettings,
    FairnessFindings,
    Features,
    Intersection,
    TaskFindings,
)
from mibias_cli.evaluation.crossings import chosen_crossings, intersection
from mibias_cli.evaluation.fairness import fairness_findings
from mibias_cli.evaluation.group_metrics import task_findings
from mibias_cli.evaluation.resampling import Resamples
from mibias_cli.evaluation.task_rule import Predictions, predict_task

__all__ = ["TaskAudit", "audit_task"]


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """Task figures before (or None) and after, fairness by attribute, crossings of attributes."""

    before: TaskFindings | None
    after: TaskFindings
    fairness: dict[str, tuple[FairnessFindings | None, FairnessFindings]]
    intersections: tuple[Intersection, ...]


def audit_task(inputs: AuditInput, settings: AuditSettings, channels: Mapping[str, str], *, seed: int) -> TaskAudit:
    """Every figure of the task's predictions.

    Args:
        inputs: Features, targets and attributes.
        settings: How.
        channels: By attribute, the channel that is crossed with others.
        seed: Of the resamples.
    """
    resamples = Resamples(len(inputs.audit_y), settings.n_bootstrap, group=inputs.group, seed=seed)
    n_classes = len(inputs.class_names)

    def predict(features: Features | None) -> Predictions | None:
        return None if features is None else predict_task(features, inputs.train_y, n_classes)

    def figures(predictions: Predictions, head_predicted: np.ndarray | None) -> TaskFindings:
        return task_findings(
            predictions, inputs.audit_y, inputs.attributes,
            class_names=inputs.class_names, head_predicted=head_predicted, resamples=resamples,
            min_cell=settings.min_cell, confidence=settings.confidence,
        )  # fmt: skip

    before, after = predict(inputs.before), predict(inputs.after)
    assert after is not None
    return TaskAudit(
        before=None if before is None else figures(before, inputs.head_before),
        after=figures(after, inputs.head_after),
        fairness=_fairness(inputs, settings, before, after),
        intersections=_intersections(inputs, settings, channels, before, after),
    )


def _fairness(
    inputs: AuditInput, settings: AuditSettings, before: Predictions | None, after: Predictions
) -> dict[str, tuple[FairnessFindings | None, FairnessFindings]]:
    found = {}
    for attribute in inputs.attributes:
        pair = [
            fairness_findings(
                p.classes, inputs.audit_y, inputs.train_y, attribute, class_names=inputs.class_names,
                min_cell=settings.min_cell,
            )
            for p in (before, after)
            if p is not None
        ]  # fmt: skip
        found[attribute.name] = (None if before is None else pair[0], pair[-1])
    return found


def _intersections(
    inputs: AuditInput,
    settings: AuditSettings,
    channels: Mapping[str, str],
    before: Predictions | None,
    after: Predictions,
) -> tuple[Intersection, ...]:
    by_name = {attribute.name: attribute for attribute in inputs.attributes}
    return tuple(
        intersection(
            [by_name[name] for name in names], channels, inputs.audit_y,
            None if before is None else before.classes == inputs.audit_y, after.classes == inputs.audit_y,
            class_names=inputs.class_names, min_cell=settings.min_cell, confidence=settings.confidence,
        )
        for names in chosen_crossings(list(by_name), settings.crossings)
    )  # fmt: skip
