"""The task's side of an audit: accuracy, fairness and crossings, before and after, by one rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage_findings import Side, Sides
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.change import class_change, label_change, number_change
from mibias_cli.evaluation.task.crossings import chosen_crossings, intersection
from mibias_cli.evaluation.task.fairness import fairness_findings
from mibias_cli.evaluation.task.fairness_intervals import Judged, fairness_change, judge
from mibias_cli.evaluation.task.groups import task_findings
from mibias_cli.evaluation.task.impact import impact_findings, impact_name
from mibias_cli.evaluation.task.labels import label_fairness, label_findings
from mibias_cli.evaluation.task.numbers import regression_findings
from mibias_cli.evaluation.task.rule import Predictions, Terms, predict_labels, predict_numbers, predict_task
from mibias_cli.evaluation.task_findings import (
    AnyTask,
    FairnessSides,
    HeadFindings,
    ImpactFindings,
    Intersection,
    TaskChange,
    TaskSides,
)

__all__ = ["TaskAudit", "audit_task"]

P = TypeVar("P")
"""What is predicted: classes with their probabilities, probabilities of labels, or numbers."""


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """Task figures by side (None without that side or a target), fairness by attribute, crossings of attributes.

    `impact` is empty where the target is no decision between two classes. `head` has the same of the trained heads,
    None without one. A target of numbers has its errors by group in place of fairness and crossings.
    """

    sides: TaskSides
    fairness: dict[str, FairnessSides] = field(default_factory=dict)
    intersections: tuple[Intersection, ...] = ()
    impact: dict[str, Sides[ImpactFindings]] = field(default_factory=dict)
    head: HeadFindings | None = None


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

        def figures(predictions: Predictions, head: Predictions | None) -> AnyTask:
            return task_findings(predictions, y, names, None if head is None else head.classes, self.terms)

        def fairness(predictions: Predictions, attribute: AuditedAttribute) -> Judged:
            given = predictions.classes, y, inputs.train_y, attribute
            return judge(*fairness_findings(*given, class_names=names, min_cell=self.terms.min_cell), self.terms)

        def change(before: Predictions, after: Predictions) -> TaskChange:
            return class_change(y, before.classes, after.classes, self.terms)

        # the same head for every extractor: a trained head tells of its training, too
        predicted = self._predicted(lambda features: predict_task(features, inputs.train_y, len(names)))
        own = {side: Predictions(classes=p.argmax(axis=1), probabilities=p) for side, p in inputs.heads.items()}
        return TaskAudit(
            sides=self._sides(predicted, own, figures, change),
            fairness=self._fairness(predicted, fairness),
            intersections=self._intersections(y, names, predicted, lambda predictions: predictions.classes == y),
            impact=self._impact(predicted),
            head=self._head(own, figures, change, fairness, self._impact),
        )

    def of_labels(self, target: AuditedTarget) -> TaskAudit:
        def figures(probabilities: np.ndarray, head: np.ndarray | None) -> AnyTask:
            return label_findings(probabilities, target, None if head is None else head > 0.5, self.terms)

        def fairness(probabilities: np.ndarray, attribute: AuditedAttribute) -> Judged:
            return judge(*label_fairness(probabilities, target, attribute, min_cell=self.terms.min_cell), self.terms)

        def change(before: np.ndarray, after: np.ndarray) -> TaskChange:
            return label_change(target.audit, before > 0.5, after > 0.5, self.terms)

        def right(probabilities: np.ndarray) -> np.ndarray:
            return np.asarray(((probabilities > 0.5) == target.audit).all(axis=1))

        predicted = self._predicted(lambda features: predict_labels(features, target.train))
        # labels have no single class, so a crossing counts samples whose labels are all right
        everyone = np.zeros(len(target.audit), dtype=np.int64)
        return TaskAudit(
            sides=self._sides(predicted, self.inputs.heads, figures, change),
            fairness=self._fairness(predicted, fairness),
            intersections=self._intersections(everyone, ("all labels",), predicted, right),
            head=self._head(self.inputs.heads, figures, change, fairness),
        )

    def of_numbers(self, target: AuditedTarget) -> TaskAudit:
        def figures(predicted: np.ndarray, head: np.ndarray | None) -> AnyTask:
            return regression_findings(predicted, target, head, self.terms)

        def change(before: np.ndarray, after: np.ndarray) -> TaskChange:
            units = target.units
            return number_change(target.audit / units, before / units, after / units, self.terms)

        predicted = self._predicted(lambda features: predict_numbers(features, target.train))
        own = self.inputs.heads
        return TaskAudit(
            sides=self._sides(predicted, own, figures, change), head=self._head(own, figures, change, None)
        )

    def _predicted(self, predict: Callable[[Features], P]) -> dict[Side, P]:
        return {side: predict(features) for side, features in self.inputs.sides.items()}

    @staticmethod
    def _sides(
        predicted: Mapping[Side, P],
        heads: Mapping[Side, P],
        figures: Callable[[P, P | None], AnyTask],
        change: Callable[[P, P], TaskChange],
    ) -> TaskSides:
        sides = {side: figures(found, heads.get(side)) for side, found in predicted.items()}
        paired = "before" in predicted and "after" in predicted
        return TaskSides.of(sides, change(predicted["before"], predicted["after"]) if paired else None)

    def _fairness(
        self, predicted: Mapping[Side, P], figures: Callable[[P, AuditedAttribute], Judged]
    ) -> dict[str, FairnessSides]:
        return {
            a.name: _fairness_sides({side: figures(found, a) for side, found in predicted.items()})
            for a in self.inputs.attributes
        }

    def _head(
        self,
        own: Mapping[Side, P],
        figures: Callable[[P, P | None], AnyTask],
        change: Callable[[P, P], TaskChange],
        fairness: Callable[[P, AuditedAttribute], Judged] | None,
        impact: Callable[[Mapping[Side, P]], dict[str, Sides[ImpactFindings]]] | None = None,
    ) -> HeadFindings | None:
        """The same figures of what the trained heads predict; None where the audited extractor came without one."""
        if "after" not in own:
            return None
        return HeadFindings(
            task=self._sides(own, {}, figures, change),
            fairness={} if fairness is None else self._fairness(own, fairness),
            impact={} if impact is None else impact(own),
        )

    def _impact(self, predicted: Mapping[Side, Predictions]) -> dict[str, Sides[ImpactFindings]]:
        """Of every attribute and every crossing; empty where the target is no decision between two classes."""
        if len(self.inputs.class_names) != 2:
            return {}
        by_name = {attribute.name: attribute for attribute in self.inputs.attributes}
        asked = [(name,) for name in by_name] + list(chosen_crossings(list(by_name), self.crossings))

        def found(names: Sequence[str], predictions: Predictions) -> ImpactFindings:
            return impact_findings(
                predictions.classes == 1, [by_name[name] for name in names], self.channels,
                positive_class=self.inputs.class_names[1], terms=self.terms,
            )  # fmt: skip

        return {
            impact_name(names): Sides[ImpactFindings].of({side: found(names, p) for side, p in predicted.items()})
            for names in asked
        }

    def _intersections(
        self, y: np.ndarray, names: Sequence[str], predicted: Mapping[Side, P], right: Callable[[P], np.ndarray]
    ) -> tuple[Intersection, ...]:
        # crossings count who is predicted right, on every side
        correct = {side: right(found) for side, found in predicted.items()}
        by_name = {attribute.name: attribute for attribute in self.inputs.attributes}
        return tuple(
            intersection([by_name[name] for name in crossed], self.channels, y, correct, names, self.terms)
            for crossed in chosen_crossings(list(by_name), self.crossings)
        )


def _fairness_sides(judged: Mapping[Side, Judged]) -> FairnessSides:
    change = fairness_change(judged["before"], judged["after"]) if "before" in judged else None
    return FairnessSides.of({side: found.findings for side, found in judged.items()}, change=change)
