"""Image paths of a manifest below their root: none may lead out of it, and all must exist."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.errors import DataError

__all__ = ["resolve_paths"]


def resolve_paths(table: Table, column: str, root: Path) -> tuple[list[Path], list[str]]:
    """The image files of a table's rows, and what to call each row in an error.

    A manifest is often somebody else's, so a path (`..`, absolute or through a link) that leads out of the root is an
    error. All rows are checked before anything is read, and all faults of one kind are told at once.

    Args:
        table: The rows.
        column: The column with paths relative to the root.
        root: The folder.

    Raises:
        DataError: No such folder; or rows without a path, with a path out of the root, or with a missing file.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the folder that image paths start from")
    values: Sequence[str | None] = list(table.columns[column])
    numbers = [int(number) for number in table.row_numbers]
    _refuse(table, [n for n, v in zip(numbers, values, strict=True) if v is None], f"have no path in {column!r}")
    names = [f"row {n} ({v})" for n, v in zip(numbers, values, strict=True)]
    base = os.path.realpath(root)
    folders: dict[str, str] = {}
    paths: list[Path] = []
    outside: list[str] = []
    missing: list[str] = []
    for name, value in zip(names, values, strict=True):
        assert value is not None
        path, exists = _real(os.path.join(base, value), folders)
        if os.path.commonpath([base, path]) != base:
            outside.append(name)
        elif not exists:
            missing.append(name)
        paths.append(Path(path))
    _refuse(
        table,
        outside,
        f"have a path that leads out of {root}; set data.root to a folder that holds all images (and links' targets)",
    )
    _refuse(table, missing, f"name a file that does not exist below {root}")
    return paths, names


def _real(path: str, folders: dict[str, str]) -> tuple[str, bool]:
    """The path without links or `..`, and whether it is a file; each folder is resolved once."""
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path), False
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    path = os.path.join(folders[folder], name)
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return path, False
    if stat.S_ISLNK(mode):
        path = os.path.realpath(path)
        return path, os.path.isfile(path)
    return path, stat.S_ISREG(mode)


def _refuse(table: Table, rows: Sequence[str] | Sequence[int], what: str) -> None:
    if rows:
        raise DataError(f"{table.path}: {len(rows)} row(s) {what}: {first_rows(rows)}")
