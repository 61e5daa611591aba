"""Which column is the target, the split, the group; and which rows can be used under these roles."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from mibias_cli.data.annotations import Annotations, annotate
from mibias_cli.data.columns import DRAWN, ColumnLook, Columns, SplitRule, numbers, sorted_names
from mibias_cli.data.files.cells import are_lists
from mibias_cli.data.files.folders import leads_out, real_paths
from mibias_cli.data.files.tabular import Table, first_rows, require_columns
from mibias_cli.data.sources.imagefolder import CLASS_FOLDER
from mibias_cli.data.spelling import one_spelling, positions_of
from mibias_cli.data.target import TargetKind
from mibias_cli.data.target_columns import words_apart
from mibias_cli.errors import DataError
from mibias_cli.survey.columns import attribute_rank, guess_target
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.splits import Roles as SplitValues
from mibias_cli.survey.splits import guess_split, read_split, split_like

__all__ = ["FEWEST", "Roles", "Wishes", "annotate_roles", "choose_roles", "keep_usable_rows"]

FEWEST = 5
"""Rows of a class below which a drawn split may leave training without it."""
_MASK = re.compile(r"(.+?)[ _-](mask|masks|seg|segm|segmentation|superpixels|gt)([ _-]\d+)?", re.IGNORECASE | re.DOTALL)
"""BUSI's `benign (1)_mask_1.png` beside `benign (1).png`, ISIC's `…_segmentation.png` and `…_superpixels.png`."""
_ROWS_PER_CLASS = 20
_MOST_SHARED = 0.2
"""Share of training rows that may be left out because their group is in another split too."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user said; None and empty where it is to be guessed."""

    target: str | None = None
    attributes: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    table: Path | None = None
    source: Literal["table", "manifest"] | None = None
    root: Path | None = None
    follow_links: Path | None = None
    image: str | None = None


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns by their role.

    Args:
        target, target_kind: What is learnt.
        split, splits: The split column, or None, and its values.
        group: The group column, or None.
        sure: Of `split` and `group`, those that the user or the layout named.
        guesses, notes: What was guessed, and why something that was there is not used.
    """

    target: str
    target_kind: TargetKind
    split: str | None = None
    splits: SplitRule = field(default_factory=SplitRule)
    group: str | None = None
    sure: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def taken(self) -> frozenset[str]:
        """The columns that have a role."""
        return frozenset(name for name in (self.target, self.split, self.group) if name is not None)

    @property
    def target_title(self) -> str:
        """The target's name for people."""
        return "the class folder" if self.target == CLASS_FOLDER else self.target

    def columns(self, layout: Layout) -> Columns:
        """As the loaders of data take them."""
        return Columns(
            path=layout.path or "path",
            target=self.target,
            split=self.split,
            group=self.group,
            target_kind=self.target_kind,
        )


