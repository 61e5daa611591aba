"""Which columns may be bias attributes, which are chosen, and what is said of those that do not vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mibias_cli.data.annotations import Annotations
from mibias_cli.data.columns import MOST_CLASSES, AttributeColumn, ColumnLook, misfits, refuse_misfits
from mibias_cli.data.encoding import encode_attribute
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.data.groups import cells
from mibias_cli.data.table_inputs import left_out
from mibias_cli.errors import DataError, did_you_mean
from mibias_cli.evaluation.statistics.information import entropy_of_shares, label_entropy_bits, mutual_information_bits
from mibias_cli.survey.columns import are_codes, attribute_rank
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.roles import Roles, Wishes

__all__ = ["AttributeFound", "alike_notes", "choose_attributes", "code_notes", "find_attributes"]


@dataclass(frozen=True, kw_only=True)
class AttributeFound:
    """A column that is, or may be, a bias attribute.

    Args:
        name: The column.
        kind: How a recipe reads it.
        classes: Names of its classes (or bins).
        cells: Training rows per target class and attribute class (n_y, n_c).
        shared_bits, entropy_bits: I(y; c) and H(c) of the training rows.
        n_missing: Rows in use without a value.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    cells: np.ndarray
    shared_bits: float
    entropy_bits: float
    n_missing: int

    @property
    def told(self) -> str:
        """How many bits of it the target tells, in words: what chance makes of independent columns is 0."""
        return f"{max(self.shared_bits, 0.0):.3f} of {self.entropy_bits:.3f} bits"

    @property
    def share_of_target(self) -> float:
        """How much of the target the attribute predicts, I(y; c) / H(y), in its training rows; at most 1."""
        whole = float(entropy_of_shares(self.cells.sum(axis=1) / self.cells.sum()))
        return min(self.shared_bits / whole, 1.0) if whole else 0.0

    @property
    def settles_target(self) -> bool:
        """Whether each of its values goes with one of the target's alone: it never misleads."""
        return bool(((self.cells > 0).sum(axis=0) <= 1).all())

    @property
    def renames_target(self) -> bool:
        """Whether each of its values goes with one of the target's, and the other way round."""
        return self.settles_target and bool(((self.cells > 0).sum(axis=1) <= 1).all())


def find_attributes(
    layout: Layout, looks: Mapping[str, ColumnLook], roles: Roles, annotations: Annotations, wishes: Wishes
) -> tuple[list[AttributeFound], dict[str, str]]:
    """Every column of classes or numbers that has no other role, and how it goes with the target in training.

    Those that do not vary in training come apart, by name, with what they hold there.
    """
    # row numbers and the like are no bias, unless someone says so
    out = left_out(annotations.table, [name for name in annotations.table.columns if name not in wishes.attributes])
    training = annotations.role == 0
    found, alike = list[AttributeFound](), dict[str, str]()
    for name, look in looks.items():
        # of inputs that are left out an empty one is among those that are listed
        is_out = name in out and (look.kind != "empty" or layout.source == "table")
        if name in roles.taken or is_out or not _may_be_attribute(look, wishes, annotations):
            continue
        if name not in wishes.attributes and _renames_group(name, annotations.table, roles):
            continue  # patients by another name
        if held := _held_alike(annotations.table.columns[name][training]):
            alike[name] = held
            continue
        quantity = look.kind == "number" and not are_codes(look, annotations.table.columns[name])
        attribute = _attribute(name, "continuous" if quantity else "categorical", annotations)
        found += [attribute] if attribute is not None else []
    return found, alike


def _attribute(
    name: str, kind: Literal["categorical", "continuous"], annotations: Annotations
) -> AttributeFound | None:
    """A column as an attribute beside the target in training; None where it cannot be read as one."""
    training, target = annotations.role == 0, annotations.target
    try:
        c, known, attribute = encode_attribute(name, AttributeColumn(kind=kind), annotations.table, training)
    except DataError:
        return None
    used = training & known
    # both in training rows alone: what the model can learn the bias from
    y, classes = target.strata(annotations.y)[used], attribute.classes(c)[used, 0]
    n_y, n_c = len(target.class_names), attribute.n_classes[0]
    return AttributeFound(
        name=name,
        kind=kind,
        classes=attribute.class_names[0],
        cells=cells(y, classes, n_y, n_c),
        shared_bits=mutual_information_bits(y, classes, n_y, n_c),
        entropy_bits=label_entropy_bits(classes, n_c),
        n_missing=int((~known).sum()),
    )


