"""Look at a data set: what is the target, what may be a bias attribute, and how strongly the two go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mibias_cli.data.annotations import SPLITS, Annotations, class_notes
from mibias_cli.data.columns import (
    MOST_CLASSES,
    AttributeColumn,
    ColumnLook,
    Columns,
    SplitRule,
    look_at,
    misfits,
    refuse_misfits,
)
from mibias_cli.data.encoding import encode_attribute
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.data.group_columns import may_be_groups
from mibias_cli.data.groups import cells
from mibias_cli.data.sources.imagefolder import CLASS_FOLDER, SPLIT_FOLDER
from mibias_cli.data.table_inputs import left_out
from mibias_cli.errors import DataError, did_you_mean
from mibias_cli.evaluation.statistics.information import entropy_of_shares, label_entropy_bits, mutual_information_bits
from mibias_cli.survey.columns import are_codes, attribute_rank
from mibias_cli.survey.derived import with_groups, with_split
from mibias_cli.survey.files import file_layout
from mibias_cli.survey.folders import folder_layout
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.proxies import independence_note, proxies_of
from mibias_cli.survey.repeats import repeat_notes
from mibias_cli.survey.roles import Roles, Wishes, annotate_roles, choose_roles, keep_usable_rows
from mibias_cli.survey.uses import column_uses, input_notes

__all__ = ["AttributeFound", "RowsFound", "Survey", "as_manifest", "find_rows", "survey"]

_SAMPLED_IMAGES = 64


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


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found.

    Args:
        layout: The data set; its table has the usable rows alone.
        columns, splits: As a recipe would name them.
        class_names: The target's classes (or bins).
        n_outputs: How many numbers a head gives: one per class, label or column of numbers.
        n_rows: Rows per split.
        chosen: The attributes that a recipe should have.
        candidates: Further columns that may be attributes, the most associated with the target first.
        image_sizes: (width, height) of some images, smallest, middle and largest by their shorter side; or empty.
        must_write: Whether the layout's table has to be written to a file of its own.
        guesses: What was guessed, and by what.
        notes: What was left out, and what to look at.
        uses: By column, what it is in the recipe.
    """

    layout: Layout
    columns: Columns
    splits: SplitRule
    class_names: tuple[str, ...]
    n_outputs: int
    n_rows: Mapping[str, int]
    chosen: tuple[AttributeFound, ...]
    candidates: tuple[AttributeFound, ...]
    image_sizes: tuple[tuple[int, int], ...]
    must_write: bool
    guesses: tuple[str, ...]
    notes: tuple[str, ...]
    uses: Mapping[str, str]

    @property
    def target_title(self) -> str:
        """The target's name for people."""
        return "the class folder" if self.columns.target == CLASS_FOLDER else str(self.columns.target)


@dataclass(frozen=True, kw_only=True)
class RowsFound:
    """The rows of a data set that can be used, with their roles and labels; attributes are still open.

    Args:
        layout: The data set; its table has the usable rows alone.
        looks: What each column looks like.
        roles: Target, split and group.
        annotations: Labels and splits, as loading will make them.
        dropped: What was left out, one text per reason.
    """

    layout: Layout
    looks: Mapping[str, ColumnLook]
    roles: Roles
    annotations: Annotations
    dropped: tuple[str, ...]


