"""Columns of text as their different values and, for each row, which of them it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Coded", "CodedColumns", "texts"]


@dataclass(frozen=True, eq=False)
class Coded:
    """Text (n,), None where it is missing: what is done once per different value need not be done per row.

    Args:
        values: The different values (k,) in the order in which they first come, as objects. Each is in some row.
        codes: The position there of each row's value (n,) int32.
    """

    values: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, cells: Sequence[str | None] | np.ndarray) -> Coded:
        """The same of a cell for each row.

        Example:
            >>> column = Coded.of(["b", None, "b"])
            >>> column.values.tolist(), column.codes.tolist()
            (['b', None], [0, 1, 0])
        """
        listed = cells.tolist() if isinstance(cells, np.ndarray) else cells
        values = list(dict.fromkeys(listed))
        index = dict(zip(values, range(len(values)), strict=True))
        return cls(texts(values), np.fromiter(map(index.__getitem__, listed), np.int32, len(listed)))

    @classmethod
    def of_codes(cls, values: Sequence[str | None] | np.ndarray, codes: np.ndarray) -> Coded:
        """The same of values of which some may be equal, and some in no row.

        Example:
            >>> column = Coded.of_codes(["a", "b", "a"], np.array([1, 2, 0]))
            >>> column.values.tolist(), column.codes.tolist()
            (['b', 'a'], [0, 1, 1])
        """
        one = cls.of(values)
        n, k = len(codes), len(one.values)
        codes = one.codes[codes]
        # of several rows with one code the last that is written stays: backwards, that is the first
        first = np.full(k, n, dtype=np.int64)
        first[codes[::-1]] = np.arange(n, dtype=np.int32)[::-1]
        order = np.argsort(first)[: int((first < n).sum())]
        new = np.zeros(k, dtype=np.int32)
        new[order] = np.arange(len(order))
        return cls(one.values[order], new[codes])

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def cells(self) -> np.ndarray:
        """Each row's text (n,) as objects; rows of one value share it."""
        return np.asarray(self.values[self.codes])

    @cached_property
    def known(self) -> np.ndarray:
        """A mask (n,) of the rows with a value."""
        return self.where(lambda value: value is not None)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many rows have each value, missing ones left out."""
        rows = np.bincount(self.codes, minlength=len(self.values)).tolist()
        return {value: n for value, n in zip(self.values, rows, strict=True) if value is not None}

    def where(self, holds: Callable[[str | None], bool]) -> np.ndarray:
        """A mask (n,) of the rows of whose value something holds."""
        return np.array([holds(value) for value in self.values], dtype=bool)[self.codes]

    def map(self, change: Callable[[str | None], str | None]) -> Coded:
        """The column with every value changed."""
        new = [change(value) for value in self.values]
        return self if new == self.values.tolist() else Coded.of_codes(new, self.codes)

    def take(self, positions: np.ndarray) -> Coded:
        """The rows at these positions (or where a mask is True)."""
        return Coded.of_codes(self.values, self.codes[positions])


class CodedColumns(Mapping[str, np.ndarray]):
    """Columns by name as arrays (n,) of text, which are made of their codes when they are asked for."""

    def __init__(self, coded: Mapping[str, Coded]) -> None:
        self.coded = dict(coded)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.coded[name].cells

    def __contains__(self, name: object) -> bool:
        # Mapping's own would make the array
        return name in self.coded

    def __iter__(self) -> Iterator[str]:
        return iter(self.coded)

    def __len__(self) -> int:
        return len(self.coded)


def texts(values: Sequence[str | None]) -> np.ndarray:
    """Text, and None where it is missing, as an object array (n,)."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
