"""What each column is taken for, and what a run does with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from mibias_cli.data.annotations import spelling_notes
from mibias_cli.data.columns import ColumnLook, misfits, numbers
from mibias_cli.data.files.cells import are_number_lists
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.data.table_encoder import MANY_CATEGORIES
from mibias_cli.data.table_inputs import doubts, left_out
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.roles import Roles

__all__ = ["TARGET_AGAIN", "column_uses", "input_notes", "inputs_of", "inputs_without_copies", "merged_note"]

TARGET_AGAIN = "the target once more"
_FEWEST_FILLED, _MOST_FILLED = 8, 0.5
_CATEGORIES, _NUMBER = "input: categories", "input: number"


def column_uses(
    layout: Layout,
    looks: Mapping[str, ColumnLook],
    roles: Roles,
    attributes: Sequence[str],
    copies: Collection[str] = (),
) -> dict[str, str]:
    """By column, what it is in the recipe: target, split, group, path, attribute, input of some kind, or not used.

    `copies` are columns that are the target once more.
    """
    named = {roles.target: "target", roles.split: "split", roles.group: "group", layout.path: "path"}
    named |= dict.fromkeys(attributes, "attribute")
    free = [name for name in looks if name not in named]
    if layout.source != "table":
        return {name: named.get(name, f"not used: {looks[name].kind}") for name in looks}
    out = left_out(layout.table, free) | {name: TARGET_AGAIN for name in free if name in copies}
    kinds = {name: _NUMBER if _is_number(layout.table, name) else _CATEGORIES for name in free}
    return {name: named.get(name) or (f"left out: {out[name]}" if name in out else kinds[name]) for name in looks}


def inputs_without_copies(uses: Mapping[str, str]) -> list[str]:
    """The columns that are inputs where some are left out as the target once more; empty where none is."""
    if f"left out: {TARGET_AGAIN}" not in uses.values():
        return []
    return [name for name, use in uses.items() if use in (_NUMBER, _CATEGORIES)]


def inputs_of(uses: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns that are inputs, as numbers and as categories, and those that are left out with what they hold."""
    found: dict[str, list[str]] = {"numbers": [], "categories": [], "left out": []}
    for name, use in uses.items():
        if use.startswith("left out: "):
            found["left out"].append(f"{name} ({use.removeprefix('left out: ')})")
        elif use in (_NUMBER, _CATEGORIES):
            found["numbers" if use == _NUMBER else "categories"].append(name)
    return found


def input_notes(table: Table, uses: Mapping[str, str], *, needed: bool) -> Iterator[str]:
    """Notes of inputs that a run would refuse, or that may be no numbers; and where `needed`, that there are none."""
    inputs = [name for name, use in uses.items() if use in (_NUMBER, _CATEGORIES)]
    if needed and not inputs:
        yield "no column is left as an input, which training refuses; data.features may name some"
    refused = set()
    for name in inputs:
        if name not in table.text and (wrong := misfits(table.columns[name])).any():
            refused.add(name)
            yield (
                f"{name}: {wrong.sum()} value(s) are no plain numbers, which training refuses: rows "
                f"{table.rows_where(wrong, name)}"
            )
        if are_number_lists(v for v in table.columns[name] if v is not None):
            refused.add(name)
            yield (
                f"{name}: lists as text, which training refuses; store lists of numbers as such (.npz, Parquet), make "
                "a column of 0 and 1 for each word of others, or leave it out of data.features"
            )
    yield from doubts(table, inputs)
    categories = [name for name in inputs if uses[name] == _CATEGORIES and name not in refused]
    yield from spelling_notes(table, categories)
    counts = {name: len({v for v in table.columns[name] if v is not None}) for name in categories}
    if wide := [f"{name!r} ({n})" for name, n in counts.items() if n > MANY_CATEGORIES]:
        yield f"columns of many categories, an input each: {first_rows(wide)}; leave out what is an id"


def merged_note(table: Table) -> Iterator[str]:
    """A note of columns of which every filled cell may stand for the empty ones below it, as merged cells do."""
    found = []
    for name in table.columns:
        known = table.coded(name).known
        n, share = int(known.sum()), float(known.mean())
        # by chance a share of filled cells, as large as theirs, would follow each other
        alone = 2 * int((known[1:] & known[:-1]).sum()) < n * share
        if known[0] and n >= _FEWEST_FILLED and share <= _MOST_FILLED and alone:
            found.append(f"{name} ({n} of {len(table)} rows)")
    if found:
        yield (
            f"{first_rows(found)}: filled in some rows, and empty in those that follow; if a value stands for the rows "
            "below it too (merged cells, a first visit), fill them in"
        )


def _is_number(table: Table, name: str) -> bool:
    """As the encoder of inputs sees it."""
    return name not in table.text and not numbers(table.columns[name])[1].any()
