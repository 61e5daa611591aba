"""From a table's columns to labelled splits: what manifest, image folder, table and embeddings have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mibias_cli.data.batch import Attribute, BiasedData, Reader, Split
from mibias_cli.data.columns import DRAWN, AttributeColumn, Columns, SplitRule, numbers
from mibias_cli.data.encoding import encode_attribute, encode_kept, identifier_notes, shared_column_notes
from mibias_cli.data.files.fingerprint import Streamed, fingerprint
from mibias_cli.data.files.packed import Picked, RowNames
from mibias_cli.data.files.tabular import Table, first_rows, refuse_unmapped, require_columns
from mibias_cli.data.files.value_map import LEFT_OUT
from mibias_cli.data.forget_marks import kept_in_training, marked_rows
from mibias_cli.data.group_columns import group_note, largest_group_note
from mibias_cli.data.groups import split_by_fractions
from mibias_cli.data.input_rules import InputRules
from mibias_cli.data.spelling import one_spelling, positions_of, spelt_alike
from mibias_cli.data.table_encoder import fit_number
from mibias_cli.data.table_inputs import OF_AUDITED, may_mean_missing, other_numbers
from mibias_cli.data.target import Target
from mibias_cli.data.target_columns import encode_targets, list_labels, split_labels, varying_labels
from mibias_cli.errors import DataError, did_you_mean
from mibias_cli.output.text import appearance

__all__ = ["SPLITS", "Annotations", "Labels", "annotate", "assemble", "class_notes", "spelling_notes"]

SPLITS = ("train", "validation", "audit")
"""Names of the splits, in order."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is known of all n rows in use, but for their inputs.

    Args:
        role: Index in `SPLITS` of each row (n,).
        y, target: Targets and what they are.
        c, known: Attribute values (n, channels) and masks (n,), by name.
        attributes: The attributes, by name.
        group: Group ids (n,), or None.
        forget: Marks (n,) of rows to forget, or None where no column has any.
        notes: What the user should know.
        kept: By name, the columns that features should still tell: values (n, 1), masks (n,), descriptions.
    """

    role: np.ndarray
    y: np.ndarray
    target: Target
    c: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    attributes: dict[str, Attribute]
    group: np.ndarray | None = None
    forget: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    kept: dict[str, tuple[np.ndarray, np.ndarray, Attribute]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Annotations(Labels):
    """Labels from a table: its rows in use, and where each of them stands in the table that was given (n,)."""

    table: Table
    positions: np.ndarray

    @property
    def row_names(self) -> RowNames:
        """What to call each row in an error."""
        return RowNames(self.table.row_numbers)


def annotate(
    table: Table, *, columns: Columns, attributes: Mapping[str, AttributeColumn], splits: SplitRule, seed: int
) -> Annotations:
    """Labels and splits of a table's rows; a split by fractions is drawn by `seed`.

    Rows whose split value names none of the three splits are left out, with a note that counts them. Where the column
    names training and audit but no row at all is left for validation, a validation split is drawn from training in the
    proportion of `splits.fractions`, with a note.

    Raises:
        DataError: Columns are missing, a split is empty, a group is in two splits, labels cannot be encoded, or rows
            outside training are marked to be forgotten.
    """
    one = len(columns.targets) == 1
    wanted = {"data.columns.target" + ("" if one else f"[{k}]"): name for k, name in enumerate(columns.targets)}
    of_rows = {"split": columns.split, "group": columns.group, "forget": columns.forget}
    wanted |= {f"data.columns.{k}": v for k, v in of_rows.items() if v is not None}
    wanted |= {f"evaluation.fidelity_columns[{k}]": name for k, name in enumerate(columns.kept)}
    wanted |= {f"data.attributes.{name}": spec.column or name for name, spec in attributes.items()}
    require_columns(table, wanted)
    refuse_unmapped(table)
    # rows that are left out and rows of no split go first: everything below sees only the rows in use
    notes = list(table.notes)
    positions = _rows_left(table, notes)
    table = table if len(positions) == len(table) else table.take(positions)
    role: np.ndarray | None = None
    if columns.split is not None:
        role = _roles_by_column(table, columns.split, splits, notes)
        in_use = role >= 0
        if not in_use.all():
            positions, table, role = positions[in_use], table.take(in_use), role[in_use]
    table, columns, of_labels = list_labels(table, columns)
    notes += of_labels
    group: np.ndarray | None = None
    if columns.group is not None:
        alone = "give each a group id of its own if it belongs to none"
        spelt, several = one_spelling(table.complete(columns.group, "group", alone))
        group = spelt.values.astype(str)[spelt.codes]
        if several:
            shown = first_rows([" and ".join(map(repr, ids)) for ids in several])
            notes.append(f"{table.path}: ids of {columns.group!r} in several spellings are one group: {shown}")
        notes += largest_group_note(table, columns.group, group)
    forget = None if columns.forget is None else marked_rows(table, columns.forget, role)
    role = _complete_roles(table, columns, splits, role, group, seed, notes)
    if forget is not None:
        role = _trained_to_forget(table, columns, role, forget, group, notes)
    if group is not None:
        _check_groups(table, columns, role, group)
    else:
        taken = {*columns.named, *(spec.column or name for name, spec in attributes.items())}
        note = group_note(table, taken, columns.path, role)
        notes += [note] if note is not None else []
    of_classes = [*columns.targets, *(spec.column or name for name, spec in attributes.items())]
    notes += class_notes(table, of_classes)
    if of_labels:
        columns, left_out = varying_labels(table, columns, role == 0)
        notes += left_out
    # classes, bins and statistics are those of training rows: validation and audit must not shape them
    y, target = encode_targets(table, columns, role == 0)
    notes += [*identifier_notes(table, attributes), *shared_column_notes(table, attributes)]
    encoded = {name: encode_attribute(name, spec, table, role == 0) for name, spec in attributes.items()}
    measured = [spec.column or name for name, spec in attributes.items() if spec.kind == "continuous"]
    notes += _other_units(table, [*(columns.targets if target.kind == "regression" else ()), *measured], role)
    return Annotations(
        table=table,
        positions=positions,
        role=role,
        y=y,
        target=target,
        c={name: value for name, (value, _, _) in encoded.items()},
        known={name: known for name, (_, known, _) in encoded.items()},
        attributes={name: attribute for name, (_, _, attribute) in encoded.items()},
        group=group,
        forget=forget,
        notes=tuple(notes),
        kept={name: encode_kept(name, table, role == 0) for name in columns.kept},
    )


def assemble(
    labels: Labels,
    reader: Reader,
    *,
    row_names: Sequence[str],
    contents: Mapping[str, np.ndarray | Streamed | Iterable[str]],
    inputs: InputRules,
    notes: Iterable[str] = (),
) -> BiasedData:
    """The data set of these labels, whose row i is the reader's.

    Args:
        contents: The inputs, for the fingerprint.
        inputs: How new data are read as these were.
    """
    target = labels.target
    splits = {}
    for k, name in enumerate(SPLITS):
        rows = np.flatnonzero(labels.role == k)
        splits[name] = Split(
            name=name,
            y=labels.y[rows],
            c={key: value[rows] for key, value in labels.c.items()},
            known={key: value[rows] for key, value in labels.known.items()},
            group=None if labels.group is None else labels.group[rows],
            rows=rows,
            row_names=Picked(row_names, rows),
            reader=reader,
            kept={key: value[rows] for key, (value, _, _) in labels.kept.items()},
            kept_known={key: known[rows] for key, (_, known, _) in labels.kept.items()},
            stratum=None if target.kind == "classes" else target.strata(labels.y[rows]),
            forget=None if labels.forget is None else labels.forget[rows],
        )
    if target.kind != "classes":
        # how y was standardised and binned; classes are in the fingerprint by their names alone, as in older versions
        contents = {**contents, "target": [repr(target)]}
    if labels.forget is not None:
        contents = {**contents, "forget": labels.forget}
    return BiasedData(
        **splits,
        attributes=labels.attributes,
        target=target,
        # the shape after transforms, which only reading a row tells
        input_shape=tuple(reader.read(splits["train"].rows[:1], None).shape[1:]),
        fingerprint=fingerprint(splits.values(), labels.attributes, target.class_names, contents),
        notes=(*labels.notes, *notes),
        kept={key: attribute for key, (_, _, attribute) in labels.kept.items()},
        inputs=inputs,
    )


def _other_units(table: Table, names: Sequence[str], role: np.ndarray) -> Iterator[str]:
    """Notes of numbers that audited rows have in another unit than training rows, perhaps."""
    audited = table.take(np.flatnonzero(role == 2)) if names else table
    for name in dict.fromkeys(names):
        coded = table.coded(name)
        column = fit_number(name, numbers(coded.values)[0][coded.codes][role == 0])
        yield from other_numbers(audited, replace(column, marks_missing=True), OF_AUDITED)


def class_notes(table: Table, names: Sequence[str]) -> list[str]:
    """What to know of the values of targets and attributes: two that are one, or one that may mean missing."""
    return [*spelling_notes(table, names), *may_mean_missing(table, names)]


def spelling_notes(table: Table, names: Iterable[str]) -> Iterator[str]:
    """Notes of columns in which two classes are one but for their spelling."""
    for name in dict.fromkeys(names):
        if pairs := spelt_alike(table.coded(name).values):
            shown = first_rows([" and ".join(_told_apart(pair)) for pair in pairs])
            yield (
                f"{table.path}: values of {name!r} that differ only in their spelling (capitals, blanks, how a number "
                f"or yes is written, shortened words) are classes of their own: {shown}; data.values reads one as the "
                "other"
            )


def _told_apart(values: Sequence[str]) -> list[str]:
    """Values in quotation marks; by their characters' numbers where two would look the same."""
    return list(map(ascii if len(set(map(appearance, values))) < len(values) else repr, values))


