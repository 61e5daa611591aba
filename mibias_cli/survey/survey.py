"""Look at a data set: what is the target, what may be a bias attribute, and how strongly the two go together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mibias_cli.data.annotations import SPLITS, Annotations, class_notes
from mibias_cli.data.columns import ColumnLook, Columns, SplitRule, look_at
from mibias_cli.data.files.images import BROKEN_IMAGE, image_shape
from mibias_cli.data.files.planes import is_animated
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.group_columns import may_be_groups
from mibias_cli.data.sources.imagefolder import CLASS_FOLDER, SPLIT_FOLDER
from mibias_cli.errors import DataError
from mibias_cli.survey.attributes import AttributeFound, alike_notes, choose_attributes, code_notes, find_attributes
from mibias_cli.survey.derived import with_groups, with_split
from mibias_cli.survey.files import file_layout
from mibias_cli.survey.folders import folder_layout
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.proxies import independence_note, once_more, proxies_of
from mibias_cli.survey.repeats import repeat_notes
from mibias_cli.survey.roles import Roles, Wishes, annotate_roles, choose_roles, keep_usable_rows
from mibias_cli.survey.style import darkness_note, shows_in_channels
from mibias_cli.survey.uses import column_uses, input_notes, merged_note

__all__ = ["RowsFound", "Survey", "as_manifest", "find_rows", "survey"]

_SAMPLED_IMAGES = 64


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
        in_chans: Their channels, where all have as many and more or fewer than grey or colour; else None.
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
    in_chans: int | None
    must_write: bool
    guesses: tuple[str, ...]
    notes: tuple[str, ...]
    uses: Mapping[str, str]

    @property
    def target_title(self) -> str:
        """The target's name for people."""
        return "the class folder" if self.columns.target == CLASS_FOLDER else str(self.columns.target)

    def shows_in_channels(self) -> bool:
        """Whether channel statistics of images tell all attributes: they are a matter of colours and contrast."""
        attributes = {attribute.name: attribute.kind == "continuous" for attribute in self.chosen}
        return shows_in_channels(self.layout, attributes, str(self.columns.target), self.in_chans or 3)


@dataclass(frozen=True, kw_only=True)
class RowsFound:
    """The rows of a data set that can be used, with their roles and labels; attributes are still open.

    Args:
        layout: The data set; its table has the usable rows alone.
        looks: What each column looks like.
        roles: Target, split and group.
        annotations: Labels and splits, as loading will make them.
        dropped: What was left out, one text per reason.
        wishes: What the user said, with columns as the layout calls them.
    """

    layout: Layout
    wishes: Wishes
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
        layout = file_layout(
            path, wishes.table, wishes.root, wishes.follow_links, wishes.image, as_table=wishes.source == "table"
        )
    _refuse_unused(path, layout, wishes)
    layout = replace(layout, follow_links=wishes.follow_links)
    wishes = _as_called(layout, wishes)
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
        unusable = "; ".join(text.replace(", left out: ", ": ") for text in dropped)
        raise DataError(f"{layout.file or layout.features}: {unusable}; take these {what} out")
    roles, annotations = annotate_roles(layout, roles)
    return RowsFound(
        layout=layout, wishes=wishes, looks=looks, roles=roles, annotations=annotations, dropped=tuple(dropped)
    )


def _as_called(layout: Layout, wishes: Wishes) -> Wishes:
    """The wishes, where a folder that makes a column may be named as the manifest will name it: class, split."""
    made = {usual: name for name, usual in manifest_names(layout.table.columns).items()}

    def called(name: str | None) -> str | None:
        return None if name is None else made.get(name, name)

    return replace(
        wishes,
        target=called(wishes.target),
        split=called(wishes.split),
        group=called(wishes.group),
        attributes=tuple(made.get(name, name) for name in wishes.attributes),
    )


def _refuse_shared(wishes: Wishes) -> None:
    """A column that is named for two roles has neither."""
    named = {"--target": wishes.target, "--split": wishes.split, "--group": wishes.group}
    for option, column in named.items():
        others = [other for other, name in named.items() if other != option and name == column]
        if column is not None and others:
            raise DataError(f"{option} {column}: is {others[0]} as well; name another column for one of the two")


