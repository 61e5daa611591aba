"""Task figures: accuracy overall, by class, by (y, c) cell, reweighted as if y and c were independent; confusion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.information import counts_table
from mibias_cli.evaluation.statistics.ranking import auroc, auroc_draws
from mibias_cli.evaluation.task.calibration import calibration_bounds, calibration_error
from mibias_cli.evaluation.task.rule import Predictions, Terms
from mibias_cli.evaluation.task_findings import CellAccuracy, Confusion, GroupRow, TaskFindings

__all__ = [
    "MAX_CLASSES", "adjusted_accuracy", "balanced_accuracy", "confusions", "group_rows", "task_findings",
    "worst_accuracy",
]  # fmt: skip

MAX_CLASSES = 20
"""A target of more classes has no confusion in the report: nobody could read it, and it grows with the square."""
MAX_GROUPS = 24


def balanced_accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their samples that are predicted right.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
        0.5
    """
    return float(np.mean([(predicted[y == k] == k).mean() for k in np.unique(y)]))


def adjusted_accuracy(correct: np.ndarray, y: np.ndarray, attribute: AuditedAttribute, *, n_y: int) -> float | None:
    """Accuracy where every (y, c) cell weighs p(y)p(c) in place of p(y, c); of several channels the least.

    A model that follows the bias is right on the many samples that agree with it; this average takes that advantage
    away. Cells that are empty have no accuracy and their weight goes to the others. None where no row is known.
    `correct` and y are (n,).
    """
    known = attribute.known
    if not known.any():
        return None
    values = []
    for names, c in zip(attribute.class_names, attribute.c[known].T, strict=True):
        # how many samples, and how many right ones, each (y, c) cell holds
        table = counts_table(y[known], c, n_y, len(names))
        right = counts_table(y[known][correct[known]], c[correct[known]], n_y, len(names))
        share = table / table.sum()
        # p(y)p(c): as if the attribute told nothing of the target; an empty cell has no accuracy to weigh
        weight = np.where(table > 0, share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True), 0.0)
        values.append(float((weight * right / np.maximum(table, 1)).sum() / weight.sum()))
    return min(values)


def group_rows(
    correct: np.ndarray,
    y: np.ndarray,
    attribute: AuditedAttribute,
    class_names: Sequence[str],
    terms: Terms,
    probabilities: np.ndarray | None = None,
) -> Iterator[GroupRow]:
    """One row per (y, c) cell and channel, empty cells included, with Wilson intervals.

    `correct` and y are (n,); rows where the attribute is unknown belong to no cell. With probabilities (n, K) each cell
    has its calibration error.
    """
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        for y_index, y_name in enumerate(class_names):
            for c_index, c_name in enumerate(names):
                # a row whose attribute is unknown is in no cell
                cell = attribute.known & (y == y_index) & (c == c_index)
                n, hits = int(cell.sum()), int(correct[cell].sum())
                lower, upper = terms.share_bounds(correct, cell) if n else (None, None)
                error = calibration_error(probabilities[cell], y[cell]) if n and probabilities is not None else None
                yield GroupRow(
                    attribute=attribute.name, channel=channel, y=y_name, c=c_name, n=n,
                    accuracy=hits / n if n else None, lower=lower, upper=upper, counted=terms.counts(n),
                    calibration_error=error,
                )  # fmt: skip


def worst_accuracy(cells: Iterable[GroupRow | CellAccuracy | None]) -> float | None:
    """The least accuracy of these cells, or None where none has one."""
    return min((cell.accuracy for cell in cells if cell is not None and cell.accuracy is not None), default=None)


def confusions(
    predicted: np.ndarray, y: np.ndarray, attribute: AuditedAttribute, *, class_names: Sequence[str]
) -> Iterator[Confusion]:
    """Counts of target × prediction for every group of an attribute that occurs, channel by channel.

    None come out where there are more than `MAX_CLASSES` classes, or more than `MAX_GROUPS` groups.
    """
    n_y = len(class_names)
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        if n_y > MAX_CLASSES or len(names) > MAX_GROUPS:
            continue
        for index, name in enumerate(names):
            rows = attribute.known & (c == index)
            if rows.any():
                # rows are the truth, columns what is predicted
                counts = counts_table(y[rows], predicted[rows], n_y, n_y)
                table = tuple(tuple(int(n) for n in line) for line in counts)
                yield Confusion(attribute=attribute.name, channel=channel, c=name, n=int(rows.sum()), counts=table)


def task_findings(
    predictions: Predictions, y: np.ndarray, class_names: Sequence[str], head_predicted: np.ndarray | None, terms: Terms
) -> TaskFindings:
    """Every task figure of one set of predictions for the audited samples."""
    predicted, probabilities = predictions.classes, predictions.probabilities
    correct = predicted == y
    attributes = terms.attributes
    rows = tuple(row for a in attributes for row in group_rows(correct, y, a, class_names, terms, probabilities))
    # averages that a model cannot win by following the bias
    weighted = {a.name: adjusted_accuracy(correct, y, a, n_y=len(class_names)) for a in attributes}
    adjusted = {name: value for name, value in weighted.items() if value is not None}
    draws = terms.resamples.means(correct.astype(np.float64)[:, None])[:, 0]
    worst, ranked = worst_accuracy(row for row in rows if row.counted), auroc(probabilities, y)
    return TaskFindings(
        accuracy=terms.interval(float(correct.mean()), draws),
        balanced_accuracy=balanced_accuracy(y, predicted),
        worst_group_accuracy=worst,
        groups=rows,
        head_accuracy=None if head_predicted is None else float((head_predicted == y).mean()),
        gap=None if worst is None else float(correct.mean()) - worst,
        adjusted_accuracy=min(adjusted.values(), default=None),
        adjusted_accuracies=adjusted,
        auroc=ranked,
        auroc_interval=terms.bounds(ranked, auroc_draws(probabilities, y, terms.resamples)),
        calibration_error=calibration_error(probabilities, y),
        calibration_error_interval=calibration_bounds([(probabilities, y)], terms),
        class_names=tuple(class_names),
        confusions=tuple(row for a in attributes for row in confusions(predicted, y, a, class_names=class_names)),
    )