def find_rows(path: Path, wishes: Wishes) -> RowsFound:
    """The rows of a folder, a manifest, a table or stored embeddings, with their targets and splits.

    Raises:
        DataError: It is none of these, no target can be found, or the rows cannot be used.
    """
    if not path.exists() and path.suffix != ".tar":
        raise DataError(f"{path}: there is no such file or folder")
    _refuse_shared(wishes)
    if path.is_dir():
        layout = folder_layout(path, wishes.table, wishes.follow_links, wishes.image)
    else:
        layout = file_layout(path, wishes.table, wishes.root, wishes.follow_links, wishes.image)
    _refuse_unused(path, layout, wishes)
    layout = replace(layout, follow_links=wishes.follow_links)
    # what names of files, folders and paths say of splits and groups becomes columns
    layout = with_split(layout, [look_at(layout.table, name) for name in layout.table.columns])
    wanted = [name for name in layout.table.columns if name not in wishes.attributes and name != wishes.target]
    layout = with_groups(layout, [look_at(layout.table, name) for name in wanted], wishes.group)
    # roles of columns first, then which rows can be used, then labels and splits as loading will make them
    looks = {name: look_at(layout.table, name) for name in layout.table.columns}
    roles = choose_roles(layout, looks, wishes)
    layout, dropped = keep_usable_rows(layout, roles)
    # embeddings are joined by order: leaving out rows of the table would shift all that follow
    if dropped and layout.is_fixed:
        what = "rows and embeddings" if layout.source == "embeddings" else "samples"
        raise DataError(f"{layout.file or layout.features}: {'; '.join(dropped)}; take these {what} out")
    roles, annotations = annotate_roles(layout, roles)
    return RowsFound(layout=layout, looks=looks, roles=roles, annotations=annotations, dropped=tuple(dropped))


def _refuse_shared(wishes: Wishes) -> None:
    """A column that is named for two roles has neither."""
    named = {"--target": wishes.target, "--split": wishes.split, "--group": wishes.group}
    for option, column in named.items():
        others = [other for other, name in named.items() if other != option and name == column]
        if column is not None and others:
            raise DataError(f"{option} {column}: is {others[0]} as well; name another column for one of the two")


def _refuse_unused(path: Path, layout: Layout, wishes: Wishes) -> None:
    """An option that these data have no use for is a mistake about them."""
    has_images = layout.source in ("manifest", "imagefolder")
    unused = {
        "--root": wishes.root is not None and (path.is_dir() or not has_images),
        "--follow-links": wishes.follow_links is not None and not has_images,
        "--image": wishes.image is not None and layout.source != "webdataset",
        "--table": wishes.table is not None and layout.source != "embeddings" and (path.is_file() or layout.is_fixed),
    }
    for option in (name for name, is_unused in unused.items() if is_unused):
        raise DataError(f"{path}: is {layout.what}, which {option} says nothing about; leave it out")


def survey(path: Path, wishes: Wishes) -> Survey:
    """Look at a folder, a manifest, a table or stored embeddings.

    Raises:
        DataError: It is none of these, no target or no attribute can be found, or the rows cannot be used.
    """
    rows = find_rows(path, wishes)
    layout, looks, roles, annotations = rows.layout, rows.looks, rows.roles, rows.annotations
    found = _attributes(annotations, looks, roles, wishes)
    chosen, how = _chosen(layout, found, wishes)
    others = sorted((a for a in found if a not in chosen), key=lambda a: -a.shared_bits)
    # a column that renames the target is the target once more, and no bias
    renamed = [a.name for a in others if a.renames_target]
    exact = [f"{first_rows(renamed)}: each value goes with one value of the target"] if renamed else []
    notes = [*layout.notes, *rows.dropped, *roles.notes, *annotations.notes, *exact]
    notes += [*_code_notes(looks, chosen), *class_notes(annotations.table, [a.name for a in chosen])]
    if roles.group is None:
        taken = {*roles.taken, layout.path, *(a.name for a in chosen)}
        notes += may_be_groups([look for name, look in looks.items() if name not in taken], annotations.table)
    uses = column_uses(layout, looks, roles, [a.name for a in chosen])
    notes += input_notes(layout.table, uses)
    notes += repeat_notes(layout, roles, annotations)
    notes += _proxy_notes(layout, looks, roles, annotations, chosen)
    notes += [note for a in chosen if (note := independence_note(a.name, a.cells, a.shared_bits)) is not None]
    # a recipe can only name a file: rows that no file holds as they are have to be written to one
    must_write = not layout.is_fixed and (layout.file is None or bool(rows.dropped))
    if must_write and layout.source == "imagefolder":
        layout, roles = as_manifest(layout, roles)
    return Survey(
        layout=layout,
        columns=roles.columns(layout),
        splits=roles.splits,
        class_names=annotations.target.class_names,
        n_outputs=annotations.target.n_outputs,
        n_rows={name: int((annotations.role == k).sum()) for k, name in enumerate(SPLITS)},
        chosen=tuple(chosen),
        candidates=tuple(others),
        image_sizes=_image_sizes(layout),
        must_write=must_write,
        guesses=(*roles.guesses, *how),
        notes=tuple(notes),
        uses=uses,
    )


