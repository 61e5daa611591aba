"""Folders of images: well-known layouts, class folders, Hugging Face's metadata, names that say who is on a face."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.columns import MOST_CLASSES, look_at, name_words
from mibias_cli.data.files.folders import find_images
from mibias_cli.data.files.tabular import Table, first_rows, read_table, refuse_nested, texts
from mibias_cli.data.group_columns import group_columns, path_groups
from mibias_cli.data.shards.shard_names import may_be_shards
from mibias_cli.data.sources.imagefolder import CLASS_FOLDER, SPLIT_FOLDER, list_images
from mibias_cli.datasets.celeba import ATTRIBUTES, PARTITION, find_celeba, read_celeba
from mibias_cli.datasets.extremes import age_bins
from mibias_cli.datasets.faces import looks_like_faces, read_face_names
from mibias_cli.datasets.waterbirds import METADATA_COLUMNS
from mibias_cli.errors import DataError
from mibias_cli.survey.columns import guess_target
from mibias_cli.survey.files import arrays_beside, features_layout, shards_layout
from mibias_cli.survey.layout import MOST_FILES, Layout, make_table
from mibias_cli.survey.levels import Levels, are_masks, read_levels
from mibias_cli.survey.splits import guess_split, role_of_name, split_words
from mibias_cli.survey.tables.matching import image_column, match_images
from mibias_cli.survey.tables.sidecars import Sidecar, find_sidecars, join_by_key, join_sidecars
from mibias_cli.survey.tables.split_tables import SplitTables, numbered_parts, split_tables, tables_in

__all__ = ["SUBFOLDER", "folder_layout"]

SUBFOLDER = "subfolder"
"""The column of folders below class folders, where no table says more of the images."""

_COCO = ("instances_*.json", "captions_*.json", "person_keypoints_*.json", "*_annotations.coco.json")
_FEW_CODES = 2
_CLASS_WORDS = {"class", "cls", "category", "label", "type"}
_METADATA = ("metadata.csv", "metadata.parquet", "metadata.jsonl")


def folder_layout(folder: Path, table: Path | None, follow: Path | None, image: str | None) -> Layout:
    """What a folder of images, or of shards of images or embeddings, holds; of shards `image` is as of `shards_layout`.

    The table of attributes is one that the user names, or that is looked for.

    Links to what lies below the folder `follow` are followed.

    Raises:
        DataError: No image, or a layout that says neither target nor attributes.
    """
    if (found := features_layout(folder, table)) is not None:
        return found
    # from the most specific layout to the least: each says more of the data than the next
    if table is None:
        for look in (_waterbirds, _celeba, _metadata):
            if (found := look(folder)) is not None:
                return found
    _refuse_boxes(folder)
    found_images = find_images(folder, follow=follow, most=MOST_FILES)
    images = found_images.images
    if not images:
        return shards_layout(folder, image) if may_be_shards(folder) else _tables(folder)
    if table is None and (parts := split_tables(folder)) is not None and (found := _parts(folder, images, parts)):
        return found
    if table is None and looks_like_faces(images):
        return _faces(folder)
    levels = read_levels(images)
    levels = replace(levels, notes=(*levels.notes, *found_images.note(folder, "--follow-links FOLDER")))
    if levels.classes is not None:
        return _class_folders(folder, images, levels, table)
    sidecars, passed = find_sidecars(folder, images, table)
    return _listed(folder, images, replace(levels, notes=(*levels.notes, *passed)), sidecars)


def _refuse_boxes(folder: Path) -> None:
    """An error for annotations of boxes and captions: they have several objects per image, and no attributes."""
    coco = [
        path for where in ("", "annotations/") for pattern in _COCO for path in sorted(folder.glob(where + pattern))
    ]
    if coco:
        raise DataError(
            f"{coco[0]}: COCO annotations (boxes, masks or captions, several per image) are not read; write a CSV with "
            "one row per image: its path, a target and its attributes"
        )


def _tables(folder: Path) -> Layout:
    """A folder of tables without images: those of a split, or a single one."""
    parts = split_tables(folder)
    if parts is not None:
        refuse_nested(parts.table)
        unread = arrays_beside(folder, {stop - start for start, stop, _ in parts.places})
        layout = _with_keyed(parts, folder)
        return replace(
            layout,
            what=f"tables of a split ({first_rows([file.name for file in parts.files])})",
            split=(parts.column, parts.roles),
            notes=(*parts.notes, *layout.notes, *unread),
        )
    tables = tables_in(folder) or tables_in(folder / "data")
    arrays = sorted(path.name for ending in (".npy", ".npz", ".safetensors") for path in folder.glob(f"*{ending}"))
    if arrays:
        raise DataError(f"{folder}: no image below it, and arrays; name the file of embeddings: {first_rows(arrays)}")
    if len(tables) > 1 and len(numbered_parts(tables[0])) == len(tables) - 1:
        # joined to one file they would hold no more than one alone does
        refuse_nested(read_table(tables[0]))
        raise DataError(
            f"{folder}: {len(tables)} tables that may be parts of one by their names ({tables[0].name}, …); write them "
            "to one file, since one of them alone holds a part of the rows"
        )
    if tables:
        listed = first_rows([path.name for path in tables])
        raise DataError(
            f"{folder}: no image below it, and tables ({listed}) that are no train and test; name one of them"
        )
    list_images(folder)  # an error that says what is there, or behind which links
    raise DataError(f"{folder}: too many files to look through; name a manifest instead")


def _parts(folder: Path, images: Sequence[str], parts: SplitTables) -> Layout | None:
    """A manifest for each split, as one; None where they name none of the images."""
    beside = _with_keyed(parts, folder)
    # tables in split folders name images below these
    columns, n_found, hows, column = [], 0, set(), None
    for start, stop, place in parts.places:
        prefix = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        inner = [image.removeprefix(prefix) for image in images if image.startswith(prefix)]
        rows = parts.table.take(np.arange(start, stop))
        inner = _of_part(inner, str(rows.columns[parts.column][0]), rows)
        found = image_column(rows, inner) if column is None else (column, match_images(rows.columns[column], inner))
        if found is None:
            return None
        column, match = found
        old = rows.columns[column]
        columns += [v if image is None else prefix + image for v, image in zip(old, match.images, strict=True)]
        n_found += match.n
        hows |= {match.how} if match.how else set()
    if column is None or not n_found:
        return None
    notes = [*parts.notes, *(f"{column} is read {how}" for how in sorted(hows)), *beside.notes]
    named = set(columns)
    without = [image for image in images if image not in named]
    notes += [f"{len(without)} image(s) without a row, left out: {first_rows(without)}"] if without else []
    return Layout(
        what=f"manifests of a split ({first_rows([file.relative_to(folder).as_posix() for file in parts.files])})",
        source="manifest",
        table=beside.table.with_columns({column: texts(columns)}),
        root=folder,
        path=column,
        split=(parts.column, parts.roles),
        notes=tuple(notes),
    )


def _with_keyed(parts: SplitTables, folder: Path) -> Layout:
    """The tables of a split, with columns of tables there that share an id: train.csv of ids beside labels.csv."""
    layout = Layout(what="tables of a split", source="table", table=parts.table)
    return join_by_key(layout, [file for file in tables_in(folder) if file not in parts.files])


def _of_part(images: list[str], part: str, rows: Table) -> list[str]:
    """The images in folders called as this split is, where most of its rows name one of them; else all.

    train/1.png and test/1.png are two images, of which train.csv means the first.
    """
    role = {"train": 0, "validation": 1, "test": 2}.get(part)
    own = [image for image in images if "/" in image and role_of_name(image.partition("/")[0]) == role]
    found = image_column(rows, own) if own else None
    return images if found is None or 2 * found[1].n < len(rows) else own


def _waterbirds(folder: Path) -> Layout | None:
    path = folder / "metadata.csv"
    if not path.is_file():
        return None
    table = read_table(path)
    if not set(METADATA_COLUMNS) <= set(table.columns):
        return None
    return Layout(
        what="Waterbirds as group_DRO lays it out (metadata.csv)",
        source="manifest",
        table=table,
        file=path,
        root=folder,
        path="img_filename",
        target="y",
        attributes=("place",),
        split=("split", ("0", "1", "2")),
        notes=(
            "y: 0 is a landbird, 1 a waterbird; place: 0 is land, 1 is water (`mibias data waterbirds` writes words)",
        ),
    )


def _celeba(folder: Path) -> Layout | None:
    found = find_celeba(folder)
    if ATTRIBUTES not in found or PARTITION not in found:
        return None
    columns, notes = read_celeba(folder)
    return Layout(
        what="CelebA (attributes and partition, joined by image id)",
        source="manifest",
        table=make_table(found[ATTRIBUTES], columns),
        root=folder,
        path="path",
        target="Blond_Hair" if "Blond_Hair" in columns else None,
        attributes=("Male",) if "Male" in columns else (),
        split=("split", ("train", "validation", "test")),
        notes=tuple(notes),
    )


def _faces(folder: Path) -> Layout:
    people = read_face_names(folder)
    columns = {
        "path": people.path,
        "sex": ["female" if female else "male" for female in people.female],
        "age": [str(age) for age in people.age],
        "age_bin": age_bins(people.age),
        **people.others,
    }
    left_out = f"{len(people.faults)} malformed name(s), left out: {first_rows(people.faults)}"
    return Layout(
        what="faces named age_sex_race_date, as in UTKFace",
        source="manifest",
        table=make_table(folder, columns),
        root=folder,
        path="path",
        target="sex",
        attributes=("age_bin",),
        notes=(
            *((left_out,) if people.faults else ()),
            "`mibias data faces` writes splits with extreme bias (young women and older men)",
        ),
    )


def _metadata(folder: Path) -> Layout | None:
    """Hugging Face's imagefolder: a metadata file with file_name, at the top or one in each split folder."""
    # a table at the top serves as it is; JSON lines, and one table per split folder, have to be merged
    at_top = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
    if at_top is not None and at_top.suffix != ".jsonl":
        table = read_table(at_top)
        if "file_name" not in table.columns:
            return None
        return Layout(
            what=f"a Hugging Face imagefolder ({at_top.name})",
            source="manifest", table=table, file=at_top, root=folder, path="file_name",
        )  # fmt: skip
    files = [at_top] if at_top is not None else [p for name in _METADATA for p in sorted(folder.glob(f"*/{name}"))]
    parts = [(file, read_table(file)) for file in files]
    if not parts or any("file_name" not in table.columns for _, table in parts):
        return None
    merged = _merged(folder, parts)
    words = split_words({value for value in merged["split"] if value}) if at_top is None else None
    return Layout(
        what=f"a Hugging Face imagefolder ({first_rows([str(f.relative_to(folder)) for f, _ in parts])})",
        source="manifest",
        table=replace(
            make_table(folder / parts[0][0].name, merged),
            nested={name: kind for _, table in parts for name, kind in table.nested.items()},
        ),
        root=folder,
        path="file_name",
        split=None if words is None else ("split", words),
    )


