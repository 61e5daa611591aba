"""Images that a CSV or Parquet manifest lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mibias_cli.data.annotations import Annotations, annotate, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.fingerprint import Streamed
from mibias_cli.data.files.images import (
    SOME,
    FileImages,
    ImageReader,
    look_for_some,
    resolve_paths,
    without_unreadable,
)
from mibias_cli.data.files.packed import LARGE, Picked
from mibias_cli.data.files.tabular import AS_USUAL, Reading, first_rows, read_table, require_columns
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.data.inputs import IDENTITY, Transforms

__all__ = ["OnBadSample", "image_data", "load_manifest"]

OnBadSample = Literal["error", "skip"]
"""What becomes of rows whose image cannot be read."""


def load_manifest(
    path: Path,
    *,
    root: Path | None = None,
    follow_links: Path | None = None,
    on_bad_sample: OnBadSample = "error",
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    transforms: Transforms = IDENTITY,
    reading: Reading = AS_USUAL,
    seed: int = 0,
) -> BiasedData:
    """The images of a manifest: one row per image, with its path, target, attributes, and split or group.

    Args:
        path: CSV or Parquet file.
        root: Folder that paths start from; None: the manifest's own.
        follow_links: Links to files below this folder are followed, though it is not below the root.
        on_bad_sample: Whether images that cannot be read are an error when they are met, or left out (`skip`).
        columns, splits, attributes: See `annotate`.
        transforms: What the backbone asks for.
        reading: How text is read.
        seed: Seed of a split by fractions, and of augmentation.

    Raises:
        DataError: Files, columns or values are missing or wrong; each error names the rows.
    """
    # of a large manifest the columns that the recipe names, unless every image is to be read all the same
    others = columns.roles(attributes) | set(reading.values)
    packed = columns.path if on_bad_sample == "error" and columns.path not in others else None
    table = read_table(path, reading=reading, needed=None if packed is None else {packed, *others}, packed=packed)
    require_columns(table, {"data.columns.path": columns.path})
    folder, notes = root or path.parent, list[str]()
    if on_bad_sample == "skip":
        table, notes = without_unreadable(table, columns.path, folder, follow_links)
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    rules = ImageRules(path=columns.path, reading=reading)
    return image_data(annotations, rules, folder, transforms, seed, notes, follow_links)


def image_data(
    annotations: Annotations,
    rules: ImageRules,
    root: Path,
    transforms: Transforms,
    seed: int,
    notes: Iterable[str] = (),
    follow_links: Path | None = None,
) -> BiasedData:
    """The data set of labelled rows whose path column names image files below a root.

    Raises:
        DataError: A path leads out of the root, or to no file.
    """
    if rules.path in annotations.table.packed:
        return _large(annotations, rules, root, transforms, seed, follow_links)
    files, names = resolve_paths(annotations.table, rules.path, root, follow_links)
    notes = [*notes, *_twice(annotations, files, names)]
    # paths and sizes stand for the pixels: hashing these would read every file before training starts
    contents = {
        "paths": [str(value) for value in annotations.table.columns[rules.path]],
        "bytes": [str(os.stat(file).st_size) for file in files],
    }
    reader = ImageReader(FileImages(files), transforms, seed, names)
    return assemble(annotations, reader, row_names=names, contents=contents, inputs=rules, notes=notes)


def _large(
    annotations: Annotations, rules: ImageRules, root: Path, transforms: Transforms, seed: int, follow: Path | None
) -> BiasedData:
    """The same of very many rows, without a look at each file: their paths alone stand for the pixels."""
    table = annotations.table
    files, names = look_for_some(table, rules.path, root, follow)
    texts = table.packed[rules.path]
    notes = [
        f"{table.path}: more than {LARGE:,} rows: {min(SOME, len(table)):,} of {len(table):,} files were looked for, "
        "and the others are when they are read; --check-files reads all of them first",
        *_twice_note(annotations, Picked(names, np.flatnonzero(texts.shared(annotations.role)))),
    ]
    contents = {
        "path lengths": Streamed(dtype="<i4", shape=(len(texts),), parts=texts.lengths),
        "paths": Streamed(dtype="|u1", shape=(texts.n_bytes,), parts=texts.letters),
    }
    reader = ImageReader(FileImages(files), transforms, seed, names)
    return assemble(annotations, reader, row_names=names, contents=contents, inputs=rules, notes=notes)


def _twice(annotations: Annotations, files: Sequence[str], names: Sequence[str]) -> list[str]:
    """A note of files that two splits have: what a model learnt of one is no evidence of what it can."""
    first: dict[str, int] = {}
    shared = []
    for row, file in enumerate(files):
        if annotations.role[first.setdefault(file, row)] != annotations.role[row]:
            shared.append(names[row])
    return _twice_note(annotations, shared)


def _twice_note(annotations: Annotations, shared: Sequence[str]) -> list[str]:
    if not len(shared):
        return []
    return [f"{annotations.table.path}: {len(shared)} image(s) are in more than one split: {first_rows(shared)}"]
