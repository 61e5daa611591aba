"""Which training rows a column marks to be forgotten."""

from __future__ import annotations

import numpy as np

from mibias_cli.data.files.tabular import Table
from mibias_cli.data.spelling import yes_or_no
from mibias_cli.errors import DataError

__all__ = ["kept_in_training", "marked_rows"]


def marked_rows(table: Table, column: str, role: np.ndarray | None) -> np.ndarray:
    """The rows (n,) bool whose cell says yes, true or 1; those that say no, and empty cells, are not marked.

    Args:
        role: Split of each row by its number, 0 for training, as the table gives it; None: splits are still to be
            drawn.

    Raises:
        DataError: A cell says neither, no row is marked, or a marked row is no training row.
    """
    cells = table.coded(column)
    meant = {value: yes_or_no(value) for value in cells.counts}
    wrong = cells.where(lambda value: value is not None and meant[value] is None)
    if wrong.any():
        raise DataError(
            f"{table.path}: {column!r} (data.columns.forget) marks rows by yes and no, true and false, or 1 and 0, but "
            f"rows {table.rows_where(wrong, column)} say neither; data.values reads them as one of these"
        )
    marked = cells.where(lambda value: value is not None and meant[value] is True)
    if not marked.any():
        raise DataError(
            f"{table.path}: no row is marked in {column!r} (data.columns.forget): write yes in those that the model is "
            "to forget"
        )
    elsewhere = marked & (role != 0) if role is not None else np.zeros(len(marked), dtype=bool)
    if elsewhere.any():
        raise DataError(
            f"{table.path}: {column!r} (data.columns.forget) marks {elsewhere.sum()} row(s) that validate or are "
            f"audited: rows {table.rows_where(elsewhere)}; only training rows can be forgotten, so take the mark off "
            "or put them into the training split"
        )
    return marked


def kept_in_training(role: np.ndarray, forget: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, str | None]:
    """Roles (n,) in which marked rows that a draw had put elsewhere train, with their whole group; and what was done.

    Example:
        >>> kept_in_training(np.array([0, 1, 2, 2]), np.array([True, False, True, False]), None)[0].tolist()
        [0, 1, 0, 2]
    """
    moves = forget if group is None else np.isin(group, group[forget])
    n = int((moves & (role != 0)).sum())
    if not n:
        return role, None
    return np.where(moves, 0, role), (
        f"{n} row(s) that were drawn to validate or to be audited train instead: they are to be forgotten, or of the "
        "group of one that is. A model that was trained on this draw without the marks has never seen them"
    )
