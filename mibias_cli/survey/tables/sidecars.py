"""Tables that lie beside images: found, and joined by path, never by row order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mibias_cli.data.columns import look_at, name_words
from mibias_cli.data.files.tabular import Table, first_rows, read_table, texts
from mibias_cli.errors import DataError
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.tables.matching import image_column
from mibias_cli.survey.tables.split_tables import tables_in

__all__ = ["Sidecar", "find_sidecars", "join_by_key", "join_sidecars"]

_FEWEST = 0.05
_KEY_WORDS = {"id", "ids", "pid", "mrn", "uid", "accession"}


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A table that lists images.

    Args:
        file, table: The table.
        path: Its column with paths.
        row_of: By image (its path below the root), the row that names it.
        exact: Whether each path is the image's path below the root (and not its name alone, or one from elsewhere).
        n_unused: Rows that name no image.
        how: How its paths were read, in words, where not to the letter.
    """

    file: Path
    table: Table
    path: str
    row_of: dict[str, int]
    exact: bool
    n_unused: int
    how: str = ""


def find_sidecars(root: Path, images: Sequence[str], given: Path | None) -> tuple[list[Sidecar], list[str]]:
    """The tables that list more than half of some images: the given one, or those in the folder or beside it.

    The one that lists most comes first; the others have columns that it lacks. Notes of those that list fewer.

    Raises:
        DataError: The given table lists none of them, or lists one twice.
    """
    if given is not None:
        found = _read(given, images)
        if found is None:
            raise DataError(
                f"{given}: no column of it holds paths or names of the images below {root} ({images[0]}, …)"
            )
        return [found], []
    tables = [path for folder in (root, root.parent) for path in tables_in(folder)]
    listing, notes = [], []
    for path in tables:
        try:
            found = _read(path, images)
        except DataError:
            continue  # some other table, which need not be one of ours
        if found is not None and 2 * len(found.row_of) > len(images):
            listing.append(found)
        elif found is not None and len(found.row_of) >= _FEWEST * len(images):
            few = f"lists {len(found.row_of)} of {len(images)} images, fewer than most, and is not read"
            notes.append(f"{path.name} {few}: --table {path} reads it")
    listing.sort(key=lambda sidecar: -len(sidecar.row_of))
    # what is in a table already is not taken from another
    known: set[str] = set()
    kept: list[Sidecar] = []
    for sidecar in listing:
        if not kept or (
            set(sidecar.table.columns) - known - {sidecar.path} and sidecar.file.parent == kept[0].file.parent
        ):
            kept.append(sidecar)
            known |= set(sidecar.table.columns)
    against = [note for sidecar in listing[1:] if (note := _contradiction(listing[0], sidecar))]
    if kept:
        kept[0] = replace(kept[0], how="; ".join([kept[0].how, *against] if kept[0].how else against))
    return kept, notes


def _contradiction(first: Sidecar, other: Sidecar) -> str:
    """Where another table has other values for the same images, or nothing."""
    for name in first.table.columns:
        if name != first.path and name != other.path and name in other.table.columns:
            here, there = first.table.columns[name], other.table.columns[name]
            both = [(row, other.row_of[image]) for image, row in first.row_of.items() if image in other.row_of]
            n = sum(here[a] != there[b] for a, b in both)
            if n:
                return (
                    f"{other.file.name} has other values of {name} for {n} images; those of {first.file.name} are read"
                )
    return ""


def _read(path: Path, images: Sequence[str]) -> Sidecar | None:
    table = read_table(path)
    found = image_column(table, images)
    if found is None:
        return None
    column, match = found
    if match.ambiguous:
        rows = first_rows([f"row {table.row_numbers[row]}" for row in match.ambiguous])
        raise DataError(
            f"{path}: its {column!r} holds names alone, and several images have the same name ({rows}); add folders"
        )
    row_of: dict[str, int] = {}
    for row, image in enumerate(match.images):
        if image is not None:
            row_of.setdefault(image, row)
    if len(row_of) < match.n:
        raise DataError(f"{path}: {match.n - len(row_of)} row(s) name an image a second time")
    return Sidecar(
        file=path,
        table=table,
        path=column,
        row_of=row_of,
        exact=match.exact,
        n_unused=len(table) - match.n,
        how=f"{column} of {path.name} is read {match.how}" if match.how else "",
    )


def join_sidecars(layout: Layout, sidecars: Sequence[Sidecar]) -> Layout:
    """The layout with the columns of all of them, and of tables beside them that share a key (`join_by_key`)."""
    first, *others = sidecars
    layout = _joined(layout, first)
    keyed = [file for file in tables_in(first.file.parent) if file not in {x.file for x in sidecars}]
    if not others:
        return join_by_key(layout, keyed)
    if layout.path != "path":
        # the first one's own file no longer serves: its columns are not all
        renamed = {"path" if name == layout.path else name: v for name, v in layout.table.columns.items()}
        layout = replace(layout, table=replace(layout.table, columns=renamed), file=None, path="path")
    for sidecar in others:
        layout = replace(_joined(layout, sidecar, alone=False), file=None)
    return join_by_key(layout, keyed)


def join_by_key(layout: Layout, files: Sequence[Path]) -> Layout:
    """The layout with columns of tables that name no images but patients, studies or the like, one row for each.

    The key is a column of both whose name says that it is an id, has one row per value there, and is in most rows here;
    of several the one that is in most rows.
    """
    for file in files:
        try:
            table = read_table(file)
        except DataError:
            continue  # some other file
        found = _key_of(layout.table, table)
        new = [] if found is None else [name for name in table.columns if name not in layout.table.columns]
        if found is None or not new:
            continue
        key, row_of = found
        rows = [row_of.get(value, -1) for value in layout.table.columns[key]]
        columns = {name: texts([table.columns[name][row] if row >= 0 else None for row in rows]) for name in new}
        without = sum(row < 0 for row in rows)
        note = f"{file.name} is joined by {key}: {first_rows(new)}" + (
            f"; {without} row(s) without one" if without else ""
        )
        joined = layout.table.with_columns(columns)
        layout = replace(layout, table=joined, file=None, notes=(*layout.notes, note))
    return layout


def _key_of(rows: Table, table: Table) -> tuple[str, dict[str, int]] | None:
    """A column by which a table's rows belong to others, and the row of each of its values; or None."""
    best: tuple[int, str, dict[str, int]] | None = None
    for name in table.columns:
        values = table.columns[name]
        if name not in rows.columns or not (set(name_words(name)) & _KEY_WORDS or look_at(table, name).kind == "path"):
            continue
        row_of = {str(value): row for row, value in enumerate(values) if value is not None}
        if len(row_of) < sum(value is not None for value in values):
            continue  # several rows of one value: nothing says which one is meant
        hits = sum(value in row_of for value in rows.columns[name])
        if 2 * hits > len(rows) and (best is None or hits > best[0]):
            best = (hits, name, row_of)
    return None if best is None else best[1:]


def _joined(layout: Layout, sidecar: Sidecar, alone: bool = True) -> Layout:
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
    notes += [sidecar.how] if sidecar.how else []
    made = layout.source != "imagefolder" and set(layout.table.columns) != {"path"}
    serves = (
        alone
        and sidecar.exact
        and not without
        and not made
        and (layout.source == "imagefolder" or not sidecar.n_unused)
    )
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
