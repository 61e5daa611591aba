"""`data.values`: what cells of a column mean, where a table writes it otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set

from mibias_cli.data.files.cells import SEPARATORS, float_of, split_list
from mibias_cli.data.files.coded import Coded

__all__ = ["LEFT_OUT", "NO_VALUE", "ValueMap", "map_cells"]

NO_VALUE = "(missing)"
"""In place of an old value: cells that are missing."""
LEFT_OUT = "(left out)"
"""In place of a new value: rows with such a cell are left out."""

ValueMap = Mapping[str, str | None]
"""Old values to new ones, None where the value is then missing; a list is its items with `|` between them."""


def map_cells(cells: Coded, values: ValueMap, missing: Set[str]) -> tuple[Coded, Counter[str], list[str]]:
    """The cells of a column with new values in place of old ones.

    An old value stands for the cells that are it to the letter; where there is none, for those of the same number (-1
    for -1.0); and for the items of a list (`A|B`) that is no old value itself.

    Args:
        cells: As they are written, empty or None where there is nothing.
        values: New values by old ones.
        missing: What is written in a cell for a missing value.

    Returns:
        The new cells, None where missing; how many of them each old value changed; old values that no cell has.
    """
    cells = cells.map(lambda cell: cell or "")
    written = cells.counts
    meant = {cell: old for old in values for cell in _cells_of(old, written)}
    # 1 is written as the other cells of that number are (1.0), or it would be a class beside theirs
    values = {old: new if new is None else next(iter(_cells_of(new, written)), new) for old, new in values.items()}
    changed: Counter[str] = Counter()
    new_of: dict[str, str | None] = {}
    # each different cell once: by its own name, as a missing value, as a list
    for cell, n in written.items():
        old = meant.get(cell)
        if old is None and (not cell or cell in missing):
            old = NO_VALUE
            new_of[cell] = values.get(NO_VALUE)
        elif old is not None:
            new_of[cell] = values[old]
        else:
            new_of[cell], olds = _mapped_list(cell, values)
            changed.update(dict.fromkeys(olds, n))
        if old is not None and old in values:
            changed[old] += n
    return cells.map(lambda cell: new_of[cell or ""]), changed, [old for old in values if not changed[old]]


def _cells_of(old: str, written: Mapping[str, int]) -> list[str]:
    """The cells that an old value means, but for lists."""
    if old in written:
        return [old]
    number = float_of(old)
    return [] if number is None else [cell for cell in written if float_of(cell) == number]


def _mapped_list(cell: str, values: ValueMap) -> tuple[str | None, list[str]]:
    """A list with new values in place of some of its items, and the old values; another cell as it is."""
    separator = next((s for s in SEPARATORS if s in cell), None)
    items = [] if separator is None else split_list(cell, separator)
    olds = [item for item in items if item in values]
    if separator is None or not olds:
        return cell, []
    new = [values.get(item, item) for item in items]
    # one item that makes the row missing, or leaves it out, does so whatever else is there
    if None in new or LEFT_OUT in new:
        return (None if None in new else LEFT_OUT), olds
    kept = dict.fromkeys(part for item in new if item for part in split_list(item, "|"))
    return separator.join(kept) or separator, olds
