"""Tables of text: files into columns, with row numbers as the user sees them; and columns into a CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from mibias_cli.data.files.arrow_files import PARQUET, TYPED, encoded, is_numeric, is_text, read_typed
from mibias_cli.data.files.cells import without_zeros, written_list
from mibias_cli.data.files.coded import Coded, CodedColumns, texts
from mibias_cli.data.files.packed import PackedTexts, is_large
from mibias_cli.data.files.refused import refuse_formats, require_file
from mibias_cli.data.files.text_files import (
    LOOKED_AT,
    are_numbers,
    is_header,
    read_records,
    refuse_blanks,
    refuse_quotes,
    without_empty_ends,
)
from mibias_cli.data.files.value_map import ValueMap, map_cells
from mibias_cli.errors import DataError, did_you_mean
from mibias_cli.output.whole_files import replaced

__all__ = [
    "AS_USUAL", "MISSING", "Reading", "Table", "as_text", "first_rows", "in_words", "read_table", "refuse_existing",
    "refuse_nested", "refuse_repeats", "refuse_unmapped", "require_columns", "texts", "with_cells", "write_manifest",
]  # fmt: skip

_ARRAYS = (".safetensors", ".npz", ".npy")
MISSING = (
    *("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "Nan"),
    *("None", "null", "NULL", "Null", "-", "?"),
)
"""What is written for a missing value, beside empty cells and nulls. `none` may be a category, as in German credit."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How tables are read.

    Args:
        encoding: Of their text.
        missing: What is written in a cell for a missing value.
        values: By column, new values in place of those that are written (`map_cells`).
    """

    encoding: str = "utf-8"
    missing: tuple[str, ...] = MISSING
    values: Mapping[str, ValueMap] = field(default_factory=dict)


AS_USUAL = Reading()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of text.

    Args:
        path: The file, for errors.
        columns: By name, (n,) arrays of str, or None where the value is missing (empty, null or NaN).
        row_numbers: The row of each record in the file: in a CSV the header is row 1; in Parquet the first record is.
            In shards, the sample's name.
        text: Columns that the file itself declares to be no numbers (Parquet and its like only).
        nested: Columns that were not read, because they hold no single value per row, with their types.
        notes: How the file was read, where its name does not say so.
        unmapped: What `Reading.values` names and the table does not have, as column and value.
        packed: Columns of a large table that are not in `columns`, each in little more memory than its letters.
        unread: Names of columns of a large table that nobody asked for.
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    row_numbers: np.ndarray
    text: frozenset[str] = frozenset()
    nested: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unmapped: tuple[tuple[str, str], ...] = ()
    packed: Mapping[str, PackedTexts] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row_numbers)

    def take(self, positions: np.ndarray) -> Table:
        """The records at these positions (or where a mask is True)."""
        columns = CodedColumns({name: self.coded(name).take(positions) for name in self.columns})
        packed = {name: values.take(positions) for name, values in self.packed.items()}
        return replace(self, columns=columns, packed=packed, row_numbers=self.row_numbers[positions])

    def coded(self, column: str) -> Coded:
        """A column as its different values, and which of them each row has."""
        columns = self.columns
        return columns.coded[column] if isinstance(columns, CodedColumns) else Coded.of(columns[column])

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> Table:
        """The table with these columns added, or put in the place of those of the same names."""
        if isinstance(self.columns, CodedColumns):
            new = {name: Coded.of(values) for name, values in columns.items()}
            return replace(self, columns=CodedColumns({**self.columns.coded, **new}))
        return replace(self, columns={**self.columns, **columns})

    def rows_where(self, mask: np.ndarray, column: str | None = None) -> str:
        """For an error: the numbers of the first rows where a mask (n,) is True, with a column's values there."""
        numbers = self.row_numbers[mask]
        if column is None:
            return first_rows(numbers)
        return first_rows([f"{n} ({v!r})" for n, v in zip(numbers, self.columns[column][mask], strict=True)])

    def complete(self, column: str, what: str, remedy: str) -> Coded:
        """A column where every row has a value; else a `DataError` that names the rows and says what to do."""
        values = self.coded(column)
        empty = ~values.known
        if empty.any():
            rows = self.rows_where(empty)
            raise DataError(f"{self.path}: {empty.sum()} row(s) have no {what} in {column!r}: rows {rows}; {remedy}")
        return values


def read_table(
    path: Path,
    *,
    leave_out: Callable[[str], bool] | None = None,
    reading: Reading = AS_USUAL,
    needed: Collection[str] | None = None,
    packed: str | None = None,
) -> Table:
    """A table from CSV (gzipped or not), Parquet, Feather, Arrow or JSON lines.

    In text the delimiter is found: commas (in .tsv tabs), semicolons, tabs or bars.

    Args:
        path: The file.
        leave_out: Columns of typed files that are not read are those whose name it accepts.
        reading: How it is read.
        needed: The columns that are read of a large table, whose file has types; None: all.
        packed: A column that is packed where the table is large and the column holds text.

    Raises:
        DataError: No such file, no records, repeated column names, ragged rows, or not the format it claims to be.
    """
    require_file(path)
    refuse_formats(path)
    suffix = path.suffix.lower()
    if suffix in _ARRAYS:
        raise DataError(f"{path}: holds arrays, and is no table; read it by data.source: embeddings")
    if suffix in TYPED:
        table = _read_typed(path, leave_out, reading, needed, packed)
    else:
        table = _read_text(path, reading, packed)
    if not len(table):
        raise DataError(f"{path}: has a header but no records")
    return table


