"""Images that a CSV or Parquet manifest lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mibias_cli.data.annotations import annotate, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.files.image_paths import resolve_paths
from mibias_cli.data.files.images import ImageReader
from mibias_cli.data.files.tabular import (
    DEFAULT_COLUMNS,
    DEFAULT_SPLITS,
    AttributeColumn,
    Columns,
    SplitRule,
    read_table,
    require_columns,
)
from mibias_cli.data.inputs import IDENTITY, Transforms

__all__ = ["load_manifest"]


def load_manifest(
    path: Path,
    *,
    root: Path | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    transforms: Transforms = IDENTITY,
    seed: int = 0,
) -> BiasedData:
    """The images of a manifest: one row per image, with its path, target, attributes, and split or group.

    Args:
        path: CSV or Parquet file.
        root: Folder that paths start from; None: the manifest's own.
        columns: Names of the columns.
        splits: Which rows train, validate and are audited.
        attributes: The bias attributes, by name.
        transforms: What the backbone asks for.
        seed: Seed of a split by fractions, and of augmentation.

    Raises:
        DataError: Files, columns or values are missing or wrong; each error names the rows.
    """
    table = read_table(path)
    require_columns(table, {"data.columns.path": columns.path})
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    files, names = resolve_paths(annotations.table, columns.path, root or path.parent)
    contents = {
        "paths": [str(value) for value in annotations.table.columns[columns.path]],
        "bytes": [str(file.stat().st_size) for file in files],
    }
    reader = ImageReader(files, transforms, seed, row_names=names)
    return assemble(annotations, reader, row_names=names, contents=contents)
