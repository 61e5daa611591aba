"""Stored embeddings: features of a safetensors, npz, npy or Parquet file beside a table of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import Annotations, annotate, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.array_ids import refuse_other_order
from mibias_cli.data.files.arrow_files import PARQUET
from mibias_cli.data.files.fingerprint import Streamed
from mibias_cli.data.files.readers import IN_MEMORY_BYTES, ArrayReader, StoredReader
from mibias_cli.data.files.stored_features import StoredFeatures
from mibias_cli.data.files.tabular import AS_USUAL, Reading, first_rows, read_table
from mibias_cli.data.input_rules import EmbeddingRules
from mibias_cli.data.shards.feature_parts import open_stored, part_files
from mibias_cli.errors import DataError

__all__ = ["load_embeddings"]


def load_embeddings(
    path: Path,
    *,
    key: str = "features",
    prefix: str = "z_",
    manifest: Path | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    reading: Reading = AS_USUAL,
    seed: int = 0,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> BiasedData:
    """Stored embeddings (n, d) as inputs.

    Those that take more memory than `in_memory_bytes` stay on disk: they are read once, in chunks, to look for NaN and
    to take their fingerprint, and after that by the rows that are asked for.

    Args:
        path: .safetensors, .npz or .npy with an array (n, d), or .parquet with feature columns or a column of lists; or
            a folder of shards (see `open_stored`), which needs a manifest.
        key: Name of the array in a .safetensors or .npz file, or of the column of lists in a .parquet file.
        prefix: Parquet only: the columns whose name starts so are the features, in the file's order.
        manifest: Table with one row per embedding, in the same order; None: the Parquet file's other columns.
        columns, splits, attributes, seed: See `annotate`.
        reading: How text is read.
        in_memory_bytes: Largest size of the features, as float32, that are held in memory.

    Raises:
        DataError: Files, keys, columns or values are missing or wrong, the numbers of rows differ, or their order does.
    """
    features = open_stored(path, key=key, prefix=prefix)
    if manifest is None and (path.is_dir() or path.suffix.lower() not in PARQUET):
        raise DataError(f"{path}: holds features alone; set data.manifest to a table with one row per embedding")
    if manifest:
        table = read_table(manifest, reading=reading)
    else:
        table = read_table(path, leave_out=lambda name: name.startswith(prefix), reading=reading)
    if len(table) != features.shape[0]:
        raise DataError(
            f"{path} has {features.shape[0]} embeddings, {table.path} has {len(table)} rows; "
            "there must be one row per embedding, in the same order"
        )
    refuse_other_order(path, table, part_files(path) if path.is_dir() else None)
    rules = EmbeddingRules(key=key, prefix=prefix)
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    if 4 * features.shape[0] * features.shape[1] > in_memory_bytes:
        shape = (len(annotations.positions), features.shape[1])
        streamed = Streamed(dtype="<f4", shape=shape, parts=lambda: _checked(features, annotations))
        notes = [] if features.by_row else [
            f"{path}: {features.shape[0]} × {features.shape[1]} features stay on disk; audits read it in two "
            "passes, but training on it is slow: store them as .safetensors or .npy, whose rows are found at once"
        ]  # fmt: skip
        reader, names = StoredReader(features, annotations.positions), annotations.row_names
        return assemble(annotations, reader, row_names=names, contents={"x": streamed}, inputs=rules, notes=notes)
    # filled part by part: concatenating the parts would hold all of them twice
    x = np.empty((len(annotations.positions), features.shape[1]), dtype=np.float32)
    start = 0
    for part in _checked(features, annotations):
        x[start : start + len(part)] = part
        start += len(part)
    return assemble(annotations, ArrayReader(x), row_names=annotations.row_names, contents={"x": x}, inputs=rules)


def _checked(features: StoredFeatures, annotations: Annotations) -> Iterator[np.ndarray]:
    """The features of the rows in use, chunk by chunk; after the last one, what is wrong with them.

    Raises:
        DataError: Some are not finite.
    """
    positions, start, wrong = annotations.positions, 0, []
    for chunk in features.chunks():
        # positions ascend, so those within this chunk lie side by side
        first, last = np.searchsorted(positions, [start, start + len(chunk)])
        part = chunk if last - first == len(chunk) else chunk[positions[first:last] - start]
        wrong.append(first + np.flatnonzero(~np.isfinite(part).all(axis=1)))
        yield part
        start += len(chunk)
    rows = annotations.table.row_numbers[np.concatenate(wrong)] if wrong else np.empty(0)
    if len(rows):
        raise DataError(f"{features.path}: {len(rows)} embedding(s) hold NaN or infinity: rows {first_rows(rows)}")