def as_manifest(layout: Layout, roles: Roles) -> tuple[Layout, Roles]:
    """Class folders as a manifest: the folders' columns get names that a table may have."""
    columns = layout.table.columns
    # names that need no quotes in YAML, unless the table has them already
    names = {}
    for made, usual in ((CLASS_FOLDER, "class"), (SPLIT_FOLDER, "split")):
        if made in columns:
            names[made] = usual if usual not in columns else f"{usual}_folder"
    renamed = {names.get(name, name): values for name, values in columns.items()}
    split = None if roles.split is None else names.get(roles.split, roles.split)
    table = replace(layout.table, columns=renamed)
    roles = replace(roles, target=names.get(roles.target, roles.target), split=split)
    return replace(layout, source="manifest", table=table), roles


def _attributes(
    annotations: Annotations, looks: Mapping[str, ColumnLook], roles: Roles, wishes: Wishes
) -> list[AttributeFound]:
    """Every column of classes or numbers that has no other role, and how it goes with the target in training."""
    # row numbers and the like are no bias, unless someone says so
    out = left_out(annotations.table, [name for name in annotations.table.columns if name not in wishes.attributes])
    training = annotations.role == 0
    n_y = len(annotations.target.class_names)
    y = annotations.target.strata(annotations.y)
    found = []
    for name, look in looks.items():
        if name in roles.taken or name in out or look.n_values < 2 or not _may_be_attribute(look, wishes, annotations):
            continue
        if name not in wishes.attributes and _renames_group(name, annotations.table, roles):
            continue  # patients by another name
        quantity = look.kind == "number" and not are_codes(look, annotations.table.columns[name])
        kind: Literal["categorical", "continuous"] = "continuous" if quantity else "categorical"
        try:
            c, known, attribute = encode_attribute(name, AttributeColumn(kind=kind), annotations.table, training)
        except DataError:
            continue  # empty in training: nothing can be learnt of it
        used = training & known
        if not used.any():
            continue
        # both in training rows alone: what the model can learn the bias from
        classes, n_c = attribute.classes(c)[used, 0], attribute.n_classes[0]
        found.append(
            AttributeFound(
                name=name,
                kind=kind,
                classes=attribute.class_names[0],
                cells=cells(y[used], classes, n_y, n_c),
                shared_bits=mutual_information_bits(y[used], classes, n_y, n_c),
                entropy_bits=label_entropy_bits(classes, n_c),
                n_missing=int((~known).sum()),
            )
        )
    return found


def _may_be_attribute(look: ColumnLook, wishes: Wishes, annotations: Annotations) -> bool:
    """Columns of classes or numbers, and of few lists, a class each; of many values only where it is wished."""
    if look.kind in ("classes", "number") or (look.kind == "lists" and look.n_values <= MOST_CLASSES):
        return True
    wished = look.name in wishes.attributes and look.kind in ("lists", "text")
    return wished and not misfits(annotations.table.columns[look.name]).any()


def _renames_group(name: str, table: Table, roles: Roles) -> bool:
    if roles.group is None:
        return False
    pairs = set(zip(table.columns[name], table.columns[roles.group], strict=True))
    return len(pairs) == len(set(table.columns[name])) == len(set(table.columns[roles.group]))


