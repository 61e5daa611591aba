"""Ids that a file of embeddings holds beside them: rows of a table of labels must stand in their order."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open

from mibias_cli.data.files.arrow_files import PARQUET, is_numeric, is_text
from mibias_cli.data.files.refused import UNREADABLE
from mibias_cli.data.files.stored_features import array_shapes
from mibias_cli.data.files.tabular import Table, first_rows, read_table, texts
from mibias_cli.errors import DataError

__all__ = ["refuse_other_order"]

Items: TypeAlias = list[str | None] | np.ndarray
"""Text and whole numbers as text; numbers with fractions (n,) float64."""

_SUFFIX = re.compile(r"\.[A-Za-z]{2,5}$")
_LABELS = {"y", "label", "target", "class"}
_WHOLE = {"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64"}
_FRACTIONS = {"F16", "BF16", "F32", "F64"}
_PRECISIONS = (torch.bfloat16, torch.float16, torch.float32)
"""From the coarsest on; float64 holds whatever there is."""
_LISTS = {"id", "ids", "names", "files", "filenames", "paths", "keys"}


def refuse_other_order(path: Path, table: Table, parts: Sequence[Path] | None = None) -> None:
    """Raise a `DataError` if rows of a table stand in another order than the ids that a file of embeddings has.

    Of a folder of shards `parts` are its files, in order; None: the path is a file.

    Labels are joined to embeddings by their order, so each would get that of another. Ids are arrays of text or whole
    numbers (n,) of a .npz or .safetensors file, all different, the lists that `mibias embed` writes beside the tensors
    of the latter, columns of text in Parquet, or a .npy or .txt file beside them that is called by such a word; they
    are compared with the columns that hold most of them, whatever folder and suffix they are written with. Labels in
    the file or in one beside it that is called like a column (labels.npy), and all columns of Parquet that the table
    has too, are compared with the column of their name. Numbers with fractions are equal where the table's, rounded as
    the array's are, are the same.
    """
    for name, items in _arrays_of(path, table, [part for part in parts or [path] if part != table.path]):
        # labels repeat, and 1 is 1.0 in them; an id is what is written
        found = items if isinstance(items, np.ndarray) or len(set(items)) == len(items) else _as_numbers(items)
        ids, compared = _rounded_alike(found, table) if isinstance(found, np.ndarray) else (found, table)
        if len(set(ids)) == len(ids):
            _refuse_other_ids(path, compared, name, ids)
        else:
            _refuse_other_labels(path, compared, name, ids)


def _as_numbers(items: list[str | None]) -> Items:
    """Text as numbers (n,) float64, nan where missing, if all of it is that; else as it is."""
    with suppress(ValueError):
        return np.array(["nan" if item is None else item for item in items]).astype(np.float64)
    return items


def _rounded_alike(numbers: np.ndarray, table: Table) -> tuple[list[str | None], Table]:
    """Numbers (n,) float64 as text, and a table whose columns of numbers are rounded to what holds these; nan: missing.

    What holds them is asked of the values, not of the file: float64 may hold what once was float32.
    """
    kind = next((k for k in _PRECISIONS if np.array_equal(_rounded(numbers, k), numbers, equal_nan=True)), None)
    columns = {}
    for name, values in table.columns.items():
        with suppress(ValueError):  # text
            column = np.array(["nan" if value is None else value for value in values]).astype(np.float64)
            columns[name] = texts((column if kind is None else _rounded(column, kind)).astype(str).tolist())
    return numbers.astype(str).tolist(), table.with_columns(columns)


def _rounded(numbers: np.ndarray, kind: torch.dtype) -> np.ndarray:
    return np.asarray(torch.from_numpy(numbers).to(kind).to(torch.float64).numpy())


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
    word = re.sub(r"\.(npy|txt)$", "", name.casefold())
    return "label" if {word, word.removesuffix("s")} & _LABELS else word


def _arrays_of(path: Path, table: Table, parts: Sequence[Path]) -> Iterator[tuple[str, Items]]:
    """Names and items of what may be ids or labels of a table's n rows; nothing is unpickled."""
    n = len(table)
    found: list[tuple[str, Items]] = []
    if path.suffix.lower() == ".npz":
        # by their headers: the embeddings themselves may not fit into memory
        columns = [name for name, shape in array_shapes(path).items() if shape == (n,)]
        with np.load(path, allow_pickle=False) as arrays:
            for name in columns:
                try:
                    array = arrays[name]
                except ValueError:
                    continue  # Python objects, which are not read
                if (items := _items(array)) is not None:
                    found.append((name, items))
    joined: dict[str, list[Items]] = {}
    for part in parts:
        for name, items in _lists_in(part, set(table.columns)):
            joined.setdefault(name, []).append(items)
    for name, several in joined.items():
        fractions = [items for items in several if isinstance(items, np.ndarray)]
        whole = [item for items in several if not isinstance(items, np.ndarray) for item in items]
        # a column is of numbers with fractions in all parts or in none
        if not (fractions and whole):
            found.append((name, np.concatenate(fractions) if fractions else whole))
    yield from ((name, items) for name, items in found if len(items) == n)
    yield from _lists_beside(path, n, {_called(name) for name in table.columns})


