"""Task figures: accuracy overall, by class and by (y, c) cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.evaluation.audit_types import AuditedAttribute, GroupRow, TaskFindings
from mibias_cli.evaluation.resampling import Resamples, bootstrap_interval, wilson_interval

__all__ = ["balanced_accuracy", "group_rows", "task_findings", "worst_group_accuracy"]


def balanced_accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their samples that are predicted right.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
        0.5
    """
    return float(np.mean([(predicted[y == k] == k).mean() for k in np.unique(y)]))


def group_rows(
    correct: np.ndarray,
    y: np.ndarray,
    attribute: AuditedAttribute,
    *,
    class_names: Sequence[str],
    min_cell: int,
    confidence: float,
) -> tuple[GroupRow, ...]:
    """One row per (y, c) cell and channel, empty cells included, with Wilson intervals.

    Args:
        correct: (n,) bool, whether each audited sample is predicted right.
        y: Targets (n,).
        attribute: The attribute; rows where it is unknown belong to no cell.
        class_names: Of the target.
        min_cell: Cells with fewer samples are shown, but `counted` is False.
        confidence: Of the intervals.
    """
    rows = []
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        for y_index, y_name in enumerate(class_names):
            for c_index, c_name in enumerate(names):
                cell = attribute.known & (y == y_index) & (c == c_index)
                n, hits = int(cell.sum()), int(correct[cell].sum())
                lower, upper = wilson_interval(hits, n, confidence) if n else (None, None)
                rows.append(
                    GroupRow(
                        attribute=attribute.name, channel=channel, y=y_name, c=c_name, n=n,
                        accuracy=hits / n if n else None, lower=lower, upper=upper, counted=n > 0 and n >= min_cell,
                    )
                )  # fmt: skip
    return tuple(rows)


def worst_group_accuracy(rows: Sequence[GroupRow]) -> float | None:
    """The least accuracy among cells that are large enough to count, or None where none is."""
    return min((row.accuracy for row in rows if row.counted and row.accuracy is not None), default=None)


def task_findings(
    predicted: np.ndarray,
    y: np.ndarray,
    attributes: Sequence[AuditedAttribute],
    *,
    class_names: Sequence[str],
    head_predicted: np.ndarray | None,
    resamples: Resamples,
    min_cell: int,
    confidence: float,
) -> TaskFindings:
    """Every task figure of one set of predictions (n,) for the audited samples."""
    correct = predicted == y
    rows = tuple(
        row
        for attribute in attributes
        for row in group_rows(correct, y, attribute, class_names=class_names, min_cell=min_cell, confidence=confidence)
    )
    draws = resamples.means(correct.astype(np.float64)[:, None])[:, 0]
    return TaskFindings(
        accuracy=bootstrap_interval(float(correct.mean()), draws, confidence),
        balanced_accuracy=balanced_accuracy(y, predicted),
        worst_group_accuracy=worst_group_accuracy(rows),
        groups=rows,
        head_accuracy=None if head_predicted is None else float((head_predicted == y).mean()),
    )