def choose_roles(layout: Layout, looks: Mapping[str, ColumnLook], wishes: Wishes) -> Roles:
    """The roles by wish, else by layout, else guessed.

    Raises:
        DataError: A column that was named is not there, a split column cannot be read, or nothing may be a target.
    """
    # one error names all options that name no column
    named = {"--target": wishes.target, "--split": wishes.split, "--group": wishes.group}
    named |= {f"--attribute {name}": name for name in wishes.attributes}
    require_columns(layout.table, {option: name for option, name in named.items() if name is not None})
    guesses = list(layout.guessed)
    sure: set[str] = set()
    # the split: by wish, by layout, by its name and values; otherwise it is drawn
    split = layout.split
    if split is not None:
        sure.add("split")
        validates = "some of its rows validate" if split[1][1] == DRAWN else f"{split[1][1]} validates"
        if wishes.split is None:
            guesses.append(
                f"split {split[0]}: by the layout; {split[1][0]} trains, {validates}, {split[1][2]} is audited"
            )
    if wishes.split is not None:
        split = _read_split(looks[wishes.split])
        sure.add("split")
    elif split is None and (split := guess_split(list(looks.values()))) is not None:
        guesses.append(f"split {split[0]}: by its name and values ({', '.join(v for v in split[1] if v != DRAWN)})")
    elif split is None:
        guesses.append("split: none found; 70, 10 and 20 of 100 rows are drawn for train, validation and audit")
    # the group: by wish, by layout, by name or from paths (all in the layout), never a column wanted as an attribute
    group = layout.group
    if wishes.group is not None:
        sure.add("group")
    # the target is guessed last, among the columns that have no other role
    of_split = {*layout.flags, *(split[:1] if split is not None else ())}
    like = [look for look in split_like(list(looks.values())) if look.name not in of_split]
    taken = {
        name
        for name in (layout.path, split and split[0], group, *wishes.attributes, *layout.attributes, *layout.flags)
        if name
    }
    guessed = guess_target(list(looks.values()), [*taken, *(look.name for look in like)])
    target = wishes.target or layout.target or (guessed and guessed[0])
    if target in wishes.attributes:
        by = "" if wishes.target else " by the layout"
        raise DataError(f"{layout.table.path}: --attribute {target}: is the target{by}; name another one of the two")
    if target is None:
        few = [repr(x.name) for x in looks.values() if x.kind == "classes" and x.n_values > 1 and x.name not in taken]
        raise DataError(
            f"{layout.table.path}: nothing says which column is the target; name it with --target COLUMN "
            f"(columns of a few classes: {', '.join(few) or 'none'}; all: {', '.join(map(repr, looks))})"
        )
    if wishes.target is None:
        guesses.insert(0, f"target {target}: " + ("by the layout" if layout.target or guessed is None else guessed[1]))
    other = () if wishes.target else _other_target(layout, looks, target, taken)
    # columns that speak of a split and are none are said: a fold, say, or a test that is no test set
    unread = [f"{x.name} ({first_rows(list(x.values)) or f'{x.n_values} values'})" for x in like if x.name != target]
    of_target = looks[target]
    if of_target.kind != "lists" and are_lists(layout.table.columns[target]):
        of_target = replace(of_target, kind="lists")
    unused = f"not read as the split: {'; '.join(unread)}; --split COLUMN takes one (data.columns.split, data.splits)"
    return Roles(
        target=target,
        target_kind=_kind_of_target(of_target, layout.table),
        split=None if split is None else split[0],
        splits=SplitRule()
        if split is None
        else SplitRule(train=split[1][0], validation=split[1][1], audit=split[1][2]),
        group=None if group == target else group,
        sure=frozenset(sure),
        guesses=tuple(guesses),
        notes=(*([unused] if unread else []), *other, *_odd_values(of_target), *_empty_lists(of_target, layout)),
    )


def _other_target(layout: Layout, looks: Mapping[str, ColumnLook], target: str, taken: Set[str]) -> Iterator[str]:
    """A note of a column that is the target by its name, beside one by the layout that says something else."""
    found = guess_target(list(looks.values()), [*taken, target]) if layout.target == target else None
    if found is None or found[1] != "by its name":
        return
    pairs = {(a, b) for a, b in zip(*(layout.table.columns[x] for x in (target, found[0])), strict=True) if b}
    if len(pairs) > min(looks[target].n_values, looks[found[0]].n_values):
        shown = "the class folder" if target == CLASS_FOLDER else target
        yield f"{found[0]} may be the target by its name, and differs from {shown}: --target {found[0]} takes it"


