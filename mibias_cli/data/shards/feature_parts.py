"""Stored embeddings in several files of one folder, as `mibias embed --rows-per-shard` writes them, read as one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mibias_cli.data.files.stored_features import StoredFeatures, open_features
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError

__all__ = ["open_stored", "part_files", "part_name", "some_part"]

_NAME = re.compile(r"(.+)-(\d{5,})-of-(\d{5,})(\.parquet|\.pq|\.safetensors|\.npz|\.npy)", re.IGNORECASE)


def part_name(number: int, count: int, suffix: str) -> str:
    """The name of one file of several.

    Example:
        >>> part_name(3, 123, ".parquet")
        'part-00003-of-00123.parquet'
    """
    return f"part-{number:05d}-of-{count:05d}{suffix}"


def some_part(folder: Path) -> Path | None:
    """A file that is called as shards of embeddings are, or None where a path is no folder with such files."""
    return min((file for file, _ in _parts(folder)), default=None) if folder.is_dir() else None


def part_files(folder: Path) -> list[Path]:
    """The shards of a folder in order, all of which are there; their names say how many there are.

    Raises:
        DataError: None, shards of several sets, or a shard that is missing.
    """
    sets: dict[tuple[str, int, str], dict[int, Path]] = {}
    for file, match in _parts(folder):
        sets.setdefault((match[1], int(match[3]), match[4]), {})[int(match[2])] = file
    if not sets:
        raise DataError(
            f"{folder}: is a folder without shards of embeddings (part-00000-of-00123.parquet); name a file"
        )
    if len(sets) > 1:
        listed = first_rows(sorted(min(numbered.values()).name for numbered in sets.values()))
        raise DataError(f"{folder}: holds shards of {len(sets)} sets ({listed}); move each to a folder of its own")
    ((stem, count, suffix), numbered) = sets.popitem()
    if max(numbered) >= count:
        raise DataError(f"{numbered[max(numbered)]}: there is no such shard of {count}: they count from 0; rename it")
    # a set need not be in memory as names: a file may claim to be one of billions
    if len(numbered) < count:
        missing = (k for k in range(count) if k not in numbered)
        names = [f"{stem}-{k:05d}-of-{count:05d}{suffix}" for k, _ in zip(missing, range(5), strict=False)]
        more = count - len(numbered) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        raise DataError(
            f"{folder}: {count - len(numbered)} of {count} shards are not there: {listed}; the `mibias embed` that "
            "wrote the others writes them when it is called again"
        )
    return [numbered[k] for k in sorted(numbered)]


def open_stored(path: Path, *, key: str, prefix: str) -> StoredFeatures:
    """The features of a file, or of all shards in a folder, one behind the other; only headers are read.

    Args:
        path: As `open_features` takes it, or a folder of such files called `NAME-00000-of-00123.parquet` and so on.
        key, prefix: As `open_features` takes them.

    Raises:
        DataError: As `open_features` and `part_files`; or a shard's features are of another width.
    """
    if not path.is_dir():
        return open_features(path, key=key, prefix=prefix)
    parts = [open_features(file, key=key, prefix=prefix) for file in part_files(path)]
    width = parts[0].shape[1]
    for part in parts:
        if part.shape[1] != width:
            raise DataError(
                f"{part.path}: its embeddings are {part.shape[1]} wide, those of {parts[0].path.name} are {width}; "
                "shards of one folder are of one model"
            )
    rows = sum(part.shape[0] for part in parts)
    return _Joined(path=path, shape=(rows, width), parts=tuple(parts))


@dataclass(frozen=True, kw_only=True)
class _Joined(StoredFeatures):
    parts: tuple[StoredFeatures, ...]

    @property
    def by_row(self) -> bool:
        return all(part.by_row for part in self.parts)

    def chunks(self) -> Iterator[np.ndarray]:
        for part in self.parts:
            yield from part.chunks()

    def take(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        ends = np.cumsum([part.shape[0] for part in self.parts])
        # of shards without rows, which end where they begin, none is found
        owner = np.searchsorted(ends, rows, side="right")
        for k in np.unique(owner).tolist():
            own = owner == k
            out[own] = self.parts[k].take(np.asarray(rows)[own] - (ends[k] - self.parts[k].shape[0]))
        return out


def _parts(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for file in folder.iterdir():
        match = _NAME.fullmatch(file.name)
        if match is not None and not file.name.startswith(".") and file.is_file():
            yield file, match
