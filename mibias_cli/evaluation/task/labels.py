"""Figures of a target of several labels: over labels and label by label, by group, and how groups are treated."""

from __future__ import annotations

import itertools

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget
from mibias_cli.evaluation.statistics.ranking import auroc, auroc_draws
from mibias_cli.evaluation.task.calibration import calibration_bounds, calibration_error
from mibias_cli.evaluation.task.fairness import FINDINGS, Fairness, fairness_findings, worst_values
from mibias_cli.evaluation.task.groups import adjusted_accuracy, balanced_accuracy, group_rows, worst_accuracy
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import FairnessFindings, LabelFigures, LabelFindings

__all__ = ["label_fairness", "label_findings"]


def label_findings(
    probabilities: np.ndarray, target: AuditedTarget, head_predicted: np.ndarray | None, terms: Terms
) -> LabelFindings:
    """Every figure of labels' probabilities (n, k): accuracies, AUROC and calibration error are means over labels.

    A cell is one label in one group of an attribute; `exact_match` is the share of samples whose labels are all right.
    """
    y, predicted = target.audit.astype(np.int64), (probabilities > 0.5).astype(np.int64)
    correct = predicted == y
    # each label is a binary task of its own
    labels = {name: _figures(probabilities[:, k], predicted[:, k], y[:, k]) for k, name in enumerate(target.names)}
    # a cell is one label in one group, so there is one class, the label itself
    everyone = np.zeros(len(correct), dtype=np.int64)
    rows = tuple(
        row
        for attribute in terms.attributes
        for k, name in enumerate(target.names)
        for row in group_rows(correct[:, k], everyone, attribute, (name,), terms)
    )
    # one set of resamples for both averages: labels right on average, and all labels right
    draws = terms.resamples.means(np.stack([correct.mean(axis=1), correct.all(axis=1)], axis=1))
    adjusted = {a.name: found for a in terms.attributes if (found := _adjusted(correct, y, a)) is not None}
    worst, accuracy = worst_accuracy(row for row in rows if row.counted), float(correct.mean())
    # a label that is always on or always off ranks nothing
    ranked = [figures.auroc for figures in labels.values() if figures.auroc is not None]
    each = [(np.stack([1 - p, p], axis=1), truth) for p, truth in zip(probabilities.T, y.T, strict=True)]
    errors = [calibration_error(p, truth) for p, truth in each]
    drawn = [resampled for p, truth in each if (resampled := auroc_draws(p, truth, terms.resamples)) is not None]
    area = float(np.mean(ranked)) if ranked else None
    return LabelFindings(
        accuracy=terms.interval(accuracy, draws[:, 0]),
        balanced_accuracy=float(np.mean([figures.balanced_accuracy for figures in labels.values()])),
        worst_group_accuracy=worst,
        groups=rows,
        head_accuracy=None if head_predicted is None else float((head_predicted == y).mean()),
        gap=None if worst is None else accuracy - worst,
        adjusted_accuracy=min(adjusted.values(), default=None),
        adjusted_accuracies=adjusted,
        auroc=area,
        auroc_interval=terms.bounds(area, np.mean(drawn, axis=0) if drawn else None),
        calibration_error=float(np.mean(errors)),
        calibration_error_interval=calibration_bounds(each, terms),
        class_names=target.names,
        exact_match=terms.interval(float(correct.all(axis=1).mean()), draws[:, 1]),
        labels=labels,
    )


def _figures(probability: np.ndarray, predicted: np.ndarray, y: np.ndarray) -> LabelFigures:
    return LabelFigures(
        accuracy=float((predicted == y).mean()),
        balanced_accuracy=balanced_accuracy(y, predicted),
        auroc=auroc(np.stack([1 - probability, probability], axis=1), y),
        prevalence=float(y.mean()),
    )


def _adjusted(correct: np.ndarray, y: np.ndarray, attribute: AuditedAttribute) -> float | None:
    """Mean over labels of the accuracy as if label and attribute were independent."""
    found = [adjusted_accuracy(correct[:, k], y[:, k], attribute, n_y=2) for k in range(y.shape[1])]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def label_fairness(
    probabilities: np.ndarray, target: AuditedTarget, attribute: AuditedAttribute, *, min_cell: int
) -> Fairness:
    """Fairness of one attribute, label by label, where 1 is the positive class; a figure is the worst label's."""
    y, train_y = target.audit.astype(np.int64), target.train.astype(np.int64)
    each = (
        fairness_findings(
            (probabilities[:, k] > 0.5).astype(np.int64), y[:, k], train_y[:, k], attribute, class_names=("0", "1"),
            min_cell=min_cell,
        )
        for k in range(y.shape[1])
    )  # fmt: skip
    found, questions, amplified = zip(*each, strict=True)
    by_figure = {name: [getattr(label, name) for label in found] for name in FINDINGS}
    left_out = found[0].groups_left_out
    worst = FairnessFindings(positive_class=None, groups_left_out=left_out, **worst_values(by_figure))
    return worst, list(itertools.chain(*questions)), list(itertools.chain(*amplified))