def keep_usable_rows(layout: Layout, roles: Roles) -> tuple[Layout, list[str]]:
    """The layout without rows that cannot be loaded, and what was dropped, one text per reason.

    Dropped are rows without a target or image, of classes that training does not have, or, where the split is drawn, of
    classes with fewer than FEWEST rows.
    """
    dropped: list[str] = []
    table = layout.table
    target = table.columns[roles.target]
    shown = "the class folder" if roles.target == CLASS_FOLDER else repr(roles.target)
    table = _drop(table, np.array([v is None for v in target]), f"without a value of {shown}", dropped)
    if layout.path is not None and layout.root is not None:
        paths = table.columns[layout.path]
        absent = np.array([v is None or not os.path.isfile(layout.root / str(v)) for v in paths], dtype=bool)
        table = _drop(table, absent, f"whose image is not below {layout.root}", dropped, paths)
        # links and `..` that lead elsewhere, which loading would refuse
        why = "that are masks of other images by their names"
        table = _drop(table, _are_masks(table.columns[layout.path]), why, dropped, table.columns[layout.path])
        found = real_paths([str(v) for v in table.columns[layout.path]], layout.root)
        outside = np.array(leads_out(found, layout.root, layout.follow_links), dtype=bool)
        why = f"whose image is behind a link that leads out of {layout.root} (--follow-links FOLDER follows it)"
        table = _drop(table, outside, why, dropped, table.columns[layout.path])
    if roles.target_kind == "classes":
        target = table.columns[roles.target]
        # a drawn split may leave a class of a few rows out of training, and then loading fails
        if roles.split is None:
            counts = Counter(target)
            rare = np.array([counts[v] < FEWEST for v in target], dtype=bool)
            table = _drop(table, rare, f"of classes with fewer than {FEWEST} rows", dropped, target)
        else:
            seen = set(target[positions_of(table.coded(roles.split), [roles.splits.train]) == 0])
            unseen = np.array([v not in seen for v in target], dtype=bool)
            _refuse_other_classes(table, roles, unseen, seen)
            table = _drop(table, unseen, "of classes that no training row has", dropped, target)
    table = _apart(table, roles, dropped, is_fixed=layout.is_fixed)
    if not len(table):
        raise DataError(f"{layout.table.path}: no row can be used: {'; '.join(dropped)}")
    return replace(layout, table=table), dropped


def _refuse_other_classes(table: Table, roles: Roles, unseen: np.ndarray, seen: Set[str]) -> None:
    """An error where classes that no training row has are some of training spelt otherwise, or all that is audited."""
    for alike in one_spelling(table.coded(roles.target))[1]:
        if not seen.isdisjoint(alike) and not set(alike) <= seen:
            has, other = (first_rows([repr(v) for v in alike if (v in seen) is is_seen]) for is_seen in (True, False))
            raise DataError(
                f"{table.path}: classes of {roles.target_title} are spelt otherwise in training: {other} is {has} "
                "there; write them alike"
            )
    audited = positions_of(table.coded(roles.split or ""), [roles.splits.audit]) == 0
    if audited.any() and (unseen | ~audited).all():
        has = first_rows([repr(v) for v in sorted_names(seen)])
        other = first_rows([repr(v) for v in sorted_names(set(table.columns[roles.target][audited]))])
        raise DataError(
            f"{table.path}: the rows to audit have other values of {roles.target_title} than those of training: "
            f"{other}, not {has}; write them alike"
        )


def _are_masks(paths: np.ndarray) -> np.ndarray:
    """A mask (n,) of the images whose name is that of another one beside it, and a word for a mask."""
    stems = {str(PurePosixPath(str(path)).with_suffix("")) for path in paths}
    found = [_MASK.fullmatch(str(PurePosixPath(str(path)).with_suffix(""))) for path in paths]
    return np.array([match is not None and match[1] in stems for match in found], dtype=bool)


def _apart(table: Table, roles: Roles, dropped: list[str], *, is_fixed: bool) -> Table:
    """Rows of training and validation out whose group is in a later split too, where they are few.

    An official test set stays as it is. Where the groups of many rows are in two splits they are left to `annotate`,
    which refuses them.
    """
    if roles.split is None or roles.group is None or "group" in roles.sure or is_fixed:
        return table
    group = one_spelling(table.coded(roles.group))[0].cells
    order = (roles.splits.train, roles.splits.validation, roles.splits.audit)
    role = positions_of(table.coded(roles.split), order)
    late = [{g for g, r in zip(group, role, strict=True) if r > k} for k in range(len(order))]
    shared = np.array([r >= 0 and g in late[r] for g, r in zip(group, role, strict=True)], dtype=bool)
    n_training = int(((role == 0) | (role == 1)).sum())
    if shared.sum() > _MOST_SHARED * n_training:
        return table
    n_groups = len(set(group[shared]))
    why = f"of training and validation whose {roles.group} is in a later split too ({n_groups} in two splits)"
    return _drop(table, shared, why, dropped, group)


