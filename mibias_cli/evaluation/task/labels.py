"""Figures of a target of several labels: over labels and label by label, by group, and how groups are treated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget
from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.statistics.resampling import Resamples, bootstrap_interval
from mibias_cli.evaluation.task.calibration import auroc, calibration_error
from mibias_cli.evaluation.task.fairness import FIGURES, fairness_findings
from mibias_cli.evaluation.task.groups import (
    adjusted_accuracy,
    balanced_accuracy,
    group_rows,
    worst_group_accuracy,
)
from mibias_cli.evaluation.task_findings import FairnessFindings, GroupRow, LabelFigures, LabelFindings

__all__ = ["label_fairness", "label_findings"]


def label_findings(
    probabilities: np.ndarray,
    target: AuditedTarget,
    attributes: Sequence[AuditedAttribute],
    *,
    head_predicted: np.ndarray | None,
    resamples: Resamples,
    min_cell: int,
    confidence: float,
) -> LabelFindings:
    """Every figure of labels' probabilities (n, k): accuracies, AUROC and calibration error are means over labels.

    A cell is one label in one group of an attribute; `exact_match` is the share of samples whose labels are all right.

    Args:
        probabilities: That each label is on.
        target: Whether it is.
        attributes: The attributes.
        head_predicted: Labels (n, k) by the trained head, or None.
        resamples: Of the audited samples.
        min_cell: Smallest cell that counts.
        confidence: Of the intervals.
    """
    y, predicted = target.audit.astype(np.int64), (probabilities > 0.5).astype(np.int64)
    correct = predicted == y
    # each label is a binary task of its own
    labels = {name: _figures(probabilities[:, k], predicted[:, k], y[:, k]) for k, name in enumerate(target.names)}
    rows = _rows(correct, target, attributes, min_cell, confidence)
    # one set of resamples for both averages: labels right on average, and all labels right
    draws = resamples.means(np.stack([correct.mean(axis=1), correct.all(axis=1)], axis=1))

    def interval(estimate: float, values: np.ndarray) -> Interval:
        return bootstrap_interval(estimate, values, confidence, n_units=resamples.n_units)

    adjusted = {a.name: _adjusted(correct, y, a) for a in attributes}
    known = {name: value for name, value in adjusted.items() if value is not None}
    worst, accuracy = worst_group_accuracy(rows), float(correct.mean())
    # a label that is always on or always off ranks nothing
    ranked = [figures.auroc for figures in labels.values() if figures.auroc is not None]
    errors = [
        calibration_error(np.stack([1 - p, p], axis=1), truth) for p, truth in zip(probabilities.T, y.T, strict=True)
    ]
    return LabelFindings(
        accuracy=interval(accuracy, draws[:, 0]),
        balanced_accuracy=float(np.mean([figures.balanced_accuracy for figures in labels.values()])),
        worst_group_accuracy=worst,
        groups=rows,
        head_accuracy=None if head_predicted is None else float((head_predicted == y).mean()),
        gap=None if worst is None else accuracy - worst,
        adjusted_accuracy=min(known.values(), default=None),
        adjusted_accuracies=known,
        auroc=float(np.mean(ranked)) if ranked else None,
        calibration_error=float(np.mean(errors)),
        class_names=target.names,
        exact_match=interval(float(correct.all(axis=1).mean()), draws[:, 1]),
        labels=labels,
    )


def _figures(probability: np.ndarray, predicted: np.ndarray, y: np.ndarray) -> LabelFigures:
    return LabelFigures(
        accuracy=float((predicted == y).mean()),
        balanced_accuracy=balanced_accuracy(y, predicted),
        auroc=auroc(np.stack([1 - probability, probability], axis=1), y),
        prevalence=float(y.mean()),
    )


def _rows(
    correct: np.ndarray,
    target: AuditedTarget,
    attributes: Sequence[AuditedAttribute],
    min_cell: int,
    confidence: float,
) -> tuple[GroupRow, ...]:
    """One row per label and group, channel by channel."""
    # here a cell is one label in one group, so there is one class, the label itself
    everyone = np.zeros(len(correct), dtype=np.int64)
    return tuple(
        row
        for attribute in attributes
        for k, name in enumerate(target.names)
        for row in group_rows(
            correct[:, k], everyone, attribute, class_names=(name,), min_cell=min_cell, confidence=confidence
        )
    )


def _adjusted(correct: np.ndarray, y: np.ndarray, attribute: AuditedAttribute) -> float | None:
    """Mean over labels of the accuracy as if label and attribute were independent."""
    found = [adjusted_accuracy(correct[:, k], y[:, k], attribute, n_y=2) for k in range(y.shape[1])]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def label_fairness(
    probabilities: np.ndarray, target: AuditedTarget, attribute: AuditedAttribute, *, min_cell: int
) -> FairnessFindings:
    """Fairness of one attribute, of each label by itself, where 1 is the positive class; a figure is the worst label's.

    Args:
        probabilities: (n, k) that each label is on.
        target: Whether it is, on the audited and on the training samples.
        attribute: Whose groups.
        min_cell: Smallest group that counts.
    """
    y, train_y = target.audit.astype(np.int64), target.train.astype(np.int64)
    found = [
        fairness_findings(
            (probabilities[:, k] > 0.5).astype(np.int64), y[:, k], train_y[:, k], attribute, class_names=("0", "1"),
            min_cell=min_cell,
        )
        for k in range(y.shape[1])
    ]  # fmt: skip
    # the worst label speaks for the attribute: largest difference, smallest ratio
    worst: dict[str, float | None] = {}
    for name in (*FIGURES, "bias_amplification"):
        values = [value for value in (getattr(each, name) for each in found) if value is not None]
        worst[name] = (min(values) if name.endswith("ratio") else max(values)) if values else None
    return FairnessFindings(positive_class=None, groups_left_out=found[0].groups_left_out, **worst)
