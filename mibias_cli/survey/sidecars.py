"""Tables that lie beside images: found, and joined by path, never by row order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.columns import look_at
from mibias_cli.data.files.tabular import Table, first_rows, read_table, texts
from mibias_cli.errors import DataError
from mibias_cli.survey.columns import guess_path
from mibias_cli.survey.layout import Layout

__all__ = ["Sidecar", "find_sidecar", "join_sidecar"]

_PATTERNS = ("*.csv", "*.tsv", "*.csv.gz", "*.parquet", "*.feather", "*.jsonl")
_MOST_TABLES = 20


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A table that lists images.

    Args:
        file, table: The table.
        path: Its column with paths.
        row_of: By image (its path below the root), the row that names it.
        exact: Whether each path is the image's path below the root (and not its name alone, or one from elsewhere).
        n_unused: Rows that name no image.
    """

    file: Path
    table: Table
    path: str
    row_of: dict[str, int]
    exact: bool
    n_unused: int


def find_sidecar(root: Path, images: Sequence[str], given: Path | None) -> Sidecar | None:
    """The table that lists most of some images: the given one, or one in the folder or beside it.

    Raises:
        DataError: The given table lists none of them, or lists one twice.
    """
    if given is not None:
        found = _read(given, root, images)
        if found is None:
            raise DataError(
                f"{given}: no column of it holds paths or names of the images below {root} ({images[0]}, …)"
            )
        return found
    tables = [path for folder in (root, root.parent) for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    # the table that lists most images, and at least half of them
    best: Sidecar | None = None
    for path in tables[:_MOST_TABLES]:
        try:
            found = _read(path, root, images)
        except DataError:
            continue  # some other table, which need not be one of ours
        n, most = len(found.row_of) if found else 0, len(best.row_of) if best else 0
        if n > most and 2 * n > len(images):
            best = found
    return best


def _read(path: Path, root: Path, images: Sequence[str]) -> Sidecar | None:
    table = read_table(path)
    column = guess_path([look_at(table, name) for name in table.columns])
    if column is None:
        return None
    # how the table may name an image: below the root, with the root's name, with the whole path, by the name alone
    keys: tuple[Callable[[str], str], ...] = (
        lambda image: image,
        lambda image: f"{root.name}/{image}",
        lambda image: str(root / image),
        lambda image: PurePosixPath(image).name,
    )
    rows = {PurePosixPath((v or "").replace("\\", "/")).as_posix(): r for r, v in enumerate(table.columns[column])}
    found = [{image: rows[key(image)] for image in images if key(image) in rows} for key in keys]
    # the form that finds most images; of equal ones the earlier, which says more of where the image is
    best = max(range(len(keys)), key=lambda k: (len(found[k]), -k))
    row_of = found[best]
    if not row_of:
        return None
    if best == len(keys) - 1 and len(set(row_of.values())) < len(row_of):
        raise DataError(f"{path}: its {column!r} holds names alone, and several images have the same name; add folders")
    if len(rows) < len(table):
        raise DataError(f"{path}: {len(table) - len(rows)} row(s) name an image a second time")
    return Sidecar(
        file=path, table=table, path=column, row_of=row_of, exact=best == 0, n_unused=len(rows) - len(row_of)
    )


def join_sidecar(layout: Layout, sidecar: Sidecar) -> Layout:
    """The layout with the sidecar's columns; the sidecar's own file serves where it lists every image by its path."""
    images = [str(v) for v in layout.table.columns["path"]]
    rows = np.array([sidecar.row_of.get(image, -1) for image in images])
    columns = {}
    for name, values in sidecar.table.columns.items():
        if name != sidecar.path and name not in layout.table.columns:
            columns[name] = texts([values[row] if row >= 0 else None for row in rows])
    # images without a row stay, with empty cells: their attribute is not known
    without = [image for image, row in zip(images, rows, strict=True) if row < 0]
    notes = [f"{len(without)} image(s) without a row in {sidecar.file.name}: {first_rows(without)}"] if without else []
    notes += [f"{sidecar.n_unused} row(s) of {sidecar.file.name} name no image"] if sidecar.n_unused else []
    # a manifest that names missing files cannot be loaded; an image folder's sidecar may
    serves = sidecar.exact and not without and (layout.source == "imagefolder" or not sidecar.n_unused)
    joined = layout.table.with_columns(columns)
    if serves:
        # the recipe will name the sidecar's own path column
        renamed = {sidecar.path if name == "path" else name: values for name, values in joined.columns.items()}
        joined = replace(joined, columns=renamed)
    return replace(
        layout,
        what=f"{layout.what}, with {sidecar.file.name}",
        table=joined,
        file=sidecar.file if serves else None,
        path=sidecar.path if serves else "path",
        notes=(*layout.notes, *notes),
    )