def _refuse_unused(path: Path, layout: Layout, wishes: Wishes) -> None:
    """An option that these data have no use for is a mistake about them."""
    if wishes.source not in (None, layout.source):
        raise DataError(f"{path}: is {layout.what}, and no {wishes.source}; leave --source {wishes.source} out")
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
    wishes = rows.wishes
    layout, looks, roles, annotations = rows.layout, rows.looks, rows.roles, rows.annotations
    found, alike = find_attributes(layout, looks, roles, annotations, wishes)
    chosen, how = choose_attributes(layout, found, alike, wishes)
    others = sorted((a for a in found if a not in chosen), key=lambda a: -a.shared_bits)
    # a column that renames the target is the target once more, and no bias
    renamed = [a.name for a in others if a.renames_target]
    if layout.source == "table":  # of inputs it is said with the others that tell the target
        told = proxies_of(roles.target, [looks[name] for name in renamed], annotations.table, annotations.role == 0)
        renamed = [name for name in renamed if name not in dict(told)]
    copies = _copies(rows, chosen)
    exact = [f"{first_rows(renamed)}: each value goes with one value of the target"] if renamed else []
    notes = [*layout.notes, *rows.dropped, *roles.notes, *annotations.notes, *exact]
    notes += [] if wishes.attributes else alike_notes(layout, alike)
    notes += [*code_notes(looks, chosen), *class_notes(annotations.table, [a.name for a in chosen])]
    if roles.group is None:
        taken = {*roles.taken, layout.path, *(a.name for a in chosen)}
        notes += may_be_groups([look for name, look in looks.items() if name not in taken], annotations.table)
    if layout.table.nested and layout.source != "table":
        listed = first_rows([f"{name} ({kind})" for name, kind in layout.table.nested.items() if name != layout.key])
        notes += (
            [f"not read, for want of one value per row: {listed}; lists of labels are read as text: A|B"]
            if listed
            else []
        )
    beside = [name for name, look in looks.items() if look.kind == "path" and name != layout.path]
    if layout.path is not None and beside:
        notes.append(f"{first_rows(beside)}: may name images too; {layout.path} is read (data.columns.path)")
    notes += merged_note(layout.table)
    uses = column_uses(layout, looks, roles, [a.name for a in chosen], copies)
    notes += input_notes(layout.table, uses, needed=layout.source == "table")
    notes += repeat_notes(layout, roles, annotations)
    notes += _proxy_notes(rows, chosen, copies)
    notes += [note for a in chosen if (note := independence_note(a.name, a.cells, a.shared_bits)) is not None]
    sizes, in_chans, odd = _image_shapes(layout)
    notes += odd
    # a recipe can only name a file: rows that no file holds as they are have to be written to one
    must_write = not layout.is_fixed and (layout.file is None or bool(rows.dropped))
    if must_write and layout.source == "imagefolder":
        names = manifest_names(layout.table.columns)
        layout, roles = as_manifest(layout, roles)
        chosen, others = ([replace(a, name=names.get(a.name, a.name)) for a in known] for known in (chosen, others))
        uses = {names.get(name, name): use for name, use in uses.items()}
    return Survey(
        layout=layout,
        columns=roles.columns(layout),
        splits=roles.splits,
        class_names=annotations.target.class_names,
        n_outputs=annotations.target.n_outputs,
        n_rows={name: int((annotations.role == k).sum()) for k, name in enumerate(SPLITS)},
        chosen=tuple(chosen),
        candidates=tuple(others),
        image_sizes=sizes,
        in_chans=in_chans,
        must_write=must_write,
        guesses=(*roles.guesses, *how),
        notes=tuple(notes),
        uses=uses,
    )


def manifest_names(columns: Collection[str]) -> dict[str, str]:
    """What columns that folders make are called in a manifest, by their names: a table may have these."""
    usual = ((CLASS_FOLDER, "class"), (SPLIT_FOLDER, "split"))
    # names that need no quotes in YAML, unless the table has them already
    return {made: name if name not in columns else f"{name}_folder" for made, name in usual if made in columns}


def as_manifest(layout: Layout, roles: Roles) -> tuple[Layout, Roles]:
    """Class folders as a manifest."""
    columns = layout.table.columns
    names = manifest_names(columns)
    renamed = {names.get(name, name): values for name, values in columns.items()}
    split = None if roles.split is None else names.get(roles.split, roles.split)
    table = replace(layout.table, columns=renamed)
    roles = replace(roles, target=names.get(roles.target, roles.target), split=split)
    return replace(layout, source="manifest", table=table), roles


