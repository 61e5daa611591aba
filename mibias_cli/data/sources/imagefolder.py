"""Class folders of images with a sidecar table of their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.annotations import annotate
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.folders import FoundImages, find_images
from mibias_cli.data.files.images import without_unreadable
from mibias_cli.data.files.refused import DICOM, DICOM_REMEDY
from mibias_cli.data.files.tabular import AS_USUAL, Reading, Table, first_rows, read_table, require_columns, texts
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.data.inputs import IDENTITY, Transforms
from mibias_cli.data.sources.manifest import OnBadSample, image_data
from mibias_cli.errors import DataError

__all__ = ["CLASS_FOLDER", "SPLIT_FOLDER", "list_images", "load_imagefolder"]

CLASS_FOLDER, SPLIT_FOLDER = "(class folder)", "(split folder)"
"""Columns made of an image's folders, under names that no table has."""


def load_imagefolder(
    root: Path,
    *,
    sidecar: Path,
    follow_links: Path | None = None,
    on_bad_sample: OnBadSample = "error",
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    transforms: Transforms = IDENTITY,
    reading: Reading = AS_USUAL,
    seed: int = 0,
) -> BiasedData:
    """Images in class folders (root/class/…), or in split folders that hold class folders (root/train/class/…).

    The folder is the target, unless `columns` asks for labels or numbers of the sidecar, or for no target. Sidecar rows
    are joined to images by path below the root, never by their order. An image without a row is an error; rows without
    an image are left out, with a note.

    Args:
        sidecar: CSV or Parquet with a path column and the attributes.
        follow_links: Links to files and folders below this folder are followed, though it is not below the root.
        on_bad_sample: Whether images that cannot be read are an error when they are met, or left out (`skip`).
        columns: Names of the sidecar's columns; `split` is asked for only where there are no split folders.
        splits: Names of the split folders, or which rows train, validate and are audited.
        attributes, transforms, reading, seed: As for `load_manifest`.

    Raises:
        DataError: No images, images without a row, rows that repeat, or as for a manifest.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the folder with the class folders")
    found = list_images(root, follow_links)
    images = found.images
    in_split_folders = _has_split_folders(root, splits)
    table = read_table(sidecar, reading=reading)
    require_columns(table, {"data.columns.path": columns.path})
    joined, notes = _join(table, columns.path, images, root)
    depth = 1 if in_split_folders else 0
    parts = [PurePosixPath(image).parts for image in images]
    shallow = [image for image, p in zip(images, parts, strict=True) if len(p) < depth + 2]
    if shallow:
        layout = "split/class/image" if in_split_folders else "class/image"
        raise DataError(f"{root}: {len(shallow)} image(s) are not at {layout}: {first_rows(shallow)}; move them")
    # the folders as columns, so that from here on the data are a manifest's
    extra = {CLASS_FOLDER: texts([p[depth] for p in parts])}
    if isinstance(columns.target, str) and columns.target_kind in (None, "classes"):
        columns = replace(columns, target=CLASS_FOLDER)
    if in_split_folders:
        extra[SPLIT_FOLDER] = texts([p[0] for p in parts])
        columns = replace(columns, split=SPLIT_FOLDER)
    joined = joined.with_columns(extra)
    if on_bad_sample == "skip":
        joined, left_out = without_unreadable(joined, columns.path, root, follow_links)
        notes += left_out
    annotations = annotate(joined, columns=columns, attributes=attributes, splits=splits, seed=seed)
    rules = ImageRules(path=columns.path, reading=reading)
    notes += found.note(root, "data.follow_links")
    return image_data(annotations, rules, root, transforms, seed, notes, follow_links)


def list_images(root: Path, follow: Path | None = None) -> FoundImages:
    """All images below the root, and the links that are not followed (`find_images`).

    Raises:
        DataError: There is none.
    """
    found = find_images(root, follow=follow)
    if not found.images:
        if found.left_links:
            raise DataError(f"{root}: no image but behind links: {'; '.join(found.note(root, 'data.follow_links'))}")
        if any(path.suffix.lower() in DICOM for path in root.rglob("*")):
            raise DataError(f"{root}: holds DICOM images, which are not read; {DICOM_REMEDY}")
        raise DataError(f"{root}: no image below it; it should hold images, for training in one folder per class")
    return found


def _has_split_folders(root: Path, splits: SplitRule) -> bool:
    """Whether the folders for training and audit exist and hold folders themselves."""
    folders = [root / splits.train, root / splits.audit]
    return all(folder.is_dir() and any(child.is_dir() for child in folder.iterdir()) for folder in folders)


def _join(table: Table, column: str, images: list[str], root: Path) -> tuple[Table, list[str]]:
    """The sidecar's rows in the order of the images, its path column replaced by theirs."""
    # by path, never by order: a sidecar that was sorted otherwise would label every image wrongly
    row_of: dict[str, int] = {}
    repeated: list[str] = []
    for row, value in enumerate(table.columns[column]):
        key = _normalised(value, root)
        if key in row_of:
            repeated.append(f"row {table.row_numbers[row]} ({value})")
        row_of.setdefault(key, row)
    if repeated:
        raise DataError(f"{table.path}: {len(repeated)} row(s) name an image a second time: {first_rows(repeated)}")
    # an image without a row is an error: leaving it out without a word might leave out a whole group
    without_row = [image for image in images if image not in row_of]
    if without_row:
        example = next(iter(row_of))
        raise DataError(
            f"{table.path}: {len(without_row)} of {len(images)} images below {root} have no row: "
            f"{first_rows(without_row)}; {column!r} must hold paths below the root (it has {example!r}); "
            "give each image a row, with empty cells where an attribute is not known"
        )
    # the other way round it is no error: sidecars are often of a larger data set
    present = set(images)
    unused = [f"row {table.row_numbers[row]} ({key})" for key, row in row_of.items() if key not in present]
    notes = [f"{table.path}: {len(unused)} row(s) left out, whose image is not below {root}: {first_rows(unused)}"]
    joined = table.take(np.array([row_of[image] for image in images], dtype=np.int64))
    return joined.with_columns({column: texts(images)}), notes if unused else []


def _normalised(value: str | None, root: Path) -> str:
    """A sidecar's path in the form of `list_images`: forward slashes, no leading `./`, below the root."""
    text = (value or "").replace("\\", "/")
    path = PurePosixPath(text)
    if path.is_absolute() and path.is_relative_to(root.as_posix()):
        path = path.relative_to(root.as_posix())
    return path.as_posix()
