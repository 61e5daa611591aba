"""Waterbirds' metadata.csv with its numbers put into words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mibias_cli.data.files.tabular import first_rows, read_table, require_columns
from mibias_cli.errors import DataError

__all__ = ["METADATA_COLUMNS", "read_waterbirds"]

METADATA_COLUMNS = ("img_id", "img_filename", "y", "split", "place")
"""By these one knows the file; it also has place_filename."""

_WORDS = {
    "y": ("bird", ("landbird", "waterbird")),
    "place": ("place", ("land", "water")),
    "split": ("split", ("train", "validation", "test")),
}


def read_waterbirds(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of a manifest (path, bird, place, split), and notes: images of metadata.csv that are not there.

    A recipe can read metadata.csv as it is; this puts words in place of 0, 1 and 2, so that reports say what they mean.

    Args:
        folder: Holds metadata.csv and the images, as group_DRO lays them out.

    Raises:
        DataError: No such file, missing columns, values other than 0, 1 (and 2 for the split), repeated ids, no image.
    """
    table = read_table(folder / "metadata.csv")
    require_columns(table, {f"Waterbirds' {name}": name for name in METADATA_COLUMNS})
    for name in ("img_id", "img_filename"):
        repeated = [str(value) for value, n in Counter(table.columns[name]).items() if n > 1]
        if repeated:
            raise DataError(f"{table.path}: {len(repeated)} value(s) of {name} occur twice: {first_rows(repeated)}")
    for name, (_, words) in _WORDS.items():
        allowed = [str(k) for k in range(len(words))]
        faults = zip(table.row_numbers, table.columns[name], strict=True)
        wrong = [f"row {number} ({value!r})" for number, value in faults if value not in allowed]
        if wrong:
            raise DataError(
                f"{table.path}: {len(wrong)} value(s) of {name!r} are none of {', '.join(allowed)}: {first_rows(wrong)}"
            )
    paths = [str(value) for value in table.columns["img_filename"]]
    kept = [row for row, path in enumerate(paths) if (folder / path).is_file()]
    absent = [f"row {table.row_numbers[row]} ({paths[row]})" for row in sorted(set(range(len(paths))) - set(kept))]
    if not kept:
        raise DataError(f"{folder}: none of the {len(paths)} images of metadata.csv is in it: {first_rows(absent)}")
    columns = {"path": [paths[row] for row in kept]}
    columns |= {to: [words[int(table.columns[name][r])] for r in kept] for name, (to, words) in _WORDS.items()}
    notes = [f"{len(absent)} image(s) of metadata.csv are not there, left out: {first_rows(absent)}"] if absent else []
    return columns, notes