def _rows_left(table: Table, notes: list[str]) -> np.ndarray:
    """Positions of the rows without a cell that `data.values` leaves out; a note counts the others."""
    out = np.zeros(len(table), dtype=bool)
    for name in table.columns:
        column = table.coded(name)
        if LEFT_OUT in column.counts:
            out |= column.where(lambda value: value == LEFT_OUT)
    if out.all():
        raise DataError(f"{table.path}: data.values leaves out every row")
    if out.any():
        notes.append(f"{table.path}: {out.sum()} row(s) left out by data.values: rows {table.rows_where(out)}")
    return np.flatnonzero(~out)


def _roles_by_column(table: Table, column: str, splits: SplitRule, notes: list[str]) -> np.ndarray:
    """Index in SPLITS of each row by its split value, −1 where it names none."""
    names = (splits.train, splits.validation, splits.audit)
    # two roles of one value would share their rows
    if len(set(names)) < 3:
        raise DataError(f"{table.path}: data.splits: train, validation and audit must be three values, not {names}")
    values = table.coded(column)
    # Train and TRAIN are one split, as 0 and 0.0 are
    role = positions_of(values, names).astype(np.int8)
    found, others = (Counter(held.map(lambda v: v or "(empty)").counts) for held in (values, values.take(role < 0)))
    for k, name in enumerate(names):
        # without any other value there is nothing that a mistyped `validation` could have meant
        drawn_later = SPLITS[k] == "validation" and (not others or name == DRAWN)
        if not (role == k).any() and not drawn_later:
            counts = ", ".join(f"{value!r} ({n} rows)" for value, n in found.most_common(10))
            raise DataError(
                f"{table.path}: no row has {name!r} in {column!r}, which data.splits.{SPLITS[k]} asks for"
                f"{did_you_mean(name, others)}; it holds {counts}"
            )
    # rows of other values are left out, and counted: data sets often have a fourth split
    if others:
        counts = ", ".join(f"{value!r} ({n} rows)" for value, n in sorted(others.items())[:10])
        notes.append(f"{table.path}: {sum(others.values())} row(s) left out, whose {column!r} names no split: {counts}")
    return role


