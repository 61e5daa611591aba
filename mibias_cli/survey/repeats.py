"""Images that a data set has more than once: by their path, or by their content under other names."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import SPLITS, Annotations
from mibias_cli.data.files.folders import real_paths
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.roles import Roles

__all__ = ["repeat_notes", "same_content"]

_CHANGED = re.compile(
    r"(.+?)(?:[ _-]+(?:aug|augmented|flip|flipped|hflip|vflip|mirror|rot|rotated?|copy|noisy?|blur|blurred|bright|crop)"
    r"[ _-]?\d*|[ _-](?:jpe?g|png)\.rf\.[0-9a-f]{8,})+",
    re.IGNORECASE,
)
"""cat_1_aug2, cat_1_flip_rot90, `cat_1 - Copy`, and Roboflow's cat_1_jpg.rf.0123…"""
_MOST_READ = 50_000
"""Files that are read to compare their contents: those of one size with another."""


def repeat_notes(layout: Layout, roles: Roles, annotations: Annotations) -> Iterator[str]:
    """Images that several rows name, or that are the same under several names; and where such rows contradict."""
    if layout.path is None or layout.root is None:
        return
    table = annotations.table
    names = [str(v) for v in table.columns[layout.path]]
    targets, splits = table.columns[roles.target], [SPLITS[k] for k in annotations.role]
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    by_path = [found for found in rows.values() if len(found) > 1]
    yield from _notes("named by several rows", [(names[x[0]], x) for x in by_path], targets, splits, roles.target)
    yield from _notes("there with changed copies by their names", _changed_copies(names), targets, splits, roles.target)
    # by content: the first row of each path stands for it
    files = real_paths(list(rows), layout.root)
    copies, unread = same_content(files)
    first = [found[0] for found in rows.values()]
    by_content = [[first[k] for k in found] for found in copies]
    shown = [(" = ".join(names[row] for row in found[:3]), found) for found in by_content]
    yield from _notes("the same under several names", shown, targets, splits, roles.target)
    if unread:
        yield f"{unread:,} images of one size with others were not compared by content"


def _changed_copies(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Rows of images and of those that augmentation made of them before, by their names; and some names of each."""
    rows: dict[str, list[int]] = defaultdict(list)
    changed = set()
    for row, name in enumerate(names):
        stem = name.rpartition(".")[0] or name
        if (match := _CHANGED.fullmatch(stem)) is not None:
            changed.add(match[1])
        rows[match[1] if match is not None else stem].append(row)
    found = [rows[stem] for stem in rows if stem in changed and len({names[row] for row in rows[stem]}) > 1]
    return [(" = ".join(names[row] for row in some[:3]), some) for some in found]


def _notes(
    how: str, repeats: Sequence[tuple[str, list[int]]], targets: np.ndarray, splits: Sequence[str], target: str
) -> Iterator[str]:
    """One note of all repeats, one of those whose targets differ, and one of those that two splits have."""
    if not repeats:
        return
    yield f"{len(repeats)} image(s) are {how}: {first_rows([name for name, _ in repeats])}"
    for what, values in ((f"more than one value of {target}", targets), ("rows in more than one split", splits)):
        unlike = [name for name, rows in repeats if len({values[row] for row in rows}) > 1]
        if unlike:
            yield f"{len(unlike)} image(s) {how} have {what}: {first_rows(unlike)}"


def same_content(files: Sequence[str], most: int = _MOST_READ) -> tuple[list[list[int]], int]:
    """Positions of files of the same content, a list for each content that several have; and how many were not read.

    Only files of one size are read, at most so many.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for position, file in enumerate(files):
        by_size[Path(file).stat().st_size].append(position)
    candidates = [position for found in by_size.values() if len(found) > 1 for position in found]
    by_content: dict[bytes, list[int]] = defaultdict(list)
    for position in candidates[:most]:
        with Path(files[position]).open("rb") as opened:
            by_content[hashlib.file_digest(opened, "sha256").digest()].append(position)
    return [same for same in by_content.values() if len(same) > 1], max(0, len(candidates) - most)
