"""Stored embeddings: features of a safetensors, npz or Parquet file beside a table of labels."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open

from mibias_cli.data.annotations import annotate, assemble
from mibias_cli.data.arrays import ArrayReader
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.tabular import (
    DEFAULT_COLUMNS,
    DEFAULT_SPLITS,
    AttributeColumn,
    Columns,
    SplitRule,
    first_rows,
    read_table,
)
from mibias_cli.errors import DataError, did_you_mean

__all__ = ["load_embeddings", "read_features"]


def load_embeddings(
    path: Path,
    *,
    key: str = "features",
    prefix: str = "z_",
    manifest: Path | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    seed: int = 0,
) -> BiasedData:
    """Stored embeddings (n, d) as inputs.

    Args:
        path: .safetensors or .npz with an array (n, d), or .parquet with feature columns.
        key: Name of the array in a .safetensors or .npz file.
        prefix: Parquet only: the columns whose name starts so are the features, in the file's order.
        manifest: Table with one row per embedding, in the same order; None: the Parquet file's other columns.
        columns: Names of the target, split and group columns.
        splits: Which rows train, validate and are audited.
        attributes: The bias attributes, by name.
        seed: Seed of a split by fractions.

    Raises:
        DataError: Files, keys, columns or values are missing or wrong, or the numbers of rows differ.
    """
    features = read_features(path, key=key, prefix=prefix)
    if manifest is None and path.suffix.lower() not in (".parquet", ".pq"):
        raise DataError(f"{path}: holds features alone; set data.manifest to a table with one row per embedding")
    table = read_table(manifest) if manifest else read_table(path, leave_out=lambda name: name.startswith(prefix))
    if len(table) != len(features):
        raise DataError(
            f"{path} has {len(features)} embeddings, {table.path} has {len(table)} rows; "
            "there must be one row per embedding, in the same order"
        )
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    x, numbers = features[annotations.positions], annotations.table.row_numbers
    wrong = ~np.isfinite(x).all(axis=1)
    if wrong.any():
        raise DataError(f"{path}: {wrong.sum()} embedding(s) hold NaN or infinity: rows {first_rows(numbers[wrong])}")
    names = [f"row {number}" for number in numbers]
    return assemble(annotations, ArrayReader(x), row_names=names, contents={"x": x})


def read_features(path: Path, *, key: str, prefix: str) -> np.ndarray:
    """The features (n, d) float32 of one file; nothing in it is executed.

    Raises:
        DataError: No such file or key, an unknown suffix, or an array that is not (n, d) numbers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise DataError(f"{path}: embeddings are read from {', '.join(_READERS)}, not from {suffix!r}")
    features = _READERS[suffix](path, prefix if suffix in (".parquet", ".pq") else key)
    if features.ndim != 2 or not features.shape[1] or not np.issubdtype(features.dtype, np.number):
        raise DataError(f"{path}: {key!r} is {features.shape} of {features.dtype}; embeddings are (n, d) numbers")
    if np.iscomplexobj(features):
        raise DataError(f"{path}: {key!r} holds complex numbers; embeddings are real")
    return features.astype(np.float32)


def _from_safetensors(path: Path, key: str) -> np.ndarray:
    try:
        with safe_open(path, framework="pt") as file:  # through torch: numpy has no bfloat16
            _require_key(path, key, list(file.keys()))
            tensor = file.get_tensor(key)
    except SafetensorError as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}") from error
    return (tensor.to(torch.float32) if tensor.is_floating_point() else tensor).numpy()


def _from_npz(path: Path, key: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            _require_key(path, key, file.files)
            return np.asarray(file[key])
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as .npz without pickled objects: {error}") from error


def _from_parquet(path: Path, prefix: str) -> np.ndarray:
    try:
        names = pq.read_schema(path).names
        wanted = [name for name in names if name.startswith(prefix)]
        if not wanted:
            listed = ", ".join(names[:10])
            raise DataError(f"{path}: no column starts with {prefix!r}; set data.prefix (it has: {listed})")
        table = pq.read_table(path, columns=wanted)
        columns = [table.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False) for name in wanted]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path}: its {prefix!r} columns cannot be read as numbers: {error}") from error
    return np.stack(columns, axis=1)


def _require_key(path: Path, key: str, keys: list[str]) -> None:
    if key not in keys:
        raise DataError(
            f"{path}: no array {key!r}{did_you_mean(key, keys)}; set data.key to one of: {', '.join(keys) or 'none'}"
        )


_READERS = {".safetensors": _from_safetensors, ".npz": _from_npz, ".parquet": _from_parquet, ".pq": _from_parquet}
