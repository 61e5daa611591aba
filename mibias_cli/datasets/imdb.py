"""People that a table lists, each with an image, an age and a sex, as the IMDB faces have them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import Table, first_rows, read_table, require_columns
from mibias_cli.datasets.faces import OLDEST, People
from mibias_cli.errors import DataError

__all__ = ["PeopleColumns", "read_people"]

_FEMALE, _MALE = ("female", "f", "woman", "w"), ("male", "m", "man")


@dataclass(frozen=True, kw_only=True)
class PeopleColumns:
    """Columns of a manifest of people.

    Args:
        path, age, sex: Columns for the image, the age in years, the sex.
        identity: A column that says who it is, or None.
        female: The value of sex that means female; every other one means male. None: female, f, woman, w against male,
            m, man, whatever their case. (In IMDB-WIKI's own coding 0 is female.)
    """

    path: str = "path"
    age: str = "age"
    sex: str = "sex"
    identity: str | None = None
    female: str | None = None


def read_people(path: Path, columns: PeopleColumns, *, root: Path | None = None) -> People:
    """The people of a CSV or Parquet manifest, images below a root; rows without image, age or sex are listed instead.

    Raises:
        DataError: Columns are missing, a sex is none of these, or no row is left.
    """
    table = read_table(path)
    named = {"path": columns.path, "age": columns.age, "sex": columns.sex, "identity": columns.identity}
    require_columns(table, {f"--{role}-column": name for role, name in named.items() if name is not None})
    folder = root or path.parent
    sexes = _sexes(table, columns.sex, columns.female)
    ages = [_age(value) for value in table.columns[columns.age]]
    faults = {row: fault for row, age in enumerate(ages) if (fault := _fault(table, row, age, columns, folder))}
    kept = [row for row in range(len(table)) if row not in faults]
    listed = tuple(f"row {table.row_numbers[row]} ({fault})" for row, fault in faults.items())
    if not kept:
        raise DataError(f"{path}: no row has an image below {folder}, an age and a sex: {first_rows(listed)}")
    return People(
        path=[str(v) for v in table.columns[columns.path][kept]],
        age=np.array([ages[row] for row in kept], dtype=np.int64),
        female=np.array([sexes[v] for v in table.columns[columns.sex][kept]]),
        identity=None if columns.identity is None else table.columns[columns.identity][kept].astype(str),
        faults=listed,
    )


def _fault(table: Table, row: int, age: int | None, columns: PeopleColumns, folder: Path) -> str:
    """What keeps a row from being used, or an empty text."""
    for column in filter(None, (columns.path, columns.sex, columns.identity)):
        if table.columns[column][row] is None:
            return f"no {column}"
    if age is None:
        return f"{columns.age} is {table.columns[columns.age][row]!r}"
    image = table.columns[columns.path][row]
    return "" if (folder / image).is_file() else f"no file {image}"


def _age(value: str | None) -> int | None:
    """Whole years, rounded down, or None where there is no age that a person can have."""
    try:
        years = float(value) if value is not None else math.nan
    except ValueError:
        return None
    # IMDB-WIKI's ages come from wrong dates at times: negative, or of several hundred years
    return math.floor(years) if 0 <= years <= OLDEST else None


def _sexes(table: Table, column: str, female: str | None) -> dict[str | None, bool]:
    """Whether each value of the column means female."""
    values = {v for v in table.columns[column] if v is not None}
    if female is not None:
        if female not in values:
            shown = first_rows(sorted(repr(v) for v in values))
            raise DataError(f"{table.path}: no row has {female!r} (--female) in {column!r}; it holds {shown}")
        return {value: value == female for value in values}
    # without --female only words are understood: 0 and 1 mean different things in different tables
    known = {value: value.lower() in _FEMALE for value in values if value.lower() in _FEMALE + _MALE}
    unknown = sorted(repr(value) for value in values - set(known))
    if unknown:
        raise DataError(
            f"{table.path}: {column!r} holds {first_rows(unknown)}; name the value that means female with --female"
        )
    return dict(known)
