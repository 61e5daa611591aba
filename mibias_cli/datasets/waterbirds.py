"""Waterbirds' metadata.csv with its numbers put into words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import first_rows, in_words, read_table, refuse_repeats, require_columns
from mibias_cli.errors import DataError

__all__ = ["METADATA_COLUMNS", "read_waterbirds"]

METADATA_COLUMNS = ("img_id", "img_filename", "y", "split", "place")
"""A file with these columns is Waterbirds' (it also has place_filename)."""

_WORDS = {
    "y": ("bird", {"0": "landbird", "1": "waterbird"}),
    "place": ("place", {"0": "land", "1": "water"}),
    "split": ("split", {"0": "train", "1": "validation", "2": "test"}),
}


def read_waterbirds(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Columns of a manifest (path, bird, place, split) of a folder in group_DRO's layout, and notes on absent images.

    A recipe can read metadata.csv as it is; this puts words in place of 0, 1 and 2, so that reports say what they mean.

    Raises:
        DataError: No such file, missing columns, values other than 0, 1 (and 2 for the split), repeated ids, no image.
    """
    table = read_table(folder / "metadata.csv")
    require_columns(table, {f"Waterbirds' {name}": name for name in METADATA_COLUMNS})
    # a repeated image could be in training and in the audit
    for name in ("img_id", "img_filename"):
        refuse_repeats(table, name)
    paths = table.columns["img_filename"]
    present = np.array([(folder / str(path)).is_file() for path in paths])
    # values are checked in all rows, also in those without an image
    columns = {new: np.array(in_words(table, old, words))[present].tolist() for old, (new, words) in _WORDS.items()}
    absent = [f"row {n} ({path})" for n, path in zip(table.row_numbers[~present], paths[~present], strict=True)]
    if not present.any():
        raise DataError(f"{folder}: none of the {len(paths)} images of metadata.csv is in it: {first_rows(absent)}")
    columns = {"path": [str(path) for path in paths[present]], **columns}
    notes = [f"{len(absent)} image(s) of metadata.csv are not there, left out: {first_rows(absent)}"] if absent else []
    return columns, notes
