"""Image paths of a manifest below their root: none may lead out of it, and all must exist."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.errors import DataError

__all__ = ["resolve_paths"]


def resolve_paths(table: Table, column: str, root: Path) -> tuple[list[Path], list[str]]:
    """The image files of a table's rows, and what to call each row in an error.

    A manifest is often somebody else's, so a path (`..`, absolute or through a link) that leads out of the root is an
    error. All rows are checked before anything is read; one error names all faults of one kind.

    Args:
        table: The rows.
        column: The column with paths relative to the root.
        root: The folder.

    Raises:
        DataError: No such folder; or rows without a path, with a path out of the root, or with a missing file.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the folder that image paths start from")
    values = table.columns[column]
    empty = [str(n) for n, v in zip(table.row_numbers, values, strict=True) if v is None]
    _refuse(table, empty, f"have no path in {column!r}")
    names = [f"row {n} ({v})" for n, v in zip(table.row_numbers, values, strict=True)]
    base = os.path.realpath(root)
    folders: dict[str, str] = {}
    paths = [_real(os.path.join(base, value), folders) for value in values]
    # all rows are checked before any image is read, so that a run does not fail at its last image
    outside = [name for name, path in zip(names, paths, strict=True) if os.path.commonpath([base, path]) != base]
    _refuse(
        table,
        outside,
        f"have a path that leads out of {root}; set data.root to a folder that holds all images (and links' targets)",
    )
    missing = [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]
    _refuse(table, missing, f"name a file that does not exist below {root}")
    return [Path(path) for path in paths], names


def _real(path: str, folders: dict[str, str]) -> str:
    """The path without links or `..`."""
    folder, name = os.path.split(path)
    # realpath asks the disk for every folder on the way: once per folder, not once per image
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    path = os.path.join(folders[folder], name)
    return os.path.realpath(path) if name in ("", ".", "..") or os.path.islink(path) else path


def _refuse(table: Table, rows: Sequence[str], what: str) -> None:
    if rows:
        raise DataError(f"{table.path}: {len(rows)} row(s) {what}: {first_rows(rows)}")
