"""Columns that a table lacks: splits from lists and from columns of yes and no, groups from paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mibias_cli.data.columns import ColumnLook
from mibias_cli.data.files.tabular import first_rows, texts
from mibias_cli.data.group_columns import group_columns, own_groups, path_groups, same_names
from mibias_cli.data.spelling import yes_or_no
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.splits import flag_columns, flag_role, guess_split, split_words
from mibias_cli.survey.tables.split_tables import listed_split, unread_lists

__all__ = ["with_groups", "with_split"]


def with_split(layout: Layout, looks: Sequence[ColumnLook]) -> Layout:
    """The layout with a column for a split that is in text files beside it, or in several columns of yes and no."""
    if layout.split is not None or layout.is_fixed:
        return layout
    flags = flag_columns(looks)
    column = "split" if "split" not in layout.table.columns else "official_split"
    if len(flags) > 1 and not any(guess_split([x]) for x in looks if flag_role(x) is None):
        return _from_flags(layout, column, flags)
    if layout.path is None or layout.root is None:
        return layout
    found = listed_split(layout.root, layout.table.columns[layout.path])
    if found is not None and found.roles is not None:
        note = f"split: from the lists {found.files}"
        return _with_column(layout, column, found.values, split=found.roles, note=note)
    unread = unread_lists(layout.root) if guess_split(looks) is None else []
    if not unread:
        return layout
    n = "" if found is None else f" ({found.files}: {sum(v is not None for v in found.values)} of {len(layout.table)})"
    note = (
        f"not read as the split: {first_rows(unread)}; a list of names is a text file for each of train and test, and "
        f"names half of the images or more{n}; or write a column, for --split"
    )
    return replace(layout, notes=(*layout.notes, note))


def _from_flags(layout: Layout, column: str, flags: Mapping[int, ColumnLook]) -> Layout:
    """The layout with a split that several columns of yes and no make."""
    words = ("train", "validation", "test")
    # a row of none of two is of the third; of three, of no split
    missing = [word for role, word in enumerate(words) if role not in flags]
    values = texts([missing[0] if missing else None] * len(layout.table))
    # test before validation: what is both is not chosen by
    for role, look in sorted(flags.items()):
        yes = [v is not None and bool(yes_or_no(v)) for v in layout.table.columns[look.name]]
        values[yes] = words[role]
    found = split_words({v for v in values if v is not None})
    if found is None:
        return layout
    names = tuple(look.name for _, look in sorted(flags.items()))
    note = f"split: from {first_rows(names)}"
    return replace(_with_column(layout, column, values, split=found, note=note), flags=names)


def with_groups(layout: Layout, looks: Sequence[ColumnLook], wished: str | None) -> Layout:
    """The layout with a column of groups: one of the table, completed, or one made of ids inside the paths."""
    if wished is not None and wished not in layout.table.columns:
        return layout  # which is an error that names all such options, later
    names = [wished] if wished is not None else [layout.group] if layout.group is not None else group_columns(looks)
    if names:
        also = f"; {first_rows(names[1:])} may be groups too: --group" if len(names) > 1 else ""
        by = "" if wished is not None else f"group {names[0]}: by {'its folders' if layout.group else 'its name'}{also}"
        layout = replace(layout, group=names[0], guessed=(*layout.guessed, *([by] if by else [])))
        values = layout.table.columns[names[0]]
        empty = int(sum(v is None for v in values))
        # a row without a patient is a group by itself, which only a file that says so can tell
        if empty and not layout.is_fixed and wished is None:
            note = f"{names[0]}: {empty} row(s) have none; each of them is a group of its own"
            return _with_column(layout, names[0], own_groups(values), note=note)
        return layout
    if layout.path is None or layout.is_fixed:
        return layout
    paths = [str(v or "") for v in layout.table.columns[layout.path]]
    found, what = path_groups(paths), "ids inside the paths of"
    # in split folders numbers may begin anew
    if found is None and layout.split is None:
        found, what = same_names(paths), "one name in several folders is taken for one thing, by"
    if found is None:
        return layout
    column = "group" if "group" not in layout.table.columns else "group_in_path"
    example = next(v for v in found if v is not None)
    empty = int(sum(v is None for v in found))
    alone = f"; {empty} path(s) have none, each of them is a group of its own" if empty else ""
    said = f"group {column}: {what} {layout.path} ({example}, …){alone}; --group COLUMN takes another"
    return replace(_with_column(layout, column, own_groups(found), note=said), group=column)


def _with_column(
    layout: Layout, name: str, values: np.ndarray, *, note: str, split: tuple[str, str, str] | None = None
) -> Layout:
    """The layout with a column that no file has: it will be written to one."""
    return replace(
        layout,
        table=layout.table.with_columns({name: values}),
        file=None,
        split=layout.split if split is None else (name, split),
        guessed=(*layout.guessed, note),
    )
