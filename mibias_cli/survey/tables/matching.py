"""Which image each row of a table names: by its path, a part of it, or its name alone, with or without its suffix."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np

from mibias_cli.data.columns import ColumnLook, look_at, name_words
from mibias_cli.data.files.tabular import Table
from mibias_cli.survey.columns import guess_path

__all__ = ["Match", "image_column", "match_images", "may_name_images"]

_MOST_DROPPED = 12
_LOOKED_AT = 500
_WORDS = {
    "image", "img", "file", "filename", "photo", "picture", "hash", "md5hash", "dicom", "isic", "path", "uuid", "id",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Match:
    """The images that the values of a column name.

    Args:
        images: By row (n,), the image's path below the root, or None.
        exact: Whether each value that names an image is its path to the letter.
        ambiguous: Rows whose value is the name of several images.
        how: How values were read, in words; empty where exact.
    """

    images: list[str | None]
    exact: bool
    ambiguous: list[int]
    how: str

    @property
    def n(self) -> int:
        """Rows that name an image."""
        return sum(image is not None for image in self.images)

    @property
    def n_meant(self) -> int:
        """Rows that name an image, or several."""
        return self.n + len(self.ambiguous)


def image_column(table: Table, images: Sequence[str]) -> tuple[str, Match] | None:
    """The column that names most of some images, at least half of its rows or of the images; or None.

    Rows whose name several images have count too: whoever asks says what is to become of them.
    """
    looks = [look_at(table, name) for name in table.columns]
    # a column of paths first; then ids, as a name without suffix is one
    first = guess_path(looks)
    likely = [look.name for look in looks if look.name != first and _may_name(look)]
    best: tuple[str, Match] | None = None
    for name in [*([first] if first is not None else []), *likely]:
        values = table.columns[name]
        some = values[:: max(1, len(values) // _LOOKED_AT)]
        if not match_images(some, images).n_meant:
            continue
        match = match_images(values, images)
        if 2 * match.n_meant >= min(len(values), len(images)) and (best is None or match.n_meant > best[1].n_meant):
            best = (name, match)
    return best


def may_name_images(table: Table) -> bool:
    """Whether some column may hold names of images without suffix."""
    return any(_may_name(look_at(table, name)) for name in table.columns)


def match_images(values: np.ndarray, images: Sequence[str]) -> Match:
    """The image that each value names, all values read in one way: the one in which most of them name an image.

    Ways are: the end of the image's path (all of it, or its name), after so many folders at the value's beginning were
    dropped; as written, and then without suffix and whatever the case.
    """
    parts = [None if v is None else _parts(str(v)) for v in values]
    deepest = max((len(p) for p in parts if p is not None), default=1)
    wanted = {key for p in parts if p for key in _keys(p[-1:], loose=True)}
    # only images of these names can be meant, which keeps the index small
    split = [(image, PurePosixPath(image).parts) for image in images]
    split = [(image, p) for image, p in split if not wanted.isdisjoint(_keys(p[-1:], loose=True))]
    best: Match | None = None
    for loose in (False, True):
        index: dict[tuple[str, ...], list[str]] = {}
        for image, p in split:
            for k in range(1, len(p) + 1):
                for key in _keys(p[-k:], loose):
                    index.setdefault(key, []).append(image)
        # drop the fewest folders that will do; a value's own name is never dropped
        for drop in range(min(deepest, _MOST_DROPPED + 1)):
            match = _matched(parts, index, drop, loose)
            if best is None or (match.n, len(match.ambiguous)) > (best.n, len(best.ambiguous)):
                best = match
            if best.n == len(values):
                break
        if best is not None and best.n == len(values):
            break
    assert best is not None
    return best


def _matched(
    parts: Sequence[tuple[str, ...] | None], index: dict[tuple[str, ...], list[str]], drop: int, loose: bool
) -> Match:
    found: list[str | None] = []
    ambiguous = []
    exact = not loose and not drop
    for row, p in enumerate(parts):
        kept = None if p is None else p[min(drop, len(p) - 1) :]
        keys = [] if kept is None else _keys(kept, loose)
        hits = next((index[key] for key in keys if key in index), [])
        if len(hits) > 1:
            # the whole path decides, where the value is one
            hits = [image for image in hits if kept is not None and PurePosixPath(image).parts == kept] or hits
        if len(hits) > 1:
            ambiguous.append(row)
        found.append(hits[0] if len(hits) == 1 else None)
        exact = exact and (not hits or "/".join(kept or ()) == hits[0])
    how = "" if exact else "by name, whatever folder, suffix and case" if loose else "by the end of the path"
    return Match(images=found, exact=exact, ambiguous=ambiguous, how=how)


def _keys(parts: tuple[str, ...], loose: bool) -> list[tuple[str, ...]]:
    """What a path is found by: as written, or in lower case with its suffix and without."""
    if not loose:
        return [parts]
    # é is one character or two, by the system that wrote the name
    lower = tuple(unicodedata.normalize("NFC", part.lower()) for part in parts)
    stem = PurePosixPath(lower[-1]).stem
    # a blank is %20 in addresses
    plain = tuple(unquote(part) for part in lower)
    found = [lower, (*lower[:-1], stem), plain, (*plain[:-1], PurePosixPath(plain[-1]).stem)]
    # 7 names 0007.png
    return list(dict.fromkeys([*found, (*lower[:-1], stem.lstrip("0") or "0")] if stem.isdecimal() else found))


def _parts(value: str) -> tuple[str, ...]:
    path = PurePosixPath(value.replace("\\", "/"))
    return tuple(part for part in path.parts if part not in ("/", "..")) or (value,)


def _may_name(look: ColumnLook) -> bool:
    named = {*name_words(look.name), look.name.lower()} & _WORDS
    return look.kind == "id" or (bool(named) and look.kind in ("text", "number", "classes"))