def _merged(folder: Path, parts: Sequence[tuple[Path, Table]]) -> dict[str, list[str | None]]:
    """The rows of all metadata files, paths below the folder, and the split by the folder that each lies in."""
    # columns of any of the files; where one lacks a column, its rows have no value
    names = list(dict.fromkeys(name for _, table in parts for name in table.columns))
    merged: dict[str, list[str | None]] = {name: [] for name in names}
    merged["split"] = []
    for file, table in parts:
        inner = file.parent.relative_to(folder)
        for name in names:
            values = list(table.columns.get(name, [None] * len(table)))
            # a row without a name keeps its place: those behind it have values of their own
            merged[name] += [v and str(inner / v) for v in values] if name == "file_name" else values
        merged["split"] += [inner.name or None] * len(table)
    if not any(merged["split"]):
        del merged["split"]
    return merged


def _class_folders(folder: Path, images: Sequence[str], levels: Levels, given: Path | None) -> Layout:
    assert levels.classes is not None
    depth, split = levels.classes, levels.roles
    parts = [PurePosixPath(image).parts for image in images]
    # a test set without labels has no class folders
    bare = [image for image, p in zip(images, parts, strict=True) if len(p) < depth + 2]
    notes = list(levels.notes)
    if bare:
        notes.append(f"{len(bare)} image(s) in no class folder, left out: {first_rows(bare)}")
        images = [image for image in images if image not in set(bare)]
        parts = [PurePosixPath(image).parts for image in images]
    usual = depth == (0 if split is None else 1) and not bare and levels.patients is None
    named = (CLASS_FOLDER, SPLIT_FOLDER) if usual else ("class", "split")
    columns: dict[str, Sequence[str | None]] = {"path": list(images), named[0]: [p[depth] for p in parts]}
    if split is not None and levels.split is not None:
        words = [p[levels.split] for p in parts]
        columns[named[1]], split = words, split_words(set(words))
    if levels.patients is not None:
        columns["patient"] = [p[levels.patients] for p in parts]
    layout = Layout(
        what=("split folders of " if split else "") + "class folders of images",
        source="imagefolder" if usual else "manifest",
        table=make_table(folder, columns),
        root=folder,
        path="path",
        target=named[0],
        split=None if split is None else (named[1], split),
        group=None if levels.patients is None else "patient",
        notes=tuple(notes),
    )
    sidecars, passed = find_sidecars(folder, images, given)
    layout = replace(layout, notes=(*notes, *passed))
    folders = {p[depth] for p in parts}
    if (own := _target_beside_codes(folders, sidecars)) is not None:
        what, codes = ("images and masks", None) if are_masks(folders) else ("codes", depth)
        note = f"{first_rows(sorted(folders), 3)}: folders of {what}, no classes: {own} is the target"
        levels = replace(levels, classes=None, patients=codes, notes=(*notes, note))
        return _listed(folder, images, levels, sidecars)
    if sidecars:
        return join_sidecars(layout, sidecars)
    return _with_derived(layout, parts, depth + 1 if levels.split != depth + 1 else depth + 2)