def require_columns(table: Table, wanted: Mapping[str, str]) -> None:
    """Raise one error that names every missing column, by what each is for, as the recipe calls it."""
    there = (*table.columns, *table.packed)
    missing = [f"  {purpose}: {_absence(table, name)}" for purpose, name in wanted.items() if name not in there]
    if missing:
        listed = ", ".join(repr(name) for name in (*there, *table.unread))
        raise DataError("\n".join([f"{table.path}: {len(missing)} missing column(s)", *missing, f"  it has: {listed}"]))


def _absence(table: Table, name: str) -> str:
    if name in table.nested:
        others = (
            "embeddings are named by data.key, and lists of labels are lists of texts, or texts with bars between: A|B"
        )
        return f"{name!r} holds {table.nested[name]}, not one value per row; {others}"
    return f"no column {name!r}{did_you_mean(name, (*table.columns, *table.packed, *table.unread))}"


def refuse_nested(table: Table) -> None:
    """Raise a `DataError` that names the columns without a single value per row: as text, they would be categories."""
    if table.nested:
        stored = "" if table.path.suffix.lower() in PARQUET or table.path.is_dir() else ", written as Parquet,"
        within = any(kind.startswith("struct<bytes: binary") for kind in table.nested.values())
        pictures = "; images within a table, as hubs store them, are read after `mibias data shards`" if within else ""
        listed = first_rows([f"{name!r} ({kind})" for name, kind in table.nested.items()])
        raise DataError(
            f"{table.path}: {len(table.nested)} column(s) hold no single value per row: {listed}; name the columns to "
            f"use in data.features, or read a column of lists of numbers{stored} by data.source: embeddings and "
            f"data.key{pictures}"
        )


def refuse_repeats(table: Table, column: str) -> None:
    """Raise a `DataError` if a value of the column occurs in more than one row."""
    coded = table.coded(column)
    repeated = [str(value) for value, n in zip(coded.values, np.bincount(coded.codes), strict=True) if n > 1]
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


def _read_text(path: Path, reading: Reading, packed: str | None) -> Table:
    found = read_records(path, reading.encoding)
    found, n_after = without_empty_ends(found)
    _check_header(path, found.header)
    refuse_blanks(path, found)
    refuse_quotes(path, found)
    # one error names all ragged rows, not the first alone
    n = len(found.header)
    ragged = [number for record, number in zip(found.rows, found.numbers, strict=True) if len(record) != n]
    if ragged:
        # where nearly all rows are, it is the first one that is no header
        shown = repr(found.header[0][:40])
        first = f"; is its first row ({shown}, …) the header?" if 2 * len(ragged) > len(found.rows) else ""
        raise DataError(
            f"{path}: {len(ragged)} row(s) do not have the header's {n} cells: rows {first_rows(ragged)}{first}"
        )
    again = [number for record, number in zip(found.rows, found.numbers, strict=True) if is_header(record, found)]
    if again:
        raise DataError(
            f"{path}: {len(again)} row(s) are the header once more: rows {first_rows(again)}; take them out"
        )
    by_column = zip(*found.rows, strict=True) if found.rows else ([] for _ in found.header)
    cells = {
        name: Coded.of(values).map(lambda v: v and v.strip())
        for name, values in zip(found.header, by_column, strict=True)
    }
    _refuse_headless(path, cells)
    numbers = np.asarray(found.numbers, dtype=np.int64)
    table = with_cells(Table(path=path, columns={}, row_numbers=numbers), cells, reading)
    if packed is not None and packed in table.columns and is_large(len(table)):
        held = {name: table.coded(name) for name in table.columns if name != packed}
        table = replace(table, columns=CodedColumns(held), packed={packed: PackedTexts.of_cells(table.columns[packed])})
    if found.delimiter is not None:
        table = replace(table, notes=(f"{path}: its columns are separated by {found.delimiter}", *table.notes))
    if n_after:
        table = replace(table, notes=(f"{path}: {n_after} row(s) end in empty cells without a name", *table.notes))
    return table


def _refuse_headless(path: Path, cells: Mapping[str, Coded]) -> None:
    """Raise a `DataError` where the first row is one of values: each is in its own column, or is one of its numbers."""
    some = {name: [v for v in column.values[column.codes[:LOOKED_AT]] if v] for name, column in cells.items()}
    numbers = [name for name in cells if are_numbers([name, *some[name]])]
    within = [name for name in cells if name not in numbers and name in cells[name].counts]
    if within and len(numbers) + len(within) == len(cells):
        shown = first_rows([repr(name) for name in cells])
        raise DataError(
            f"{path}: its first row ({shown}) holds values, not the names of columns; write a row of names above it"
        )


