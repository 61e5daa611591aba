"""What a survey starts from: the rows of a data set, where they lie, and what their layout says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mibias_cli.data.files.images import FileImages, Images
from mibias_cli.data.files.tabular import Table, texts

__all__ = ["MOST_FILES", "Layout", "Source", "make_table"]

MOST_FILES = 2_000_000
"""A folder of more files is not looked through."""

Source = Literal["manifest", "imagefolder", "table", "embeddings", "webdataset"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set as it was found.

    Args:
        what: What it is, in words.
        source: data.source of a recipe for it.
        table: One row per sample.
        file: The file that holds these rows, as data.path, data.sidecar or data.manifest may name it; None: no file
            does, so that one has to be written.
        root: Folder that image paths start from, or None.
        features: File with embeddings, or None.
        key, prefix: Where the embeddings are in it (see `data.key` and `data.prefix`), or None.
        path: The column with image paths, or None.
        shard_images: Of shards, their images, row by row; or None.
        target, attributes: The columns that the layout itself names, or None and none.
        split: The split column and its values for train, validation and audit, or None.
        flags: Columns of yes and no that the split column is made of.
        group: The column that says which rows belong together, or None.
        follow_links: The folder to which links of images are followed, or None.
        image: Ending of the member of a sample that is the image, of shards with several; or None.
        guessed: What was guessed of split and group, and by what.
        notes: What was left out, or could not be used.
    """

    what: str
    source: Source
    table: Table
    file: Path | None = None
    root: Path | None = None
    features: Path | None = None
    key: str | None = None
    prefix: str | None = None
    path: str | None = None
    shard_images: Images | None = None
    target: str | None = None
    attributes: tuple[str, ...] = ()
    split: tuple[str, tuple[str, str, str]] | None = None
    flags: tuple[str, ...] = ()
    group: str | None = None
    follow_links: Path | None = None
    image: str | None = None
    guessed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether rows are read as they lie: none can be taken out, and no column added, by writing a table."""
        return self.source in ("embeddings", "webdataset")

    @property
    def images(self) -> Images | None:
        """The images, row by row, or None."""
        if self.shard_images is not None or self.path is None or self.root is None:
            return self.shard_images
        return FileImages([str(self.root / str(name)) for name in self.table.columns[self.path]])


def make_table(path: Path, columns: Mapping[str, Sequence[str | None]]) -> Table:
    """Columns of text, all of one length, as a table of that name in errors; empty text is a missing value."""
    # empty cells are missing values, as in a CSV
    made = {name: texts([value or None for value in values]) for name, values in columns.items()}
    n = len(next(iter(made.values())))
    return Table(path=path, columns=made, row_numbers=np.arange(1, n + 1))