def _code_notes(looks: Mapping[str, ColumnLook], chosen: Sequence[AttributeFound]) -> Iterator[str]:
    for attribute in chosen:
        if looks[attribute.name].kind == "number" and attribute.kind == "categorical":
            yield f"{attribute.name}: its numbers are taken for codes, a class each; kind: continuous, if they measure"


def _chosen(layout: Layout, found: Sequence[AttributeFound], wishes: Wishes) -> tuple[list[AttributeFound], list[str]]:
    """The attributes of the recipe, and what was guessed: by wish, by layout, by name, or (not in a table) by bits."""
    by_name = {a.name: a for a in found}
    if wishes.attributes:
        unusable = [name for name in wishes.attributes if name not in by_name]
        if unusable:
            # numbers with a unit (045Y), say, which a recipe could not read either
            refuse_misfits(layout.table, unusable[0], "name another column")
            raise DataError(
                f"{layout.table.path}: --attribute {unusable[0]}: no column of classes or numbers that varies in "
                f"training{did_you_mean(unusable[0], by_name)}; there are {', '.join(by_name) or 'none'}"
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
            f"{a.name} ({a.shared_bits:.3f} bits)" for a in sorted(found, key=lambda a: -a.shared_bits)[:8]
        )
        there = f"; columns, with what the target tells of them: {shown}" if shown else ""
        table = " and, where it stands in another table, that with --table FILE" if layout.root is not None else ""
        raise DataError(
            f"{layout.table.path}: nothing says which column is the bias attribute; name it with --attribute COLUMN"
            f"{table}{there}"
        )
    best = max(likely, key=lambda a: a.shared_bits)
    return [best], [f"attribute {best.name}: the column that goes most with the target"]


def _proxy_notes(
    layout: Layout,
    looks: Mapping[str, ColumnLook],
    roles: Roles,
    annotations: Annotations,
    chosen: Sequence[AttributeFound],
) -> Iterator[str]:
    """What stands for a chosen attribute, or for the target: debiasing one of the two would be in vain."""
    training = annotations.role == 0
    free = [look for name, look in looks.items() if name not in roles.taken and name in annotations.table.columns]
    tabular = layout.source == "table"
    for attribute in chosen:
        own = [look for look in free if look.name == attribute.name]
        for _, share in proxies_of(roles.target, own, annotations.table, training):
            yield (
                f"{attribute.name} and the target go together almost one to one (association {share:.2f}): without the "
                "one the other cannot be learnt; --attribute or --target names another column"
            )
        found = proxies_of(attribute.name, free, annotations.table, training)
        if found:
            listed = first_rows([f"{name} (association {share:.2f})" for name, share in found])
            inputs = "; they are among the inputs unless data.features leaves them out" if tabular else ""
            yield f"{listed}: {attribute.name} once more, spelt otherwise or binned{inputs}"
    # what tells the target among the inputs of a table makes the task trivial
    names = {a.name for a in chosen}
    told = proxies_of(roles.target, [x for x in free if x.name not in names], annotations.table, training)
    if told and tabular:
        listed = first_rows([f"{name} (association {share:.2f})" for name, share in told])
        yield f"{listed}: the target once more, among the inputs; data.features leaves it out"


def _image_sizes(layout: Layout) -> tuple[tuple[int, int], ...]:
    """(width, height) of the smallest, the middle and the largest of some images, by their shorter sides."""
    images = layout.images
    if images is None:
        return ()
    # some images spread over the listing; only their headers are read
    sizes = []
    for row in range(0, len(images), max(1, len(images) // _SAMPLED_IMAGES)):
        try:
            with Image.open(images.source(row)) as image:
                sizes.append((int(image.size[0]), int(image.size[1])))
        except (OSError, SyntaxError, ValueError):
            continue  # loading will name a broken file; here it has no size
    # by the shorter side, which is what the model's input size is compared with
    sizes.sort(key=lambda size: (min(size), size))
    return (sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else ()
