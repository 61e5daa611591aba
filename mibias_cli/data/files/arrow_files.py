"""Files of typed columns: Parquet, Feather and Arrow, JSON lines; which of their columns are text, and which nested."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from mibias_cli.data.files.packed import is_large
from mibias_cli.errors import DataError

__all__ = [
    "PARQUET",
    "TYPED",
    "TypedColumns",
    "encoded",
    "is_list",
    "is_list_of_text",
    "is_numeric",
    "is_text",
    "read_typed",
]

PARQUET = (".parquet", ".pq")
"""Suffixes of Parquet files."""
_ARROW, _JSON_LINES = (".feather", ".arrow"), (".jsonl", ".ndjson")
TYPED = (*PARQUET, *_ARROW, *_JSON_LINES)
"""Suffixes of all files whose columns have types."""


@dataclass(frozen=True, kw_only=True)
class TypedColumns:
    """Columns with one value per row, or a list of texts; and what the others are.

    Args:
        table: The columns with a value per row.
        nested: The type of each other one: lists, structs, whatever would have to be turned into text.
        unread: Names of columns of a large file that were not asked for.
    """

    table: pa.Table
    nested: dict[str, str]
    unread: tuple[str, ...] = ()


def read_typed(
    path: Path,
    check_names: Callable[[list[str]], None],
    leave_out: Callable[[str], bool] | None = None,
    needed: Collection[str] | None = None,
    packed: str | None = None,
) -> TypedColumns:
    """The columns of a file, without those whose name `leave_out` accepts; nested ones are not read from Parquet.

    Of a large file only those that are `needed` are read, unless it is None; text comes as codes, but for `packed`.

    Raises:
        DataError: It is not the format that its name says; or as `check_names` of all columns' names.
    """
    suffix = path.suffix.lower()
    try:
        whole = None if suffix in PARQUET else _read_lines(path) if suffix in _JSON_LINES else _read_arrow(path)
        schema = pq.read_schema(path) if whole is None else whole.schema
        check_names(schema.names)  # columns are asked for by name
        large = is_large(pq.read_metadata(path).num_rows if whole is None else whole.num_rows)
        unread = tuple(name for name in schema.names if large and needed is not None and name not in needed)
        asked_for = [k for k, name in enumerate(schema.names) if name not in unread]
        wanted = [k for k in asked_for if leave_out is None or not leave_out(schema.names[k])]
        plain = [k for k in wanted if not _is_nested(schema.field(k).type)]
        if whole is None:
            # text of a large file comes as codes of its different values, but for the column that will be packed
            names = [schema.names[k] for k in plain]
            coded = [name for name in names if large and name != packed and is_text(schema.field(name).type)]
            table = pq.read_table(path, columns=names, read_dictionary=coded)
        else:
            table = whole.select(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        kind = "Parquet" if suffix in PARQUET else "one object a line" if suffix in _JSON_LINES else "Feather or Arrow"
        raise DataError(f"{path}: cannot be read as {kind}: {error}") from error
    nested = {schema.names[k]: str(schema.field(k).type) for k in wanted if k not in plain}
    return TypedColumns(table=table, nested=nested, unread=unread)


def encoded(column: pa.ChunkedArray) -> tuple[Sequence[object], np.ndarray]:
    """The values of a column, None among them, each once where that is cheap; which of them each row has (n,) int."""
    try:
        column = column.dictionary_encode().unify_dictionaries()
    except pa.ArrowNotImplementedError:  # of rare types, as that of columns without any value
        return column.to_pylist(), np.arange(len(column))
    if not column.num_chunks:
        return [], np.empty(0, dtype=np.int32)
    values = [*column.chunk(0).dictionary.to_pylist(), None]
    missing = pa.scalar(len(values) - 1, pa.int32())
    codes = np.empty(len(column), dtype=np.int32)
    start = 0
    # part by part into one array: the whole need not be there several times
    for chunk in column.chunks:
        codes[start : start + len(chunk)] = chunk.indices.cast(pa.int32()).fill_null(missing).to_numpy()
        start += len(chunk)
    return values, codes


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in lists) and is_numeric(kind.value_type)


def is_list_of_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of texts."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    item = kind.value_type
    return is_text(item.value_type if pa.types.is_dictionary(item) else item)


def _is_nested(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    return bool(pa.types.is_nested(kind)) and not is_list_of_text(kind)


def _read_lines(path: Path) -> pa.Table:
    return pj.read_json(path)


def _read_arrow(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        magic = file.read(6)
    # a file of Arrow begins so; a stream, as data set hubs cache it, does not
    with pa.OSFile(str(path)) as file, (pa.ipc.open_file if magic == b"ARROW1" else pa.ipc.open_stream)(file) as reader:
        return reader.read_all()
