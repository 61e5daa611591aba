"""Ids that a file of embeddings holds beside them: rows of a table of labels must stand in their order."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from mibias_cli.data.files.arrow_files import PARQUET, is_numeric, is_text
from mibias_cli.data.files.stored_features import array_shapes
from mibias_cli.data.files.tabular import Table, first_rows, read_table
from mibias_cli.errors import DataError

__all__ = ["refuse_other_order"]

_SUFFIX = re.compile(r"\.[A-Za-z]{2,5}$")
_LABELS = {"y", "label", "target", "class"}
_WHOLE = {"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64"}
_LISTS = {"id", "ids", "names", "files", "filenames", "paths", "keys"}


def refuse_other_order(path: Path, table: Table, parts: Sequence[Path] | None = None) -> None:
    """Raise a `DataError` if rows of a table stand in another order than the ids that a file of embeddings has.

    Of a folder of shards `parts` are its files, in order; None: the path is a file.

    Labels are joined to embeddings by their order, so each would get that of another. Ids are arrays of text or whole
    numbers (n,) of a .npz or .safetensors file, all different, the lists that `mibias embed` writes beside the tensors
    of the latter, columns of text in Parquet, or a .npy or .txt file beside them that is called by such a word; they
    are compared with the columns that hold most of them, whatever folder and suffix they are written with. Labels in
    the file, and all columns of Parquet that the table has too, are compared with the column of their name.
    """
    for name, ids in _arrays_of(path, table, [part for part in parts or [path] if part != table.path]):
        if len(set(ids)) == len(ids):
            _refuse_other_ids(path, table, name, ids)
        else:
            _refuse_other_labels(path, table, name, ids)


def _refuse_other_ids(path: Path, table: Table, name: str, ids: Sequence[str | None]) -> None:
    # as it is wherever nothing was sorted, and cheaper to see of millions of rows than what follows
    if any(np.array_equal(values, np.array(ids, dtype=object)) for values in table.columns.values()):
        return
    known = _keys(ids)
    for column, values in table.columns.items():
        keys = _keys(values)
        held = {key for key in keys if key is not None}
        if len(held) < sum(v is not None for v in values) or 2 * len(held & set(known)) <= len(ids):
            continue
        differs = [k for k, key in enumerate(keys) if key != known[k]]
        # an id that either lacks is no sign of another order
        moved = len(held.intersection(known).intersection(keys[k] for k in differs))
        if moved:
            other = [f"row {table.row_numbers[k]} ({values[k]!r}, not {ids[k]!r})" for k in differs]
            raise DataError(
                f"{table.path}: {moved} row(s) are not in the order of {path.name}, whose {name!r} are ids of "
                f"{column!r}: {first_rows(other, 3)}; sort the rows by them: each embedding takes the row of its "
                "own place"
            )


def _refuse_other_labels(path: Path, table: Table, name: str, labels: Sequence[str | None]) -> None:
    for column, values in table.columns.items():
        if _called(column) == _called(name) and Counter(values) == Counter(labels):
            other = np.array([v != label for v, label in zip(values, labels, strict=True)])
            if other.any():
                raise DataError(
                    f"{table.path}: {other.sum()} row(s) are not in the order of {path.name}, whose {name!r} holds the "
                    f"same values as {column!r} in another order: rows {table.rows_where(other)}; sort the rows as the "
                    "embeddings are: each embedding takes the row of its own place"
                )


def _keys(values: Sequence[str | None] | np.ndarray) -> list[str | None]:
    """Ids without folder, suffix and leading zeros, where they differ without them too; else as they are."""
    stems = [None if v is None else _SUFFIX.sub("", str(v).replace("\\", "/").rpartition("/")[2]) for v in values]
    keys = [(key.lstrip("0") or "0") if key is not None and key.isdecimal() else key for key in stems]
    return keys if len(set(keys)) == len(set(values)) else [None if v is None else str(v) for v in values]


def _called(name: str) -> str:
    word = name.casefold()
    return "label" if {word, word.removesuffix("s")} & _LABELS else word


def _arrays_of(path: Path, table: Table, parts: Sequence[Path]) -> Iterator[tuple[str, list[str | None]]]:
    """Names and items, as text, of what may be ids or labels of a table's n rows; nothing is unpickled."""
    n = len(table)
    found: list[tuple[str, list[str | None]]] = []
    if path.suffix.lower() == ".npz":
        # by their headers: the embeddings themselves may not fit into memory
        columns = [name for name, shape in array_shapes(path).items() if shape == (n,)]
        with np.load(path, allow_pickle=False) as arrays:
            for name in columns:
                try:
                    array = arrays[name]
                except ValueError:
                    continue  # Python objects, which are not read
                if array.dtype.kind in "USiub":
                    found.append((name, array.astype(str).tolist()))
    joined: dict[str, list[str | None]] = {}
    for part in parts:
        for name, items in _lists_in(part, set(table.columns)):
            joined.setdefault(name, []).extend(items)
    found += [(name, ids) for name, ids in joined.items() if len(ids) == n]
    yield from found
    yield from _lists_beside(path, n)


def _lists_in(file: Path, names: Collection[str]) -> Iterator[tuple[str, list[str | None]]]:
    """Names and items of what is kept beside the features in a file; of Parquet also numbers in columns of `names`."""
    # whoever reads the features says that a file cannot be read
    if file.suffix.lower() in PARQUET:
        with suppress(pa.ArrowInvalid, OSError, DataError):
            fields = {field.name: _plain(field.type) for field in pq.read_schema(file)}
            taken = {name for name, kind in fields.items() if is_text(kind) or (name in names and _is_label(kind))}
            if taken:
                columns = read_table(file, leave_out=lambda name: name not in taken).columns
                for name, values in columns.items():
                    yield name, [*values]
    elif file.suffix.lower() == ".safetensors":
        with suppress(SafetensorError, OSError), safe_open(file, framework="pt") as opened:
            for name, text in (opened.metadata() or {}).items():
                with suppress(ValueError, RecursionError):
                    items = json.loads(text)
                    if isinstance(items, list):
                        yield name, [str(item) for item in items]
            for name in opened.keys():  # noqa: SIM118 (no dict)
                part = opened.get_slice(name)
                if len(part.get_shape()) == 1 and part.get_dtype() in _WHOLE:
                    yield name, [str(item) for item in opened.get_tensor(name).tolist()]


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_label(kind: pa.DataType) -> bool:
    return is_numeric(kind) or bool(pa.types.is_boolean(kind))


def _lists_beside(path: Path, n: int) -> Iterator[tuple[str, list[str | None]]]:
    """Ids in a file of their own beside the embeddings, by its name (ids.npy, features_names.txt)."""
    for other in sorted(path.parent.iterdir()):
        if other == path or not _LISTS & set(re.split(r"[^a-z]+", other.stem.casefold())) or not other.is_file():
            continue
        ids: list[str | None] = []
        if other.suffix.lower() == ".npy":
            try:
                array = np.load(other, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError):
                continue  # Python objects, which are not read, or some other file
            ids = array.astype(str).tolist() if array.dtype.kind in "USiu" and array.shape == (n,) else []
        elif other.suffix.lower() == ".txt":
            ids = [*other.read_text(encoding="utf-8", errors="replace").split()]
        if len(set(ids)) == n:
            yield other.name, ids
