"""Checks of tables as data sets distribute them: ids that must not repeat, codes that are put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.errors import DataError

__all__ = ["in_words", "refuse_repeats"]


def refuse_repeats(table: Table, column: str) -> None:
    """Raise a `DataError` if a value of the column occurs in more than one row."""
    repeated = [str(value) for value, n in Counter(table.columns[column]).items() if n > 1]
    if repeated:
        raise DataError(
            f"{table.path}: {len(repeated)} value(s) of {column!r} occur more than once: {first_rows(repeated)}"
        )


def in_words(table: Table, column: str, words: Mapping[str, str]) -> list[str]:
    """A column's codes as words, so that reports say what they mean; any other value is a `DataError`."""
    values = table.columns[column]
    wrong = [f"row {n} ({v!r})" for n, v in zip(table.row_numbers, values, strict=True) if v not in words]
    if wrong:
        allowed = ", ".join(words)
        raise DataError(f"{table.path}: {len(wrong)} value(s) of {column!r} are none of {allowed}: {first_rows(wrong)}")
    return [words[v] for v in values]
