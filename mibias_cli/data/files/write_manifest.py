"""A manifest as a CSV file, never over one that exists unless that is wanted."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mibias_cli.errors import DataError

__all__ = ["refuse_existing", "write_manifest"]


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise if any of the files exists.

    Raises:
        DataError: One does.
    """
    existing = [str(path) for path in paths if path.exists()]
    if existing:
        raise DataError(f"{', '.join(existing)}: exists already; choose another --out, or pass --overwrite")


def write_manifest(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write columns of equal length, the whole file or none of it.

    Args:
        path: The file, replaced if it exists; its folder is made.
        columns: By name; empty text where a value is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # renamed when it is whole: an interrupted run leaves no half manifest under the name
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    os.replace(unfinished, path)
