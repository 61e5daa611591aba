"""Ids that a file of embeddings holds beside them: rows of a table of labels must stand in their order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from mibias_cli.data.files.stored_features import array_shapes
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.errors import DataError

__all__ = ["refuse_other_order"]


def refuse_other_order(path: Path, table: Table) -> None:
    """Raise a `DataError` if rows of a table stand in another order than the ids that a file of embeddings has.

    Labels are joined to embeddings by their order, so each would get that of another. Ids are arrays of text or whole
    numbers (n,) of a .npz file, all different, or the lists of n items that `mibias embed` writes beside the tensors of
    a .safetensors file; they are compared with the columns that hold most of them.
    """
    for name, ids in _ids(path, len(table)):
        for column, values in table.columns.items():
            held = [v for v in values if v is not None]
            if len(set(held)) < len(held) or 2 * len(set(held) & set(ids)) <= len(ids):
                continue
            known = set(ids)
            other = [f"row {table.row_numbers[k]} ({v!r}, not {ids[k]!r})" for k, v in enumerate(values) if v != ids[k]]
            # an id that either lacks is no sign of another order
            moved = sum(v != ids[k] and v in known for k, v in enumerate(values)) if other else 0
            if moved:
                raise DataError(
                    f"{table.path}: {moved} row(s) are not in the order of {path.name}, whose {name!r} are ids of "
                    f"{column!r}: {first_rows(other, 3)}; sort the rows by them: each embedding takes the row of its "
                    "own place"
                )


def _ids(path: Path, n: int) -> Iterator[tuple[str, list[str]]]:
    """Names and items, as text, of what may be ids of n embeddings; nothing is unpickled."""
    suffix = path.suffix.lower()
    found: list[tuple[str, list[str]]] = []
    if suffix == ".npz":
        # by their headers: the embeddings themselves may not fit into memory
        columns = [name for name, shape in array_shapes(path).items() if shape == (n,)]
        with np.load(path, allow_pickle=False) as arrays:
            for name in columns:
                try:
                    array = arrays[name]
                except ValueError:
                    continue  # Python objects, which are not read
                if array.dtype.kind in "USiu":
                    found.append((name, array.astype(str).tolist()))
    elif suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                kept = file.metadata() or {}
        except (SafetensorError, OSError):
            return  # which whoever reads the features says
        for name, text in kept.items():
            try:
                items = json.loads(text)
            except ValueError:
                continue
            if isinstance(items, list) and len(items) == n:
                found.append((name, [str(item) for item in items]))
    yield from ((name, ids) for name, ids in found if len(set(ids)) == n)
