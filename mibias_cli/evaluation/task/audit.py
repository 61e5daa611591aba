"""The task's side of an audit: accuracy, fairness and crossings, before and after, by one rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage_findings import Sides
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.crossings import chosen_crossings, intersection
from mibias_cli.evaluation.task.fairness import fairness_findings
from mibias_cli.evaluation.task.groups import task_findings
from mibias_cli.evaluation.task.labels import label_fairness, label_findings
from mibias_cli.evaluation.task.numbers import regression_findings
from mibias_cli.evaluation.task.rule import Predictions, predict_labels, predict_numbers, predict_task
from mibias_cli.evaluation.task_findings import (
    FairnessFindings,
    Intersection,
    LabelFindings,
    RegressionFindings,
    TaskFindings,
    TaskSides,
)

__all__ = ["TaskAudit", "audit_task"]


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """Task figures before and after (None without original or target), fairness by attribute, crossings of attributes.

    A target of numbers has its errors by group in place of fairness and crossings.
    """

    sides: TaskSides
    fairness: dict[str, Sides[FairnessFindings]] = field(default_factory=dict)
    intersections: tuple[Intersection, ...] = ()


def audit_task(inputs: AuditInput, settings: AuditSettings, channels: Mapping[str, str], *, seed: int) -> TaskAudit:
    """Every figure of the task's predictions.

    Args:
        inputs: Features, targets and attributes.
        settings: How.
        channels: By attribute, the channel that is crossed with others.
        seed: Of the resamples.
    """
    # heads are fitted on training rows: without them, or without a target, there is no task to speak of
    if inputs.without_target or not len(inputs.train_y):
        return TaskAudit(sides=TaskSides(before=None, after=None))
    resamples = Resamples(len(inputs.audit_y), settings.n_bootstrap, group=inputs.group, seed=seed)
    if inputs.target is None:
        return _audit_classes(inputs, settings, channels, resamples)
    if inputs.target.kind == "multilabel":
        return _audit_labels(inputs, inputs.target, settings, channels, resamples)
    return _audit_numbers(inputs, inputs.target, settings, resamples)


def _audit_classes(
    inputs: AuditInput, settings: AuditSettings, channels: Mapping[str, str], resamples: Resamples
) -> TaskAudit:
    n_classes = len(inputs.class_names)

    # the same head for every extractor: a trained head tells of its training, too
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
    # crossings count who is predicted right, before and after
    right = None if before is None else before.classes == inputs.audit_y, after.classes == inputs.audit_y
    return TaskAudit(
        sides=TaskSides(
            before=None if before is None else figures(before, inputs.head_before),
            after=figures(after, inputs.head_after),
        ),
        fairness=_fairness(inputs, settings, before, after),
        intersections=_intersections(inputs, settings, channels, inputs.audit_y, inputs.class_names, right),
    )


def _audit_labels(
    inputs: AuditInput,
    target: AuditedTarget,
    settings: AuditSettings,
    channels: Mapping[str, str],
    resamples: Resamples,
) -> TaskAudit:
    """Several labels: a crossing's accuracy is the share of samples whose labels are all right."""

    def predict(features: Features | None) -> np.ndarray | None:
        return None if features is None else predict_labels(features, target.train)

    def figures(probabilities: np.ndarray, head_predicted: np.ndarray | None) -> LabelFindings:
        return label_findings(
            probabilities, target, inputs.attributes, head_predicted=head_predicted, resamples=resamples,
            min_cell=settings.min_cell, confidence=settings.confidence,
        )  # fmt: skip

    def right(probabilities: np.ndarray) -> np.ndarray:
        return np.asarray(((probabilities > 0.5) == target.audit).all(axis=1))

    before, after = predict(inputs.before), predict(inputs.after)
    assert after is not None

    def fairness(probabilities: np.ndarray, attribute: AuditedAttribute) -> FairnessFindings:
        return label_fairness(probabilities, target, attribute, min_cell=settings.min_cell)

    # labels have no single class, so a crossing counts samples whose labels are all right
    everyone = np.zeros(len(inputs.audit_y), dtype=np.int64)
    return TaskAudit(
        sides=TaskSides(
            before=None if before is None else figures(before, inputs.head_before),
            after=figures(after, inputs.head_after),
        ),
        fairness={
            a.name: Sides[FairnessFindings](
                before=None if before is None else fairness(before, a), after=fairness(after, a)
            )
            for a in inputs.attributes
        },
        intersections=_intersections(
            inputs, settings, channels, everyone, ("all labels",),
            (None if before is None else right(before), right(after)),
        ),
    )  # fmt: skip


def _audit_numbers(
    inputs: AuditInput, target: AuditedTarget, settings: AuditSettings, resamples: Resamples
) -> TaskAudit:
    def figures(features: Features, head_predicted: np.ndarray | None) -> RegressionFindings:
        return regression_findings(
            predict_numbers(features, target.train), target, inputs.attributes, head_predicted=head_predicted,
            resamples=resamples, min_cell=settings.min_cell, confidence=settings.confidence,
        )  # fmt: skip

    return TaskAudit(
        sides=TaskSides(
            before=None if inputs.before is None else figures(inputs.before, inputs.head_before),
            after=figures(inputs.after, inputs.head_after),
        )
    )


def _fairness(
    inputs: AuditInput, settings: AuditSettings, before: Predictions | None, after: Predictions
) -> dict[str, Sides[FairnessFindings]]:
    def figures(predictions: Predictions, attribute: AuditedAttribute) -> FairnessFindings:
        return fairness_findings(
            predictions.classes, inputs.audit_y, inputs.train_y, attribute, class_names=inputs.class_names,
            min_cell=settings.min_cell,
        )  # fmt: skip

    return {
        a.name: Sides[FairnessFindings](before=None if before is None else figures(before, a), after=figures(after, a))
        for a in inputs.attributes
    }


def _intersections(
    inputs: AuditInput,
    settings: AuditSettings,
    channels: Mapping[str, str],
    y: np.ndarray,
    class_names: Sequence[str],
    right: tuple[np.ndarray | None, np.ndarray],
) -> tuple[Intersection, ...]:
    by_name = {attribute.name: attribute for attribute in inputs.attributes}
    return tuple(
        intersection(
            [by_name[name] for name in names], channels, y, right[0], right[1],
            class_names=class_names, min_cell=settings.min_cell, confidence=settings.confidence,
        )
        for names in chosen_crossings(list(by_name), settings.crossings)
    )  # fmt: skip