def _copies(rows: RowsFound, chosen: Sequence[AttributeFound]) -> dict[str, float]:
    """Columns of a table that are the target once more, value for value, each with its association."""
    if rows.layout.source != "table":
        return {}
    table, target, training = rows.annotations.table, rows.roles.target, rows.annotations.role == 0
    taken = {*rows.roles.taken, *(a.name for a in chosen)}
    free = [look for name, look in rows.looks.items() if name not in taken and name in table.columns]
    found = proxies_of(target, free, table, training)
    own = table.columns[target][training]

    def one_to_one(name: str) -> bool:
        pairs = {pair for pair in zip(own, table.columns[name][training], strict=True) if None not in pair}
        return len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)

    return {name: share for name, share in found if one_to_one(name)}


def _proxy_notes(rows: RowsFound, chosen: Sequence[AttributeFound], copies: Mapping[str, float]) -> Iterator[str]:
    """What stands for a chosen attribute, or for the target: debiasing one of the two would be in vain."""
    roles, annotations = rows.roles, rows.annotations
    training, table = annotations.role == 0, annotations.table
    free = [look for name, look in rows.looks.items() if name not in roles.taken and name in table.columns]
    tabular = rows.layout.source == "table"
    for attribute in chosen:
        own = [look for look in free if look.name == attribute.name]
        for _, share in proxies_of(roles.target, own, table, training):
            yield (
                f"{attribute.name} and the target go together almost one to one (association {share:.2f}): without the "
                "one the other cannot be learnt; --attribute or --target names another column"
            )
        yield from once_more(attribute.name, proxies_of(attribute.name, free, table, training), are_inputs=tabular)
    # what tells the target among the inputs of a table makes the task trivial
    if copies:
        listed = first_rows([f"{name} (association {share:.2f})" for name, share in copies.items()])
        how = "value for value, so no input; data.features names the inputs, and may take it"
        yield f"{listed}: the target once more, {how}"
    names = {*copies, *(a.name for a in chosen)}
    others = [look for look in free if look.name not in names] if tabular else []
    yield from once_more(None, proxies_of(roles.target, others, table, training), are_inputs=True)


def _image_shapes(layout: Layout) -> tuple[tuple[tuple[int, int], ...], int | None, list[str]]:
    """(width, height) of the smallest, middle and largest of some images, by their shorter sides; and their channels.

    Beside these, notes of images that have other channels than others, or several frames.

    Raises:
        DataError: What reads such images is not installed.
    """
    images = layout.images
    if images is None:
        return (), None, []
    # some images spread over the listing; only their headers are read
    sizes, moving = list[tuple[int, int]](), list[str]()
    of_channels: dict[int, list[str]] = {}
    for row in range(0, len(images), max(1, len(images) // _SAMPLED_IMAGES)):
        try:
            n, height, width = image_shape(images.source(row))
            moving += [images.place(row)] if is_animated(images.source(row)) else []
        except BROKEN_IMAGE:
            continue  # loading will name a broken file; here it has no size
        sizes.append((width, height))
        of_channels.setdefault(n, []).append(images.place(row))
    # by the shorter side, which is what the model's input size is compared with
    sizes.sort(key=lambda size: (min(size), size))
    in_chans = next(iter(of_channels)) if len(of_channels) == 1 and of_channels.keys().isdisjoint({1, 3}) else None
    notes = [*_mixed_channels(of_channels, len(sizes))]
    if (note := darkness_note(images)) is not None:
        notes.append(note)
    if moving:
        notes.append(
            f"{len(moving)} of {len(sizes)} images looked at have several frames, of which the first is read: "
            f"{first_rows(moving, 2)}"
        )
    return ((sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else ()), in_chans, notes


def _mixed_channels(of_channels: Mapping[int, Sequence[str]], n: int) -> Iterator[str]:
    """A note where n images that were looked at have several numbers of channels, but for grey beside colour."""
    if len(of_channels) > 1 and not of_channels.keys() <= {1, 3}:
        listed = "; ".join(f"{k} in {len(files)} ({files[0]}, …)" for k, files in sorted(of_channels.items()))
        yield (
            f"of {n} images looked at, not all have as many channels: {listed}; a model reads one number of them (grey "
            "as colour, too), and training refuses what cannot be read so: convert such images, or leave them out"
        )
