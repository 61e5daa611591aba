"""Crossings of attributes: accuracy in the cells of the target and several attributes at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.leakage_findings import SIDES, Side
from mibias_cli.evaluation.task.groups import worst_accuracy
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import CellAccuracy, CrossingRow, Intersection, WorstGroup

__all__ = ["MAX_ALL_PAIRS", "chosen_crossings", "intersection"]

MAX_ALL_PAIRS = 4
"""Up to so many attributes every pair is crossed unless the settings name crossings."""


def chosen_crossings(names: Sequence[str], wanted: Sequence[Sequence[str]] | None) -> tuple[tuple[str, ...], ...]:
    """Which attributes are crossed: what is wanted, or every pair where there are few attributes.

    Example:
        >>> chosen_crossings(["sex", "age"], None)
        (('sex', 'age'),)
    """
    if wanted is not None:
        return tuple(tuple(crossing) for crossing in wanted)
    return tuple(itertools.combinations(names, 2)) if len(names) <= MAX_ALL_PAIRS else ()


def intersection(
    attributes: Sequence[AuditedAttribute],
    channels: Mapping[str, str],
    y: np.ndarray,
    correct: Mapping[Side, np.ndarray],
    class_names: Sequence[str],
    terms: Terms,
) -> Intersection:
    """The cells in which these attributes and the target cross; rows where one is unknown belong to none.

    Overlooked groups hide in crossings: accuracy may be even over sex and over age and fail old women. Cells that are
    empty are not listed; those that are too small to count are. y and, by side, whether each sample is predicted right
    are (n,); `channels` holds one channel by attribute.
    """
    picked = [a.channels.index(channels[a.name]) for a in attributes]
    # a cell is one combination of target and attributes that occurs
    codes = np.stack([y, *(a.c[:, k] for a, k in zip(attributes, picked, strict=True))], axis=1)
    known = np.logical_and.reduce([a.known for a in attributes])
    cells, member = np.unique(codes[known], axis=0, return_inverse=True)
    member = member.reshape(-1)
    rows = []
    for index, cell in enumerate(cells):
        inside = np.flatnonzero(known)[member == index]
        rows_of = np.zeros(len(y), dtype=bool)
        rows_of[inside] = True
        found = {side: _accuracy(right, rows_of, terms) for side, right in correct.items()}
        c = tuple(a.class_names[k][v] for a, k, v in zip(attributes, picked, cell[1:], strict=True))
        n = len(inside)
        rows.append(CrossingRow.of(found, y=class_names[cell[0]], c=c, n=n, counted=terms.counts(n)))
    worst = {side: worst_accuracy(row.at(side) for row in rows if row.counted) for side in SIDES}
    return Intersection(
        attributes=tuple(a.name for a in attributes),
        channels=tuple(channels[a.name] for a in attributes),
        worst_group_accuracy=WorstGroup(**worst),
        cells=tuple(rows),
    )


def _accuracy(correct: np.ndarray, rows: np.ndarray, terms: Terms) -> CellAccuracy:
    lower, upper = terms.share_bounds(correct, rows)
    return CellAccuracy(accuracy=float(correct[rows].mean()), lower=lower, upper=upper)