def _held_alike(values: np.ndarray) -> str:
    """What training rows hold that do not vary, as text (n,) with None where missing; empty where they vary."""
    known = [v for v in values if v is not None]
    if not known:
        return f"blank in all {len(values):,} training rows"
    which = "" if len(known) == len(values) else " that have a value"
    return f"{known[0]!r} in all {len(known):,} training rows{which}" if len(set(known)) == 1 else ""


def alike_notes(layout: Layout, alike: Mapping[str, str]) -> list[str]:
    """A note of columns that may have been meant as attributes, and do not vary in training; or none."""
    # any column beside images may have been meant; of a table's columns those that have such a name
    meant = [name for name in alike if layout.source != "table" or attribute_rank(name) is not None]
    listed = first_rows([f"{name} ({alike[name]})" for name in meant])
    return [f"no attribute, as it does not vary in training: {listed}"] if meant else []


def _may_be_attribute(look: ColumnLook, wishes: Wishes, annotations: Annotations) -> bool:
    """Columns of classes or numbers, and of few lists, a class each; of many values only where it is wished."""
    if look.kind in ("classes", "number", "empty") or (look.kind == "lists" and look.n_values <= MOST_CLASSES):
        return True
    wished = look.name in wishes.attributes and look.kind in ("lists", "text")
    return wished and not misfits(annotations.table.columns[look.name]).any()


def _renames_group(name: str, table: Table, roles: Roles) -> bool:
    if roles.group is None:
        return False
    pairs = set(zip(table.columns[name], table.columns[roles.group], strict=True))
    return len(pairs) == len(set(table.columns[name])) == len(set(table.columns[roles.group]))


def code_notes(looks: Mapping[str, ColumnLook], chosen: Sequence[AttributeFound]) -> Iterator[str]:
    """Notes of numbers that are taken for codes."""
    for attribute in chosen:
        if looks[attribute.name].kind == "number" and attribute.kind == "categorical":
            yield f"{attribute.name}: its numbers are taken for codes, a class each; kind: continuous, if they measure"


def choose_attributes(
    layout: Layout, found: Sequence[AttributeFound], alike: Mapping[str, str], wishes: Wishes
) -> tuple[list[AttributeFound], list[str]]:
    """The attributes of the recipe, and what was guessed: by wish, by layout, by name, or (not in a table) by bits.

    `found` and `alike` are what `find_attributes` gave.

    Raises:
        DataError: A column that was named is none, or nothing says which column is meant.
    """
    by_name = {a.name: a for a in found}
    if wishes.attributes:
        unusable = [name for name in wishes.attributes if name not in by_name]
        if unusable:
            name = unusable[0]
            if held := alike.get(name):
                varies = len({v for v in layout.table.columns[name] if v is not None}) > 1
                other = ", or by --split rows for training that differ" if varies else ""
                raise DataError(
                    f"{layout.table.path}: --attribute {name}: {held}, so nothing shows what it changes, and nothing "
                    f"of it can be taken out; name another column{other}"
                )
            # numbers with a unit (045Y), say, which a recipe could not read either
            refuse_misfits(layout.table, name, "name another column")
            raise DataError(
                f"{layout.table.path}: --attribute {name}: no column of classes or numbers that varies in "
                f"training{did_you_mean(name, by_name)}; there are {', '.join(by_name) or 'none'}"
            )
        return [by_name[name] for name in dict.fromkeys(wishes.attributes)], []
    if known := [by_name[name] for name in layout.attributes if name in by_name]:
        return known, [f"attribute {known[0].name}: by the layout"]
    # by name: the likeliest words first, then the column that goes most with the target
    ranked = [(rank, a) for a in found if (rank := attribute_rank(a.name)) is not None]
    if ranked:
        _, best = min(ranked, key=lambda pair: (pair[0], -pair[1].shared_bits))
        return [best], [f"attribute {best.name}: by its name"]
    # of images, the metadata beside them are candidates; a table's columns are features, any of which may be meant
    likely = [a for a in found if not a.renames_target]
    if not likely or layout.source == "table":
        shown = ", ".join(
            f"{a.name} ({max(a.shared_bits, 0.0):.3f} bits)" for a in sorted(found, key=lambda a: -a.shared_bits)[:8]
        )
        there = f"; columns, with what the target tells of them: {shown}" if shown else ""
        table = " and, where it stands in another table, that with --table FILE" if layout.root is not None else ""
        still = "".join(f"; {note}" for note in alike_notes(layout, alike))
        raise DataError(
            f"{layout.table.path}: nothing says which column is the bias attribute; name it with --attribute COLUMN"
            f"{table}{there}{still}; where nobody knows it, `mibias scan` looks for what tells the target"
        )
    best = max(likely, key=lambda a: a.shared_bits)
    return [best], [f"attribute {best.name}: the column that goes most with the target"]