def _target_beside_codes(folders: Set[str], sidecars: Sequence[Sidecar]) -> str | None:
    """The column that a table calls target, beside images and masks, or folders like p001 of which it has fewer."""
    stems = {re.sub(r"\d+$", "", name) for name in folders}
    masks = are_masks(folders)
    alike = len(folders) > _FEW_CODES and len(stems) == 1 and not folders & stems
    if not masks and (not alike or _CLASS_WORDS & set(name_words(*stems))):
        return None
    for sidecar in sidecars:
        found = guess_target([look_at(sidecar.table, name) for name in sidecar.table.columns], [sidecar.path])
        fewer = found is not None and (masks or len({*sidecar.table.columns[found[0]]}) < len(folders))
        if found is not None and found[1] == "by its name" and fewer:
            return f"{found[0]} of {sidecar.file.name}"
    return None


def _with_derived(layout: Layout, parts: Sequence[tuple[str, ...]], inner: int) -> Layout:
    """Attributes from the paths alone: a folder below the class folder (at depth `inner`), or how file names begin."""
    n = len(parts)
    derived: dict[str, list[str | None]] = {
        SUBFOLDER: [p[inner] if len(p) > inner + 1 else None for p in parts],
        "name_prefix": [p[-1].partition("_")[0].partition("-")[0] if {"_", "-"} & set(p[-1]) else None for p in parts],
    }
    # a few values with several images each, and no numbers, which would be running numbers
    kept = {}
    for name, values in derived.items():
        kinds = {v for v in values if v}
        if 2 <= len(kinds) <= min(MOST_CLASSES, n // 2) and not any(v.isdecimal() for v in kinds):
            kept[name] = texts(values)
    return replace(layout, table=layout.table.with_columns(kept), attributes=tuple(kept)[:1])


def _listed(folder: Path, images: Sequence[str], levels: Levels, found: Sequence[Sidecar]) -> Layout:
    """A folder of images beside a table that lists them."""
    if not found:
        why = f" ({'; '.join(levels.notes)})" if levels.notes else ""
        raise DataError(
            f"{folder}: {len(images)} images ({first_rows(list(images), 3)}), but nothing says what is on them: they "
            f"lie in no class folders{why}, and no table lists them; name one with --table FILE, or pass the table "
            "itself"
        )
    columns: dict[str, Sequence[str | None]] = {"path": images}
    split = levels.roles
    parts = [PurePosixPath(image).parts for image in images]
    looks = [[look_at(x.table, name) for name in x.table.columns] for x in found]
    if split is not None and levels.split is not None and not any(map(guess_split, looks)):
        columns["split_folder"] = [p[levels.split] for p in parts]
    # patients that a table or a part of the path names come first
    depth = None if any(map(group_columns, looks)) or path_groups(images) is not None else levels.patients
    if depth is not None:
        columns["patient_folder"] = [p[depth] if len(p) > depth + 1 else None for p in parts]
    layout = Layout(
        what="a folder of images",
        source="manifest",
        table=make_table(folder, columns),
        root=folder,
        path="path",
        split=None if split is None or "split_folder" not in columns else ("split_folder", split),
        group=None if depth is None else "patient_folder",
        notes=levels.notes,
    )
    return join_sidecars(layout, found)