def _items(array: np.ndarray) -> Items | None:
    """Text and whole numbers as text, numbers with fractions as float64; None: of another type."""
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    return array.astype(str).tolist() if array.dtype.kind in "USiub" else None


def _lists_in(file: Path, names: Collection[str]) -> Iterator[tuple[str, Items]]:
    """Names and items of what is kept beside the features in a file; of Parquet also numbers in columns of `names`."""
    # whoever reads the features says that a file cannot be read
    if file.suffix.lower() in PARQUET:
        with suppress(pa.ArrowInvalid, OSError, DataError):
            fields = {field.name: _plain(field.type) for field in pq.read_schema(file)}
            taken = {name for name, kind in fields.items() if is_text(kind) or (name in names and _is_label(kind))}
            if taken:
                fractions = sorted(name for name in taken if pa.types.is_floating(fields[name]))
                stored = pq.read_table(file, columns=fractions)
                for name in fractions:
                    yield name, stored[name].cast(pa.float64()).to_numpy()
                others = taken.difference(fractions)
                columns = read_table(file, leave_out=lambda name: name not in others).columns if others else {}
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
                elif len(part.get_shape()) == 1 and part.get_dtype() in _FRACTIONS:
                    yield name, opened.get_tensor(name).double().numpy()


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_label(kind: pa.DataType) -> bool:
    return is_numeric(kind) or bool(pa.types.is_boolean(kind))


def _lists_beside(path: Path, n: int, columns: Collection[str]) -> Iterator[tuple[str, Items]]:
    """Ids or labels in a file of their own beside the embeddings, by its name: ids.npy, features_names.txt, labels.npy.

    Labels are called as one of the table's `columns`.
    """
    for other in sorted(path.parent.iterdir()):
        has_ids = bool(_LISTS & set(re.split(r"[^a-z]+", other.stem.casefold())))
        if other == path or not (has_ids or _called(other.name) in columns) or not other.is_file():
            continue
        ids: Items | None = None
        if other.suffix.lower() == ".npy":
            try:
                array = np.load(other, mmap_mode="r", allow_pickle=False)
            except UNREADABLE:
                continue  # Python objects, which are not read, or some other file
            ids = _items(array) if array.shape == (n,) else None
        elif other.suffix.lower() == ".txt":
            text = other.read_text(encoding="utf-8", errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            ids = [*(lines if len(lines) == n else text.split())]  # a name may have blanks in it
        if ids is not None and len(ids) == n and (not has_ids or len(set(ids)) == n):
            yield other.name, ids
