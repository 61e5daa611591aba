"""Tables of text: CSV or Parquet into columns, with row numbers as the user sees them; and columns into a CSV."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mibias_cli.errors import DataError, did_you_mean

__all__ = [
    "PARQUET",
    "Table",
    "first_rows",
    "in_words",
    "read_table",
    "refuse_existing",
    "refuse_repeats",
    "require_columns",
    "texts",
    "write_manifest",
]

PARQUET = (".parquet", ".pq")
"""Suffixes of Parquet files."""
_MISSING = {"", "null", "nan"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of text.

    Args:
        path: The file, for errors.
        columns: By name, (n,) arrays of str, or None where the value is missing (empty, null or NaN).
        row_numbers: The row of each record in the file: in a CSV the header is row 1; in Parquet the first record is.
        text: Columns that the file itself declares to be no numbers (Parquet only).
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    row_numbers: np.ndarray
    text: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.row_numbers)

    def take(self, positions: np.ndarray) -> Table:
        """The records at these positions (or where a mask is True)."""
        columns = {name: values[positions] for name, values in self.columns.items()}
        return replace(self, columns=columns, row_numbers=self.row_numbers[positions])

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> Table:
        """The table with these columns added, or put in the place of those of the same names."""
        return replace(self, columns={**self.columns, **columns})

    def rows_where(self, mask: np.ndarray, column: str | None = None) -> str:
        """For an error: the numbers of the first rows where a mask (n,) is True, with a column's values there."""
        numbers = self.row_numbers[mask]
        if column is None:
            return first_rows(numbers)
        return first_rows([f"{n} ({v!r})" for n, v in zip(numbers, self.columns[column][mask], strict=True)])

    def complete(self, column: str, what: str, remedy: str) -> np.ndarray:
        """A column's values, where every row has one; else a `DataError` that names the rows and says what to do."""
        values = self.columns[column]
        empty = np.array([v is None for v in values])
        if empty.any():
            rows = self.rows_where(empty)
            raise DataError(f"{self.path}: {empty.sum()} row(s) have no {what} in {column!r}: rows {rows}; {remedy}")
        return values


def read_table(path: Path, *, leave_out: Callable[[str], bool] | None = None) -> Table:
    """A CSV (.tsv: tab-separated; gzipped or not) or Parquet file (without columns whose name `leave_out` accepts).

    CSV goes through Python's own reader and not pyarrow's, because it knows the line on which every record ends: row
    numbers are right even after blank lines. A record whose cells hold line breaks is named by its last line.

    Raises:
        DataError: No such file, no records, repeated column names, ragged rows, or not the format it claims to be.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    table = _read_parquet(path, leave_out) if path.suffix.lower() in PARQUET else _read_csv(path)
    if not len(table):
        raise DataError(f"{path}: has a header but no records")
    return table


def require_columns(table: Table, wanted: Mapping[str, str]) -> None:
    """Raise one error that names every missing column, by what each is for, as the recipe calls it."""
    missing = [
        f"  {purpose}: no column {name!r}{did_you_mean(name, table.columns)}"
        for purpose, name in wanted.items()
        if name not in table.columns
    ]
    if missing:
        listed = ", ".join(repr(name) for name in table.columns)
        raise DataError("\n".join([f"{table.path}: {len(missing)} missing column(s)", *missing, f"  it has: {listed}"]))


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


def first_rows(items: Sequence[str] | Sequence[int] | np.ndarray, n: int = 5) -> str:
    """The first few items, and how many more there are.

    Example:
        >>> first_rows([2, 3, 5, 8, 13, 21, 34])
        '2, 3, 5, 8, 13 and 2 more'
    """
    shown = ", ".join(str(item) for item in items[:n])
    return shown if len(items) <= n else f"{shown} and {len(items) - n} more"


def texts(values: Sequence[str | None]) -> np.ndarray:
    """Text, and None where it is missing, as an object array (n,)."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _read_csv(path: Path) -> Table:
    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":  # gzip, whatever the file's name is
            raw = gzip.decompress(raw)
        # -sig: Excel puts a byte order mark before the first column's name
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: the gzip stream is broken ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8, or as .parquet") from error
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    row_numbers: list[int] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for record in reader:
            if record:  # a blank line is no record, but it counts as a line
                records.append(record)
                row_numbers.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: {error}") from error
    _check_header(path, header)
    # one error names all ragged rows, not the first alone
    ragged = [number for record, number in zip(records, row_numbers, strict=True) if len(record) != len(header)]
    if ragged:
        raise DataError(
            f"{path}: {len(ragged)} row(s) do not have the header's {len(header)} cells: rows {first_rows(ragged)}"
        )
    by_column = zip(*records, strict=True) if records else ([] for _ in header)
    columns = {name: _cleaned(cells) for name, cells in zip(header, by_column, strict=True)}
    return Table(path=path, columns=columns, row_numbers=np.asarray(row_numbers, dtype=np.int64))


def _read_parquet(path: Path, leave_out: Callable[[str], bool] | None) -> Table:
    try:
        names = pq.read_schema(path).names
        wanted = [name for name in names if leave_out is None or not leave_out(name)]
        table = pq.read_table(path, columns=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    _check_header(path, names)
    columns = {name: _cleaned(_plain(v) for v in table.column(name).to_pylist()) for name in wanted}
    types = {name: table.schema.field(name).type for name in wanted}
    # "01" in a column of strings is a name (a post code, say), not the number 1
    text = frozenset(n for n, t in types.items() if not (pa.types.is_integer(t) or pa.types.is_floating(t)))
    return Table(path=path, columns=columns, row_numbers=np.arange(1, table.num_rows + 1), text=text)


def _plain(value: object) -> str | None:
    """A Parquet value as text; 1.0 as 1, because a whole number beside a missing value is stored as a float."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _cleaned(values: Iterable[str | None]) -> np.ndarray:
    """An object array of stripped text, None where missing."""
    stripped = [None if v is None else v.strip() for v in values]
    return texts([None if v is None or v.lower() in _MISSING else v for v in stripped])


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path}: is empty; its first row should name the columns")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: column name(s) appear twice: {first_rows(repeated)}")


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise a `DataError` if any of the files exists."""
    existing = [str(path) for path in paths if path.exists()]
    if existing:
        raise DataError(f"{', '.join(existing)}: exists already; choose another --out, or pass --overwrite")


def write_manifest(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write columns of equal length, the whole file or none of it; one that exists is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # renamed when it is whole: an interrupted run leaves no half manifest under the name
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    os.replace(unfinished, path)
