"""Text of very many rows, as paths are, kept as bytes and looked at together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["PackedTexts", "Picked", "RowNames", "is_large"]

LARGE = 200_000
"""Rows of a manifest beyond which its files are not looked for one by one before a run."""
_PART = 2**20
"""Rows of one array: its letters are at most 2 GiB."""


def is_large(n_rows: int) -> bool:
    """Whether a manifest has so many rows that their files are not looked for one by one before a run."""
    return n_rows > LARGE


@dataclass(frozen=True, eq=False)
class PackedTexts(Sequence[str]):
    """Text of very many rows in some bytes more than its letters; a str for each would take four times as much.

    Args:
        chunks: Arrow's strings, null where a value is missing.
    """

    chunks: pa.ChunkedArray

    @classmethod
    def of(cls, column: pa.ChunkedArray, missing: Sequence[str]) -> PackedTexts:
        """A column of strings without blanks around them; empty ones and those of `missing` are null."""
        nothing = pa.array(["", *missing], pa.string())
        chunks = []
        for chunk in column.cast(pa.string()).chunks:
            trimmed = pc.utf8_trim_whitespace(chunk)
            # mostly there is nothing to change, and no copy to be kept
            if _offsets(trimmed)[-1] != np.subtract(*_offsets(chunk)[[-1, 0]]):
                chunk = trimmed
            gone = pc.is_in(chunk, value_set=nothing)
            chunks.append(pc.if_else(gone, pa.scalar(None, pa.string()), chunk) if gone.true_count else chunk)
        return cls(pa.chunked_array(chunks, pa.string()))

    @classmethod
    def of_cells(cls, cells: np.ndarray) -> PackedTexts:
        """The same of texts (n,) as objects, None where missing."""
        parts = [pa.array(cells[start : start + _PART], pa.string()) for start in range(0, len(cells), _PART)]
        return cls(pa.chunked_array(parts, pa.string()))

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        return str(self.chunks[row].as_py())

    def take(self, positions: np.ndarray) -> PackedTexts:
        """The rows at these positions in ascending order (or where a mask is True)."""
        mask = positions
        if positions.dtype != bool:
            mask = np.zeros(len(self), dtype=bool)
            mask[positions] = True
        return PackedTexts(self.chunks.filter(pa.array(mask)))

    def missing(self) -> np.ndarray:
        """A mask (n,) of the rows without a value."""
        return _mask(pc.is_null(self.chunks))

    def ending(self, endings: Sequence[str]) -> np.ndarray:
        """A mask (n,) of the rows that end in one of these, in small or in capital letters."""
        pattern = f"({'|'.join(map(re.escape, endings))})$"
        return _mask(pc.match_substring_regex(self.chunks, pattern, ignore_case=True))

    def may_lead_out(self) -> np.ndarray:
        """A mask (n,) of the paths with two points in them, or from the top of the disk."""
        return _mask(pc.or_(pc.match_substring(self.chunks, ".."), pc.starts_with(self.chunks, "/")))

    def shared(self, part: np.ndarray) -> np.ndarray:
        """A mask (n,) of the rows whose text is also in a row of a smaller part (n,) int."""
        found = np.zeros(len(self), dtype=bool)
        for k in range(1, int(part.max()) + 1):
            own = self.take(part == k).chunks
            before = (part < k) & _mask(pc.is_in(self.chunks, value_set=own))
            if before.any():
                found |= (part == k) & _mask(pc.is_in(self.chunks, value_set=self.take(before).chunks))
        return found

    @property
    def n_bytes(self) -> int:
        """Bytes of all texts."""
        return sum(map(len, self.letters()))

    def lengths(self) -> Iterator[np.ndarray]:
        """How many bytes each text has, in parts."""
        return (np.diff(_offsets(chunk)) for chunk in self.chunks.chunks)

    def letters(self) -> Iterator[np.ndarray]:
        """The bytes of all texts one after the other, in parts."""
        for chunk in self.chunks.chunks:
            start, end = _offsets(chunk)[[0, -1]]
            if end > start:
                yield np.frombuffer(chunk.buffers()[2], np.uint8, end - start, start)


@dataclass(frozen=True, eq=False)
class RowNames(Sequence[str]):
    """What to call each row in an error, by its number (n,) and perhaps a text, made when it is asked for.

    Example:
        >>> RowNames(np.array([2, 3]), ["a.png", "b.png"])[1]
        'row 3 (b.png)'
    """

    numbers: np.ndarray
    texts: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        return f"row {self.numbers[row]}" + ("" if self.texts is None else f" ({self.texts[row]})")


@dataclass(frozen=True, eq=False)
class Picked(Sequence[str]):
    """Some of many names: none is copied.

    Example:
        >>> list(Picked(["a", "b", "c"], np.array([2, 0])))
        ['c', 'a']
    """

    names: Sequence[str]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> Picked: ...
    def __getitem__(self, position: int | slice) -> str | Picked:
        if isinstance(position, slice):
            return Picked(self.names, self.rows[position])
        return self.names[int(self.rows[position])]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


def _mask(found: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(found.fill_null(False).to_numpy(), dtype=bool)


def _offsets(chunk: pa.Array) -> np.ndarray:
    return np.frombuffer(chunk.buffers()[1], np.int32, len(chunk) + 1, 4 * chunk.offset)
