"""Columns of a file by name, as they are: CSV, Parquet, or the tensors of a safetensors file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open

from mibias_cli.data.columns import numbers, sorted_names
from mibias_cli.data.files.arrow_files import PARQUET, TYPED, is_list
from mibias_cli.data.files.refused import refuse_formats, require_file
from mibias_cli.data.files.stored_features import list_features
from mibias_cli.data.files.tabular import MISSING, first_rows, read_table, texts
from mibias_cli.errors import DataError

__all__ = ["NamedArrays", "read_named_arrays"]

_MOST_CATEGORIES = 50
_TABLES = (".csv", ".tsv", ".gz")


@dataclass(frozen=True, kw_only=True)
class NamedArrays:
    """The columns of one file, each (n,) or, of tensors and lists, (n, k); read when they are asked for.

    Args:
        path: The file, for errors.
        names: What it holds, in the file's order.
        read: One column: numbers (float64, int64 or bool; NaN where missing) or an object array of str and None.
    """

    path: Path
    names: tuple[str, ...]
    read: Callable[[str], np.ndarray]

    def read_numbers(self, names: Sequence[str]) -> np.ndarray:
        """Columns side by side (n, d) float64: numbers as they are, text of few values one-hot, missing all zeros.

        Raises:
            DataError: A column of numbers holds some other cells, or a text very many values.
        """
        parts = []
        for name in names:
            values = self.read(name)
            if values.dtype == object and _is_text(values) and 0 < len(set(values)) <= _MOST_CATEGORIES:
                values = np.stack([values == v for v in sorted_names({v for v in values if v is not None})], axis=1)
            if values.dtype == object:
                shown = first_rows([repr(v) for v in dict.fromkeys(values[numbers(values)[1]].tolist())], 3)
                raise DataError(
                    f"{self.path}: column {name!r} holds text ({shown}), where numbers are needed, or at most "
                    f"{_MOST_CATEGORIES} different texts"
                )
            parts.append(values.reshape(len(values), -1).astype(np.float64))
        lengths = {name: len(part) for name, part in zip(names, parts, strict=True)}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{self.path}: columns differ in their numbers of rows: {lengths}")
        return np.concatenate(parts, axis=1)


def _is_text(values: np.ndarray) -> bool:
    """Whether no cell is a number: one among others is likelier a mistake than a category."""
    known = np.array([value is not None for value in values])
    return bool(numbers(values)[1][known].all())


def _table_column(values: np.ndarray) -> np.ndarray:
    parsed, wrong = numbers(values)
    return values if wrong.any() or np.isnan(parsed).all() else parsed


def _parquet_column(path: Path, name: str) -> np.ndarray:
    column = pq.read_table(path, columns=[name]).column(name)
    kind = column.type
    if pa.types.is_boolean(kind) and not column.null_count:
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        # by way of float64, in which a missing whole number can be NaN
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if is_list(kind):
        return np.concatenate(list(list_features(path, name).chunks())).astype(np.float64)
    if pa.types.is_nested(kind):
        raise DataError(f"{path}: column {name!r} holds {kind}, not one value or one list of numbers per row")
    return texts([None if v is None or str(v).strip() in ("", *MISSING) else str(v) for v in column.to_pylist()])


def _tensor_column(path: Path, name: str) -> np.ndarray:
    with safe_open(path, framework="pt") as file:  # through torch: numpy has no bfloat16
        tensor = file.get_tensor(name)
    if tensor.ndim == 0 or tensor.ndim > 2:
        raise DataError(f"{path}: tensor {name!r} is {tuple(tensor.shape)}; columns are (n,) or (n, k)")
    if tensor.is_complex():
        raise DataError(f"{path}: tensor {name!r} holds complex numbers")
    return np.asarray((tensor.to(torch.float64) if tensor.is_floating_point() else tensor).numpy())


def read_named_arrays(path: Path) -> NamedArrays:
    """The columns of a .csv, .tsv (gzipped or not), .parquet or .safetensors file.

    In a safetensors file a column is a tensor (n,), and a tensor (n, k) is k columns of one name. So is a column of
    lists of numbers in a Parquet file.

    Raises:
        DataError: No such file, an unknown suffix, or not the format it claims to be.
    """
    require_file(path)
    refuse_formats(path)
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET:
            names = tuple(pq.read_schema(path).names)
            return NamedArrays(path=path, names=names, read=partial(_parquet_column, path))
        if suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names = tuple(file.keys())
            return NamedArrays(path=path, names=names, read=partial(_tensor_column, path))
    except (pa.ArrowInvalid, SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as {suffix}: {error}") from error
    if suffix in (*_TABLES, *TYPED):
        columns = read_table(path).columns
        return NamedArrays(path=path, names=tuple(columns), read=lambda name: _table_column(columns[name]))
    raise DataError(
        f"{path}: columns are read from .csv, .tsv, .safetensors and {', '.join(TYPED)}, not from {suffix!r}"
    )
