"""Images in WebDataset's shards, read from their places in tar files that are never unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import annotate, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.images import ImageReader, readable
from mibias_cli.data.files.tabular import AS_USUAL, Reading, first_rows
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.data.inputs import IDENTITY, Transforms
from mibias_cli.data.shards.shards import SHARD_SPLIT, Shards, read_shards
from mibias_cli.data.sources.manifest import OnBadSample

__all__ = ["load_webdataset"]

_LISTED = 20


def load_webdataset(
    path: Path,
    *,
    image: str | None = None,
    on_bad_sample: OnBadSample = "error",
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    transforms: Transforms = IDENTITY,
    reading: Reading = AS_USUAL,
    seed: int = 0,
) -> BiasedData:
    """The samples of shards, in the order in which they lie: one row each, as a manifest would list them.

    Headers and labels are read once; images are read when a batch asks for them, in any order. So shuffling, balancing
    and resuming are those of every other source, and no image is kept in memory.

    Args:
        path: A folder of .tar files, one of them, or a pattern (see `find_shards`).
        image: Ending of the member that is the image, where samples have several.
        on_bad_sample: Whether samples without an image that can be read are an error, or left out (`skip`).
        columns: Names of fields of the .json members, or endings of members of text (`cls`). Without a split column,
            shards whose names say train and more are split by these names.
        splits, attributes: See `annotate`.
        transforms: What the backbone asks for.
        reading: How labels are read.
        seed: Seed of a split by fractions, and of augmentation.

    Raises:
        DataError: As `read_shards` and `annotate`; each error names shard and sample.
    """
    found = read_shards(path, image=image, reading=reading)
    found, notes = _with_images(path, found, skip=on_bad_sample == "skip")
    parts = {part for part in found.table.columns[SHARD_SPLIT] if part is not None}
    if columns.split is None and len(parts) > 1 and splits.train.lower() in {part.lower() for part in parts}:
        columns = replace(columns, split=SHARD_SPLIT)
        notes.append(f"{path}: split by the names of shards ({', '.join(sorted(parts))})")
    annotations = annotate(found.table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    names, images = [str(name) for name in annotations.table.row_numbers], found.images.take(annotations.positions)
    # names and sizes stand for the pixels: hashing these would read every shard before training starts
    return assemble(
        annotations,
        ImageReader(images, transforms, seed, names),
        row_names=names,
        contents={"paths": names, "bytes": images.size},
        inputs=ImageRules(path=columns.path, image=image, reading=reading),
        notes=[*found.notes, *notes],
    )


def _with_images(path: Path, found: Shards, *, skip: bool) -> tuple[Shards, list[str]]:
    """The samples that have an image, where that is not an error, and of these the ones that can be read."""
    notes = []
    without = found.images.offset < 0
    if without.any():
        if not skip or without.all():
            found.refuse_imageless("name the image's ending in data.image, or set data.on_bad_sample: skip")
        shown = found.table.rows_where(without)
        notes.append(f"{path}: {without.sum()} sample(s) without an image left out (data.on_bad_sample: skip): {shown}")
        found = found.take(np.flatnonzero(~without))
    if skip:
        fine = np.array(readable(found.images))
        if not fine.all():
            shown = first_rows(found.table.row_numbers[~fine], _LISTED)
            notes.append(
                f"{path}: {(~fine).sum()} image(s) left out, which cannot be read (data.on_bad_sample: skip): {shown}"
            )
            found = found.take(np.flatnonzero(fine))
    return found, notes
