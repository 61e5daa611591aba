"""One sha256 over a data set, so that a report says which data it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mibias_cli.data.batch import Attribute, Split

__all__ = ["Streamed", "fingerprint"]


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """An array of this type and shape that is hashed as if it were whole: `parts` reads it anew, rows in order."""

    dtype: str
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[np.ndarray]]


def fingerprint(
    splits: Iterable[Split],
    attributes: Mapping[str, Attribute],
    class_names: Iterable[str],
    contents: Mapping[str, np.ndarray | Streamed | Iterable[str]],
) -> str:
    """sha256 (hex) over splits, labels, attributes and contents (pixels, features, or paths below the root) by name.

    It does not depend on where the files lie or on when they were read.
    """
    digest = hashlib.sha256()
    _add(digest, "class_names", class_names)
    for name in sorted(attributes):
        _add(digest, "attribute", [repr(attributes[name])])
    # rows too: the same samples in other splits are another data set
    for split in splits:
        _add(digest, split.name, split.rows)
        _add(digest, "y", split.y)
        for name in sorted(split.c):
            _add(digest, f"c {name}", split.c[name])
            _add(digest, f"known {name}", split.known[name])
        if split.group is not None:
            _add(digest, "group", [str(g) for g in split.group])
    for name in sorted(contents):
        _add(digest, f"contents {name}", contents[name])
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, values: np.ndarray | Streamed | Iterable[str]) -> None:
    """Add one named part, with its type and shape, so that no two different data sets give the same bytes."""
    # the same bytes as the whole array would give, so that data on disk and in memory have one fingerprint
    if isinstance(values, Streamed):
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        for part in values.parts():
            digest.update(np.ascontiguousarray(part, dtype=values.dtype).data)
        return
    if isinstance(values, np.ndarray):
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).data)
        return
    texts = [str(v).encode() for v in values]
    digest.update(f"{name} {len(texts)}\n".encode())
    # each with its length, or ("ab", "c") and ("a", "bc") would be the same bytes
    for text in texts:
        digest.update(f"{len(text)} ".encode() + text)
