"""Columns of a table: which role each has, and what type its values are (numbers, classes, ids, paths)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from mibias_cli.data.files.cells import EXACT, LARGEST, are_lists, number_of
from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.tabular import Table, texts
from mibias_cli.data.target import TargetKind
from mibias_cli.errors import DataError

__all__ = [
    "DEFAULT_COLUMNS",
    "DEFAULT_SPLITS",
    "DRAWN",
    "MOST_CLASSES",
    "AttributeColumn",
    "ColumnKind",
    "ColumnLook",
    "Columns",
    "SplitRule",
    "is_quantity",
    "look_at",
    "misfits",
    "name_words",
    "numbers",
    "refuse_misfits",
    "sorted_names",
]

MOST_CLASSES = 20
"""A column of more different values holds no classes."""
_MANY = 10
"""A column of numbers with more different values than this is taken for a quantity, not for classes."""
_MOSTLY = 0.8
"""A column of many numbers in at least this share of its cells is one of numbers, and the other cells are faults."""
_CURRENCY = r"(?:[$€£¥₹]|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|Rs\.?)"
_DIGITS = (
    r"(?:\d{1,3}(?:[,.' \u00a0\u202f’]\d{2,3})*[,.' \u00a0\u202f’]\d{3}(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?:[eE][-+]?\d+)?"
)
_WRITTEN_OTHERWISE = re.compile(
    rf"['’~≈<>≤≥=]{{0,2}} ?[-+(\u2212\u2013]{{0,2}}{_CURRENCY}? ?-?{_DIGITS} ?(?:{_CURRENCY}|[%‰])?[-)]?"
    r"|\d{1,3} ?/ ?\d{1,3}|\d+ ?[½¼¾]|\d+ \d/\d"
)
"""Numbers with separators of thousands, a decimal comma, another minus, currency, percent, a quote or a sign before
them (~12, <5), in brackets, with their minus behind, as two of them (120/80), or with a fraction (1 1/2)."""
_WITH_UNIT = re.compile(r"[-+]?\d+([.,]\d+)? ?([A-Za-zµ°]{1,7}|mm[²³23]|cm[²³23]|m[²³23])")
_AGES, _FEW_UNITS = {"Y", "M", "W", "D"}, 3
_POINT_OF_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")
"""035Y, 12 kg; DICOM's units of ages; 1.234 where no point may mean a decimal one."""
_ID_WORDS = {"id", "ids", "uid", "index", "number", "no", "nr", "nbr", "num", "key", "serial", "accession"}
_IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".npy", ".jfif", ".mpo", ".avif", ".jp2",
    ".ppm", ".pgm", ".tga",
)  # fmt: skip

DRAWN = "(drawn from train)"
"""In place of a value for validation rows: they are drawn from training, whatever other values there are."""

