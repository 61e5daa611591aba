"""The task's side of an audit: accuracy, fairness and crossings, before and after, by one rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

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
from mibias_cli.evaluation.task.rule import Predictions, Terms, predict_labels, predict_numbers, predict_task
from mibias_cli.evaluation.task_findings import AnyTask, FairnessFindings, Intersection, TaskSides

__all__ = ["TaskAudit", "audit_task"]

P = TypeVar("P")
"""What is predicted: classes with their probabilities, probabilities of labels, or numbers."""


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """Task figures before and after (None without original or target), fairness by attribute, crossings of attributes.

    A target of numbers has its errors by group in place of fairness and crossings.
    """

    sides: TaskSides
    fairness: dict[str, Sides[FairnessFindings]] = field(default_factory=dict)
    intersections: tuple[Intersection, ...] = ()


def audit_task(inputs: AuditInput, settings: AuditSettings, channels: Mapping[str, str], *, seed: int) -> TaskAudit:
    """Every figure of the task's predictions; `channels` says which channel of an attribute is crossed with others."""
    # heads are fitted on training rows: without them, or without a target, there is no task to speak of
    if inputs.without_target or not len(inputs.train_y):
        return TaskAudit(sides=TaskSides(before=None, after=None))
    resamples = Resamples(len(inputs.audit_y), settings.n_bootstrap, group=inputs.group, seed=seed)
    terms = Terms(
        attributes=inputs.attributes, resamples=resamples, min_cell=settings.min_cell, confidence=settings.confidence
    )
    audit = _Audit(inputs=inputs, crossings=settings.crossings, channels=channels, terms=terms)
    if inputs.target is None:
        return audit.of_classes()
    return audit.of_labels(inputs.target) if inputs.target.kind == "multilabel" else audit.of_numbers(inputs.target)


@dataclass(frozen=True, kw_only=True)
class _Audit:
    """Figures of each kind of target, from the same inputs and on the same terms."""

    inputs: AuditInput
    crossings: Sequence[Sequence[str]] | None
    channels: Mapping[str, str]
    terms: Terms

    def of_classes(self) -> TaskAudit:
        inputs, y, names = self.inputs, self.inputs.audit_y, self.inputs.class_names

        def figures(predictions: Predictions, head: np.ndarray | None) -> AnyTask:
            return task_findings(predictions, y, names, head, self.terms)

        def fairness(predictions: Predictions, attribute: AuditedAttribute) -> FairnessFindings:
            return fairness_findings(
                predictions.classes, y, inputs.train_y, attribute, class_names=names, min_cell=self.terms.min_cell
            )

        # the same head for every extractor: a trained head tells of its training, too
        predicted = self._predicted(lambda features: predict_task(features, inputs.train_y, len(names)))
        return TaskAudit(
            sides=self._sides(predicted, figures),
            fairness=self._fairness(predicted, fairness),
            intersections=self._intersections(y, names, predicted, lambda predictions: predictions.classes == y),
        )

    def of_labels(self, target: AuditedTarget) -> TaskAudit:
        def figures(probabilities: np.ndarray, head: np.ndarray | None) -> AnyTask:
            return label_findings(probabilities, target, head, self.terms)

        def fairness(probabilities: np.ndarray, attribute: AuditedAttribute) -> FairnessFindings:
            return label_fairness(probabilities, target, attribute, min_cell=self.terms.min_cell)

        def right(probabilities: np.ndarray) -> np.ndarray:
            return np.asarray(((probabilities > 0.5) == target.audit).all(axis=1))

        predicted = self._predicted(lambda features: predict_labels(features, target.train))
        # labels have no single class, so a crossing counts samples whose labels are all right
        everyone = np.zeros(len(target.audit), dtype=np.int64)
        return TaskAudit(
            sides=self._sides(predicted, figures),
            fairness=self._fairness(predicted, fairness),
            intersections=self._intersections(everyone, ("all labels",), predicted, right),
        )

    def of_numbers(self, target: AuditedTarget) -> TaskAudit:
        def figures(predicted: np.ndarray, head: np.ndarray | None) -> AnyTask:
            return regression_findings(predicted, target, head, self.terms)

        predicted = self._predicted(lambda features: predict_numbers(features, target.train))
        return TaskAudit(sides=self._sides(predicted, figures))

    def _predicted(self, predict: Callable[[Features], P]) -> tuple[P | None, P]:
        """Before and after."""
        return None if self.inputs.before is None else predict(self.inputs.before), predict(self.inputs.after)

    def _sides(self, predicted: tuple[P | None, P], figures: Callable[[P, np.ndarray | None], AnyTask]) -> TaskSides:
        before, after = predicted
        return TaskSides(
            before=None if before is None else figures(before, self.inputs.head_before),
            after=figures(after, self.inputs.head_after),
        )

    def _fairness(
        self, predicted: tuple[P | None, P], figures: Callable[[P, AuditedAttribute], FairnessFindings]
    ) -> dict[str, Sides[FairnessFindings]]:
        before, after = predicted
        return {
            a.name: Sides[FairnessFindings](
                before=None if before is None else figures(before, a), after=figures(after, a)
            )
            for a in self.inputs.attributes
        }

    def _intersections(
        self, y: np.ndarray, names: Sequence[str], predicted: tuple[P | None, P], right: Callable[[P], np.ndarray]
    ) -> tuple[Intersection, ...]:
        before, after = predicted
        # crossings count who is predicted right, before and after
        correct = None if before is None else right(before), right(after)
        by_name = {attribute.name: attribute for attribute in self.inputs.attributes}
        return tuple(
            intersection([by_name[name] for name in crossed], self.channels, y, *correct, names, self.terms)
            for crossed in chosen_crossings(list(by_name), self.crossings)
        )
