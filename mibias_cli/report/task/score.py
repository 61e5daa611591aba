"""The headline task metric of a report: accuracy, R², or how much of the original features is left."""

from __future__ import annotations

from mibias_cli.data.target import TargetKind
from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import Interval, Side
from mibias_cli.evaluation.record import Real, Record
from mibias_cli.evaluation.task_findings import Accuracies, RegressionFindings
from mibias_cli.report.numbers import format_decimals, format_percent

__all__ = [
    "REFITTED", "Score", "format_score", "has_before", "has_loaded", "headline_figure", "kind_of", "score_title",
    "task_score",
]  # fmt: skip

_NAMES: dict[TargetKind, str] = {
    "classes": "task accuracy",
    "multilabel": "mean accuracy of the labels",
    "regression": "R² of the task",
    "none": "R² of the original features",
}

REFITTED = "refitted head"
"""What a head that the audit fits is called beside one that was trained."""


class Score(Record):
    """The headline task metric of one side; bounds are None where it has no interval."""

    name: str
    estimate: Real
    lower: Real | None = None
    upper: Real | None = None


def kind_of(report: AuditFindings) -> TargetKind:
    """The target's kind: classes, multilabel, regression or none."""
    return "none" if report.task.after is None else report.task.after.kind


def has_before(report: AuditFindings) -> bool:
    """Whether there is an original that the audited extractor is compared with."""
    return report.task.before is not None or any(found.before is not None for found in report.attributes.values())


def has_loaded(report: AuditFindings) -> bool:
    """Whether the weights as they were loaded are a side of their own."""
    return any(found.loaded is not None for found in report.attributes.values())


def headline_figure(task: Accuracies | RegressionFindings) -> Interval:
    """Accuracy, or of numbers R²."""
    return task.r2 if isinstance(task, RegressionFindings) else task.accuracy


def task_score(report: AuditFindings, side: Side) -> Score | None:
    """The headline task metric of one side; without a target, the share of the original features that is left."""
    kind, task = kind_of(report), report.task.at(side)
    if kind == "none":
        # without a target the features themselves are what should survive; the original ones give themselves back whole
        share = report.similarity.original_r2
        return None if share is None else Score(name=_NAMES[kind], estimate=share if side == "after" else 1.0)
    if task is None:
        return None
    figure = headline_figure(task)
    return Score(name=_NAMES[kind], estimate=figure.estimate, lower=figure.lower, upper=figure.upper)


def score_title(report: AuditFindings, score: Score) -> str:
    """What the metric is called in sentences: beside a trained head's own figures, with the head that it is of."""
    return score.name if report.head is None or kind_of(report) == "none" else f"{score.name} ({REFITTED})"


def format_score(report: AuditFindings, side: Side) -> str:
    """The metric as text: accuracies in per cent, R² as a share."""
    score = task_score(report, side)
    written = format_percent if kind_of(report) in ("classes", "multilabel") else format_decimals
    return written(None if score is None else score.estimate)
