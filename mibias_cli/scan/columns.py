"""The columns that are tested: those of the table, folders above the images, and properties of the images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.columns import AttributeColumn, look_at, misfits
from mibias_cli.data.encoding import bin_names, encode_attribute
from mibias_cli.data.files.images import BROKEN_IMAGE
from mibias_cli.data.files.tabular import Table, first_rows, texts
from mibias_cli.data.table_inputs import left_out
from mibias_cli.errors import DataError
from mibias_cli.scan.properties import PROPERTIES, day_of, image_properties
from mibias_cli.scan.ranking import Codes
from mibias_cli.survey.folders import SUBFOLDER

__all__ = ["MISSING", "Measured", "binnings_of", "folder_columns", "left_out_note", "measure_images", "table_columns"]

MISSING = "missing"
"""The class of rows without a value: that a class has no dates gives it away as much as its dates would."""
_MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Properties of images as columns of text by name (n,), and which images cannot be read."""

    columns: dict[str, np.ndarray]
    broken: tuple[str, ...]


def measure_images(paths: Sequence[str], *, advance: Callable[[int], None]) -> Measured:
    """The properties of image files; of one that cannot be read they are missing. `advance` is told of each."""
    found: dict[str, list[str | None]] = {name: [] for name in PROPERTIES}
    broken = []
    for done, path in enumerate(paths, start=1):
        try:
            values = image_properties(Path(path))
        except BROKEN_IMAGE:
            values = dict.fromkeys(PROPERTIES)
            broken.append(path)
        for name, value in values.items():
            found[name].append(value)
        advance(done)
    return Measured(columns={name: texts(values) for name, values in found.items()}, broken=tuple(broken))


def folder_columns(paths: np.ndarray, known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The folders above images, a column for each level that says something; of several the first is outermost.

    A level that is a known column once more, such as the class folders or the split's, says nothing new.
    """
    parts = [PurePosixPath(str(path)).parts[:-1] for path in paths]
    same = {tuple(str(value).casefold() for value in column) for name, column in known.items() if name != SUBFOLDER}
    levels = []
    for depth in range(max(map(len, parts), default=0)):
        level = [p[depth] if len(p) > depth else None for p in parts]
        if len(set(level)) > 1 and tuple(str(name).casefold() for name in level) not in same:
            levels.append(texts(level))
    names = ["source_folder", *(f"source_folder_{k}" for k in range(2, len(levels) + 1))]
    return dict(zip(names, levels, strict=False))


def table_columns(table: Table, taken: frozenset[str]) -> dict[str, np.ndarray]:
    """The table's columns but for those with a role; dates as days."""
    return {name: _with_days(values) for name, values in table.columns.items() if name not in taken}


def _with_days(values: np.ndarray) -> np.ndarray:
    known = [str(v) for v in values if v is not None]
    # most columns are none of dates, which their first value says
    if not known or day_of(known[0]) is None:
        return values
    days = [None if v is None else day_of(str(v)) for v in values]
    if sum(day is not None for day in days) < len(known):
        return values
    return texts([None if day is None else str(day) for day in days])


def left_out_note(
    table: Table, columns: Mapping[str, np.ndarray], tested: Collection[str], roles: Mapping[str, str | None]
) -> list[str]:
    """A note of the columns that were not tested, each with why, in the words of `mibias init`; or none.

    Args:
        table: All rows in use, by which a column is one of ids, prose and so on.
        columns: The columns that were looked at, as text (n,), properties of images among them.
        tested: Names of those that could be tested.
        roles: By what it is, the column with such a role, if there is one.
    """
    untested = [name for name in columns if name not in tested]
    why = left_out(table, [name for name in untested if name in table.columns])
    listed = [f"{name} ({role})" for role, name in roles.items() if name is not None]
    listed += [f"{name} ({why.get(name) or _why_untested(name, columns[name], table.path)})" for name in untested]
    return [f"left out: {first_rows(listed, _MOST_NAMED)}"] if listed else []


def _why_untested(name: str, values: np.ndarray, path: Path) -> str:
    known = [str(v) for v in values if v is not None]
    if len(set(known)) < 2:
        return "one value" if known else "empty"
    if n := int(misfits(values).sum()):
        return f"{n:,} value(s) are no plain numbers"
    look = look_at(Table(path=path, columns={name: values}, row_numbers=np.arange(1, len(values) + 1)), name)
    kinds = {"lists": "lists", "path": "paths", "id": "a value of its own in each row"}
    return kinds.get(look.kind, f"{look.n_values:,} different texts")


def binnings_of(name: str, values: np.ndarray, path: Path) -> tuple[Codes, ...]:
    """A column as classes: many numbers in quantile bins, and split in two; missing values as a class of their own.

    Empty where it holds one value alone, or names, texts and ids, which tell rows apart and not classes.
    """
    table = Table(path=path, columns={name: values}, row_numbers=np.arange(1, len(values) + 1))
    look, everywhere = look_at(table, name), np.ones(len(values), dtype=bool)
    if look.kind not in ("classes", "number"):
        return ()
    is_number = look.kind == "number"
    try:
        spec = AttributeColumn(kind="continuous" if is_number else "categorical")
        c, known, attribute = encode_attribute(name, spec, table, everywhere)
    except DataError:
        return ()  # numbers that are no numbers everywhere
    made = [(attribute.classes(c)[:, 0], attribute.class_names[0])]
    if is_number:
        # what makes two kinds of image leaves a gap between their values, which bins of equal size do not respect
        edge = (_gap(c[known, 0]),)
        made.append(((c[:, 0] >= edge[0]).astype(np.int64), bin_names(edge)))
    binnings = []
    for codes, names in made:
        if not known.all():
            codes, names = np.where(known, codes, len(names)), (*names, MISSING)
        if len(np.unique(codes)) > 1:
            binnings.append(Codes(codes=codes, names=names, is_number=is_number))
    return tuple(binnings)


def _gap(values: np.ndarray) -> float:
    """The threshold that splits numbers (n,) into the two groups that are the furthest apart.

    References: Otsu, "A threshold selection method from gray-level histograms" (1979).

    Example:
        >>> float(_gap(np.array([1.0, 1.5, 2.0, 9.0, 9.5])))
        5.5
    """
    ordered = np.sort(values.astype(np.float64))
    n, below = len(ordered), np.arange(1, len(ordered))
    total = np.cumsum(ordered)
    # variance between the groups, up to a factor; where values are equal there is no threshold
    between = (total[:-1] - below * total[-1] / n) ** 2 / (below * (n - below))
    between[np.diff(ordered) == 0] = -1.0
    best = int(between.argmax())
    return float((ordered[best] + ordered[best + 1]) / 2)
