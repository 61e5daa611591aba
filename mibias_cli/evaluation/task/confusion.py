"""Confusion of the task's predictions, by group of a bias attribute: whom the model takes for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.information import counts_table
from mibias_cli.evaluation.task_findings import Confusion

__all__ = ["MAX_CLASSES", "MAX_GROUPS", "confusions"]

MAX_CLASSES = 20
"""A target of more classes has no confusion in the report: nobody could read it, and it grows with the square."""
MAX_GROUPS = 24


def confusions(
    predicted: np.ndarray, y: np.ndarray, attribute: AuditedAttribute, *, class_names: Sequence[str]
) -> Iterator[Confusion]:
    """Counts of target × prediction for every group of an attribute that occurs, channel by channel.

    Args:
        predicted: Predicted classes (n,).
        y: Targets (n,).
        attribute: The attribute; rows where it is unknown belong to no group.
        class_names: Of the target. None come out where there are more than MAX_CLASSES, or more than MAX_GROUPS groups.
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
