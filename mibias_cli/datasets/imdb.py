"""People that a table lists, each with an image, an age and a sex, as the IMDB faces have them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import Table, first_rows, read_table, require_columns
from mibias_cli.datasets.faces import OLDEST, People
from mibias_cli.errors import DataError

__all__ = ["read_people"]

_FEMALE, _MALE = ("female", "f", "woman", "w"), ("male", "m", "man")


def read_people(
    path: Path,
    *,
    root: Path | None = None,
    path_column: str = "path",
    age_column: str = "age",
    sex_column: str = "sex",
    identity_column: str | None = None,
    female: str | None = None,
) -> People:
    """The people of a CSV or Parquet manifest; rows without an image, an age or a sex are left out, and told.

    Args:
        path: The manifest.
        root: Folder that image paths start from; None: the manifest's own.
        path_column, age_column, sex_column: Its columns; the age in years.
        identity_column: A column that says who it is, or None.
        female: The value that means female; every other one means male. None: female, f, woman, w against male, m,
            man, whatever their case. (In IMDB-WIKI's own coding 0 is female.)

    Raises:
        DataError: Columns are missing, a sex is none of these, or no row is left.
    """
    table = read_table(path)
    wanted = {"--path-column": path_column, "--age-column": age_column, "--sex-column": sex_column}
    wanted |= {} if identity_column is None else {"--identity-column": identity_column}
    require_columns(table, wanted)
    folder = root or path.parent
    sexes = _sexes(table, sex_column, female)
    kept: list[int] = []
    ages: list[int] = []
    faults: list[str] = []
    for row, number in enumerate(table.row_numbers):
        age = _age(table.columns[age_column][row])
        fault = _fault(table, row, age, path_column, age_column, sex_column, identity_column)
        if not fault and not (folder / str(table.columns[path_column][row])).is_file():
            fault = f"no file {table.columns[path_column][row]}"
        if fault or age is None:
            faults.append(f"row {number} ({fault})")
            continue
        kept.append(row)
        ages.append(age)
    if not kept:
        raise DataError(f"{path}: no row has an image below {folder}, an age and a sex: {first_rows(faults)}")
    return People(
        path=[str(v) for v in table.columns[path_column][kept]],
        age=np.array(ages, dtype=np.int64),
        female=np.array([sexes[v] for v in table.columns[sex_column][kept]]),
        identity=None if identity_column is None else table.columns[identity_column][kept].astype(str),
        faults=tuple(faults),
    )


def _fault(
    table: Table, row: int, age: int | None, path_column: str, age_column: str, sex_column: str, identity: str | None
) -> str:
    """What keeps a row from being used, or an empty text."""
    for column in filter(None, (path_column, sex_column, identity)):
        if table.columns[column][row] is None:
            return f"no {column}"
    return f"{age_column} is {table.columns[age_column][row]!r}" if age is None else ""


def _age(value: str | None) -> int | None:
    """Whole years, rounded down, or None where there is no age that a person can have."""
    try:
        years = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return math.floor(years) if 0 <= years <= OLDEST else None


def _sexes(table: Table, column: str, female: str | None) -> dict[str | None, bool]:
    """Whether each value of the column means female."""
    values = {v for v in table.columns[column] if v is not None}
    if female is not None:
        if female not in values:
            shown = first_rows(sorted(repr(v) for v in values))
            raise DataError(f"{table.path}: no row has {female!r} (--female) in {column!r}; it holds {shown}")
        return {value: value == female for value in values}
    known = {value: value.lower() in _FEMALE for value in values if value.lower() in _FEMALE + _MALE}
    unknown = sorted(repr(value) for value in values - set(known))
    if unknown:
        raise DataError(
            f"{table.path}: {column!r} holds {first_rows(unknown)}; name the value that means female with --female"
        )
    return dict(known)