def _complete_roles(
    table: Table,
    columns: Columns,
    splits: SplitRule,
    role: np.ndarray | None,
    group: np.ndarray | None,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """All three splits: drawn by fractions where there is no split column, validation alone where that is empty."""
    # drawn splits are stratified by the target, so that rare classes are in all three
    if role is None:
        role = split_by_fractions(split_labels(table, columns), group, splits.fractions, seed=seed)
    elif not (role == 1).any():
        # validation must come from training: taken from the audit, it would choose the model on audited rows
        train = np.flatnonzero(role == 0)
        share = splits.fractions[1] / (splits.fractions[0] + splits.fractions[1] or 1.0)
        label = split_labels(table, columns)[train]
        part = split_by_fractions(label, None if group is None else group[train], (1 - share, share), seed=seed)
        role[train] = part
        missing = "" if splits.validation == DRAWN else f"no row has {splits.validation!r} in {columns.split!r}: "
        notes.append(
            f"{table.path}: {missing}{int(part.sum())} of {len(train)} training rows, drawn by splits.fractions, "
            "validate"
        )
    for k, name in enumerate(SPLITS):
        if not (role == k).any():
            kind = "groups" if group is not None else "rows"
            raise DataError(
                f"{table.path}: the {name} split is empty: splits.fractions {splits.fractions} of {len(table)} rows "
                f"leaves it no {kind}; give it a larger share"
            )
    return role


def _trained_to_forget(
    table: Table, columns: Columns, role: np.ndarray, forget: np.ndarray, group: np.ndarray | None, notes: list[str]
) -> np.ndarray:
    """Roles in which rows to forget train, wherever a draw had put them."""
    role, moved = kept_in_training(role, forget, group)
    notes += [f"{table.path}: {moved}"] if moved is not None else []
    for k, name in enumerate(SPLITS):
        if not (role == k).any():
            raise DataError(
                f"{table.path}: rows to forget ({columns.forget!r}, data.columns.forget) train with all of their "
                f"group, which leaves the {name} split empty; give it a larger share of splits.fractions, or name "
                "the splits in a column"
            )
    return role


def _check_groups(table: Table, columns: Columns, role: np.ndarray, group: np.ndarray) -> None:
    """No group may be in two splits: what a model learnt of a patient would help it on the audited rows."""
    # which splits each group has rows in: (groups, splits)
    ids, code = np.unique(group, return_inverse=True)
    present = np.zeros((len(ids), len(SPLITS)), dtype=bool)
    present[code, role] = True
    shared = np.flatnonzero(present.sum(axis=1) > 1)
    if len(shared):
        listed = [f"'{ids[g]}' ({', '.join(s for s, p in zip(SPLITS, present[g], strict=True) if p)})" for g in shared]
        raise DataError(
            f"{table.path}: {len(shared)} group(s) of {columns.group!r} are in more than one split: "
            f"{first_rows(listed)}; move each whole group into one split, or set columns.split to null"
        )