def _read_typed(
    path: Path,
    leave_out: Callable[[str], bool] | None,
    reading: Reading,
    needed: Collection[str] | None,
    packed: str | None,
) -> Table:
    found = read_typed(path, partial(_check_header, path), leave_out, needed, packed)
    large = is_large(found.table.num_rows)
    cells: dict[str, Coded] = {}
    as_bytes: dict[str, PackedTexts] = {}
    nested = dict(found.nested)
    for column in found.table.schema:
        values = found.table.column(column.name)
        if large and column.name == packed and is_text(column.type):
            as_bytes[column.name] = PackedTexts.of(values, reading.missing)
            continue
        try:
            different, codes = encoded(values)
            cells[column.name] = Coded.of_codes([as_text(value) for value in different], codes)
        except UnicodeDecodeError:
            nested[column.name] = "bytes"
        except ValueError as error:  # lists with what is no label
            nested[column.name] = f"{column.type} ({error})"
    # "01" in a column of strings is a name (a post code, say), not the number 1
    text = frozenset(column.name for column in found.table.schema if not is_numeric(column.type))
    table = Table(
        path=path,
        columns={},
        row_numbers=np.arange(1, found.table.num_rows + 1, dtype=np.int32),
        text=text,
        nested=nested,
        packed=as_bytes,
        unread=found.unread,
    )
    return with_cells(table, cells, reading)


def as_text(value: object) -> str | None:
    """A typed value as text; 1.0 as 1, because a whole number beside a missing value is stored as a float.

    Raises:
        ValueError: It is a list of anything but texts, or bytes that are none.
    """
    if value is None or value != value:  # null, or NaN
        return None
    if isinstance(value, list):
        return written_list(value)
    if isinstance(value, bytes):
        return value.decode("utf-8").strip()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def with_cells(table: Table, cells: Mapping[str, Coded], reading: Reading) -> Table:
    """The table with columns of these cells: None where a value is missing, and new values in place of old ones.

    It notes what was taken for missing without being empty, and what was read as another value.
    """
    written = {without_zeros(value) for value in reading.missing}
    columns: dict[str, Coded] = {}
    said: list[str] = []
    mapped: list[str] = []
    # a column or a value that is not there may be a slip: whoever needs it there refuses it
    unmapped = [(name, old) for name, values in reading.values.items() if name not in cells for old in values]
    for name, given in cells.items():
        # pandas writes -9 as -9.0 beside an empty cell
        marks = {value for value in given.counts if value and without_zeros(value) in written}
        if name in reading.values:
            values = reading.values[name]
            columns[name], changed, absent = map_cells(given, values, marks)
            unmapped += [(name, old) for old in absent]
            mapped += [f"{old!r} as {values[old] or 'missing'!r} in {name!r} ({n} rows)" for old, n in changed.items()]
            continue
        columns[name] = given.map(lambda v, marks=marks: None if not v or v in marks else v)  # type: ignore[misc]
        said += [f"{value!r} in {name!r} ({n} rows)" for value, n in given.counts.items() if value in marks]
    notes = [f"{table.path}: read as missing (data.missing): {first_rows(said)}"] if said else []
    notes += [f"{table.path}: read otherwise (data.values): {first_rows(mapped)}"] if mapped else []
    return replace(table, columns=CodedColumns(columns), notes=tuple(notes), unmapped=tuple(unmapped))


def refuse_unmapped(table: Table) -> None:
    """Raise a `DataError` that names the columns and values of `data.values` that the table does not have."""
    if not table.unmapped:
        return
    lines = []
    for name, old in table.unmapped:
        if name not in table.columns:
            lines.append(f"  {name}: {_absence(table, name)}")
            continue
        there = [v for v, _ in Counter(table.coded(name).counts).most_common(10)]
        lines.append(f"  {name}: no cell is {old!r}{did_you_mean(old, there)}; it has {', '.join(map(repr, there))}")
    shown = [*dict.fromkeys(lines)]
    more = [f"  and {len(shown) - 5} more"] if len(shown) > 5 else []
    raise DataError("\n".join([f"{table.path}: data.values names what is not there", *shown[:5], *more]))


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path}: is empty; its first row should name the columns")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        remedy = "is the first row one of names?" if are_numbers(filter(None, repeated)) else "rename one of the two"
        listed = first_rows([n or "(empty)" for n in repeated])
        raise DataError(f"{path}: column name(s) appear twice: {listed}; {remedy}")


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise a `DataError` if any of the files exists."""
    existing = [str(path) for path in paths if path.exists()]
    if existing:
        raise DataError(f"{', '.join(existing)}: exists already; choose another --out, or pass --overwrite")


def write_manifest(path: Path, columns: Mapping[str, Sequence[str]], *, new: bool = False) -> None:
    """Write columns of equal length, the whole file or none of it; one that exists is replaced, but for a `new` one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path, new=new) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