ColumnKind = Literal["classes", "number", "path", "id", "lists", "text", "empty"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns that hold path, target, split, group and marks to forget (None where there is none).

    A target may be one column, several, or none; `target_kind` says what it is, None: as the columns look. `kept` names
    further columns that good features should still tell: an audit reports on them.
    """

    path: str = "path"
    target: str | tuple[str, ...] | None = "target"
    split: str | None = None
    group: str | None = None
    forget: str | None = None
    kept: tuple[str, ...] = ()
    target_kind: TargetKind | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The target's columns; empty where there is no target."""
        return () if self.target_kind == "none" else self.named

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that are named as target, whether there is a target or not: they are no features."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    def roles(self, attributes: Mapping[str, AttributeColumn]) -> set[str]:
        """All columns with a role but the path's, those of attributes among them."""
        of_rows = {name for name in (self.split, self.group, self.forget) if name is not None}
        return {*self.named, *self.kept, *of_rows, *(spec.column or name for name, spec in attributes.items())}


@dataclass(frozen=True, kw_only=True)
class AttributeColumn:
    """Where a bias attribute is and how it is read; column None: the column of the attribute's own name."""

    column: str | None = None
    kind: Literal["categorical", "continuous"] = "categorical"
    bins: int = 8


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Values of the split column for the three splits, and their shares where there is no such column."""

    train: str = "train"
    validation: str = "validation"
    audit: str = "test"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)


DEFAULT_COLUMNS = Columns()
DEFAULT_SPLITS = SplitRule()


@dataclass(frozen=True, kw_only=True)
class ColumnLook:
    """What a column looks like.

    Args:
        name: The column.
        kind: classes (few values), number (many, all numbers), path (of images), id (a value of its own per row), lists
            (`A|B`), text.
        n_missing: Rows without a value.
        values: Its values in order with their counts where it holds classes; else empty.
        n_values: How many different values.
    """

    name: str
    kind: ColumnKind
    n_missing: int
    values: Mapping[str, int]
    n_values: int


_NOTHING = np.array(None, dtype=object)
_LOOKS: WeakKeyDictionary[Coded, ColumnLook] = WeakKeyDictionary()
"""How columns look that were looked at, while they are there: of thousands, each is asked about many times."""


def look_at(table: Table, name: str) -> ColumnLook:
    """What one column of a table looks like."""
    coded = table.coded(name)
    found = _LOOKS.get(coded)
    if found is None or found.name != name:
        found = _LOOKS[coded] = _look(name, coded)
    return found


def _look(name: str, coded: Coded) -> ColumnLook:
    column, counts = coded.cells, coded.counts
    n, n_values = sum(counts.values()), len(counts)
    kind: ColumnKind
    if not n:
        kind = "empty"
    elif is_quantity(column):
        # a different number in every row may still be a measurement: only the name tells an id, or more digits than
        # numbers keep
        long = all(abs(float(v)) > EXACT for v in counts)
        named = n_values == n and (long or not _ID_WORDS.isdisjoint(name_words(name)))
        kind = "id" if named and all(float(v).is_integer() for v in counts) else "number"
    elif np.mean([v.lower().endswith(_IMAGE_ENDINGS) for v in list(counts)[:200]]) > 0.5:
        kind = "path"
    elif are_lists(column, ("|",)):  # other separators are in text too
        kind = "lists"
    elif n_values <= MOST_CLASSES and (n_values < n or n <= 2):
        kind = "classes"
    else:
        kind = "id" if n_values == n else "text"
    values = {v: counts[v] for v in sorted_names(counts)} if kind == "classes" else {}
    return ColumnLook(name=name, kind=kind, n_missing=len(column) - n, values=values, n_values=n_values)


def is_quantity(values: np.ndarray) -> bool:
    """Whether text (n,), None where missing, holds numbers alone, and more different ones than classes would have."""
    return len({v for v in values if v is not None}) > _MANY and not numbers(values)[1].any()


def numbers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Text (n,), None where missing, as float64 (n,), NaN if missing or no finite number; a mask (n,) of the latter.

    Beyond ±1e30 no number is taken for finite: in single precision its square is not.
    """
    known = values != _NOTHING
    # a column of plain numbers at once, as most are where there are thousands; of any other, cell by cell
    try:
        if "_" not in "".join(values[known]):
            parsed = values.astype(np.float64)
            wrong = known & ~(np.abs(parsed) <= LARGEST)
            return np.where(wrong, np.nan, parsed), wrong
    except ValueError:
        pass
    parsed = np.full(len(values), np.nan)
    wrong = np.zeros(len(values), dtype=bool)
    for row, text in enumerate(values):
        if text is not None:
            number = number_of(text)
            wrong[row] = number is None
            parsed[row] = math.nan if number is None else number
    return parsed, wrong


def misfits(values: np.ndarray) -> np.ndarray:
    """A mask (n,) of the cells of text (n,) that are no plain numbers in a column that is otherwise one of quantities.

    Such a column has many different numbers, some perhaps with separators, currency, percent or a unit, in most of its
    cells. Where whole numbers below 1000 have no point, and three digits follow every point, points are of thousands.
    """
    return _misfits(Coded.of(values))


def _misfits(column: Coded) -> np.ndarray:
    values = column.values
    parsed, wrong = numbers(values)
    wrong |= _with_points_of_thousands(values, wrong)
    shaped = ~np.isnan(parsed)
    units: dict[str, list[int]] = {}
    for k in np.flatnonzero(wrong):
        shaped[k] = shaped[k] or _WRITTEN_OTHERWISE.fullmatch(values[k]) is not None
        if not shaped[k] and (found := _WITH_UNIT.fullmatch(values[k])):
            units.setdefault(found[2], []).append(int(k))
    # codes (12a, 12b, 13a) have letters of many kinds, quantities have one unit, or a few (kg, lb)
    words = all(len(unit) > 1 for unit in units)
    if len(units) == 1 or set(units) <= _AGES or (words and len(units) <= _FEW_UNITS):
        shaped[[k for of_unit in units.values() for k in of_unit]] = True
    n_rows = np.bincount(column.codes, minlength=len(values))
    known = int(n_rows[wrong | ~np.isnan(parsed)].sum())
    quantity = n_rows[shaped].sum() >= _MOSTLY * known and shaped.sum() > _MANY
    return wrong[column.codes] if quantity else np.zeros(len(column), dtype=bool)


def _with_points_of_thousands(values: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """A mask (n,) of cells like 35.060, beside whole numbers below 1000 alone."""
    known = (values != _NOTHING) & ~wrong
    pointed = known & np.array([v is not None and "." in v for v in values])
    none = np.zeros(len(values), dtype=bool)
    # a decimal number would not be written with its last zero here and without its point there
    if not (known & ~pointed).any() or not any(v.endswith("0") for v in values[pointed]):
        return none
    thousands = all(_POINT_OF_THOUSANDS.fullmatch(v) for v in values[pointed])
    small = all(v.lstrip("+-").isdecimal() and abs(int(v)) < 1000 for v in values[known & ~pointed])
    return pointed if thousands and small else none


def refuse_misfits(table: Table, name: str, remedy: str) -> None:
    """Raise a `DataError` that names the cells without which a column would be one of numbers.

    One of them would make a category of every number. A column that its file declares to be text is let pass.
    """
    column = table.coded(name)
    wrong = _misfits(column)
    if name not in table.text and wrong.any():
        n = column.known.sum()
        raise DataError(
            f"{table.path}: {wrong.sum()} of {n} value(s) of {name!r} are no plain numbers, where it looks like a "
            f"column of numbers: rows {table.rows_where(wrong, name)}; write them as 35060 or 0.5, name what means "
            f"missing in data.missing, or {remedy}"
        )


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order: as numbers if all are numbers, else as text.

    Example:
        >>> sorted_names({"10", "9", "-1"}), sorted_names({"b", "a", "10"})
        (('-1', '9', '10'), ('10', 'a', 'b'))
    """
    # sorted as text first, so that equal numbers ("1", "1.0") have an order too
    listed = texts(sorted(names))
    parsed, wrong = numbers(listed)
    return tuple(listed) if wrong.any() else tuple(listed[np.argsort(parsed, kind="stable")])


def name_words(name: str) -> list[str]:
    """The words of a name in lower case: they end at signs, at digits, and where a capital begins the next.

    Example:
        >>> name_words("PatientID"), name_words("train_val-2"), name_words("PublicTest")
        (['patient', 'id'], ['train', 'val'], ['public', 'test'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