def annotate_roles(layout: Layout, roles: Roles) -> tuple[Roles, Annotations]:
    """Labels and splits, as loading will make them; a guessed group or split with which that fails is given up.

    Raises:
        DataError: It fails without them too, or with those that are sure.
    """
    # each round gives up at most one guess, the group before the split, so this ends
    while True:
        try:
            annotations = annotate(
                layout.table, columns=roles.columns(layout), attributes={}, splits=roles.splits, seed=0
            )
        except DataError as error:
            reason = str(error).removeprefix(f"{layout.table.path}: ").splitlines()[0]
            if roles.group is not None and "group" not in roles.sure:
                roles = replace(roles, group=None, notes=(*roles.notes, f"{roles.group} is no group: {reason}"))
            elif roles.split is not None and "split" not in roles.sure:
                note = f"{roles.split} is not used as the split: {reason}"
                roles = replace(roles, split=None, splits=SplitRule(), notes=(*roles.notes, note))
            else:
                raise
        else:
            return roles, annotations


def _read_split(look: ColumnLook) -> tuple[str, SplitValues]:
    found = read_split(look) if look.values else None
    if found is None:
        shown = first_rows([repr(v) for v in look.values]) or f"{look.n_values} different values"
        raise DataError(
            f"--split {look.name}: it holds {shown}; it should name train and test (and validation), or hold 0, 1 and 2"
        )
    return look.name, found


def _odd_values(look: ColumnLook) -> list[str]:
    """What to know of a target's values: a mark of doubt beside no and yes, or lists."""
    values = set(look.values)
    notes = []
    if {"-1", "0", "1"} == {value.removesuffix(".0") for value in values}:
        notes.append(
            f"{look.name}: -1 beside 0 and 1 (uncertain, in CheXpert) is a class of its own; data.values reads it as "
            f"another, or leaves such rows out: {{ {look.name}: {{ -1: (left out) }} }}"
        )
    if look.kind == "lists":
        notes.append(
            f"{look.name}: cells are lists (A|B), each of whose items is a label (data.target_kind: classes, if each "
            "cell is a class); one that means no label is said so by data.values: "
            f"{{ {look.name}: {{ No Finding: [] }} }}"
        )
    if look.kind == "classes" and (apart := words_apart(list(look.values))) is not None:
        cell, items = apart
        notes.append(
            f"{look.name}: {cell!r} may be a list of other classes; data.values reads it as one, with target_kind: "
            f"multilabel: {{ {look.name}: {{ {cell}: {items} }} }}"
        )
    return notes


def _empty_lists(look: ColumnLook, layout: Layout) -> list[str]:
    """That a cell without a list may be one of no label, and how to have its row read."""
    if look.kind != "lists" or None not in layout.table.columns[look.name]:
        return []
    file = "the file itself" if layout.file is None else str(layout.file)
    return [
        f"{look.name}: if empty cells mean no label, name {file} as data.path and say so by data.values: "
        f"{{ {look.name}: {{ (missing): [] }} }}"
    ]


def _kind_of_target(look: ColumnLook, table: Table) -> TargetKind:
    """Classes, but for lists of labels, and for a column of many numbers that does not count classes from 0 or 1."""
    if look.kind == "lists":
        return "multilabel"
    if look.kind != "number":
        return "classes"
    parsed, _ = numbers(table.columns[look.name])
    values = np.unique(parsed[~np.isnan(parsed)])
    # 0, 1, 2, … in many rows each: classes that were numbered
    counted = bool((np.diff(values) == 1).all()) and values[0] in (0, 1)
    enough = len(parsed) >= _ROWS_PER_CLASS * len(values)
    return "classes" if counted and enough and attribute_rank(look.name) is None else "regression"


def _drop(table: Table, mask: np.ndarray, why: str, dropped: list[str], values: np.ndarray | None = None) -> Table:
    if not len(table) or not mask.any():
        return table
    rows = [f"row {number}" for number in table.row_numbers[mask]]
    if values is not None:
        rows = [f"{row} ({value})" for row, value in zip(rows, values[mask], strict=True)]
    dropped.append(f"{int(mask.sum())} row(s) {why}, left out: {first_rows(rows)}")
    return table.take(np.flatnonzero(~mask))
