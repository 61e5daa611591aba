"""CelebA's own files (attributes, partition, identities), joined by image id, never by row order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import (
    Table,
    first_rows,
    in_words,
    read_table,
    refuse_repeats,
    require_columns,
    texts,
)
from mibias_cli.errors import DataError

__all__ = ["ATTRIBUTES", "PARTITION", "find_celeba", "read_celeba"]

ATTRIBUTES, PARTITION, IDENTITY = "list_attr_celeba", "list_eval_partition", "identity_CelebA"
_SUFFIXES = (".csv", ".txt")
_WORDS = {"-1": "no", "0": "no", "1": "yes"}
_PARTS = {"0": "train", "1": "validation", "2": "test"}
_FOLDERS = ("", "Anno", "Eval", "Img", "celebA", "data")
_IMAGE_FOLDERS = ("img_align_celeba", "img_align_celeba/img_align_celeba", "Img/img_align_celeba", "img_celeba", ".")


def find_celeba(folder: Path) -> dict[str, Path]:
    """CelebA's tables below a folder by their names without a suffix, as .csv or .txt; the images under `images`."""
    # the places of the official download, of Kaggle's and of torchvision's
    found = {}
    for name in (ATTRIBUTES, PARTITION, IDENTITY):
        places = (folder / inner / f"{name}{suffix}" for inner in _FOLDERS for suffix in _SUFFIXES)
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[name] = path
    # a folder counts as the images' only if there are images in it
    roots = (folder / inner / images for inner in _FOLDERS for images in _IMAGE_FOLDERS)
    images = next((root for root in roots if root.is_dir() and any(root.glob("*.jpg"))), None)
    return found | ({"images": images} if images is not None else {})


def read_celeba(folder: Path, attributes: Sequence[str] | None = None) -> tuple[dict[str, list[str]], list[str]]:
    """Columns of a manifest (path, attributes, or all, as yes and no, identity if it is there, split), and notes.

    Raises:
        DataError: Files or columns are missing, an image id occurs twice, values are not what CelebA has, or no image
            has both a row of attributes and a partition.
    """
    found = find_celeba(folder)
    missing = [f"{name}.csv" for name in (ATTRIBUTES, PARTITION) if name not in found]
    missing += [] if "images" in found else ["img_align_celeba/ with .jpg files"]
    if missing:
        raise DataError(f"{folder}: no {' and no '.join(missing)} in it; it should hold CelebA as it is distributed")
    table = _read(found[ATTRIBUTES])
    names = list(attributes) if attributes is not None else [n for n in table.columns if n != _id_column(table)]
    require_columns(table, {f"--column {name}": name for name in names})
    refuse_repeats(table, _id_column(table))
    ids = table.columns[_id_column(table)]
    # joined by image id: the three files need not list images in one order
    part_of = _lookup(found[PARTITION], "partition")
    identity_of = _lookup(found[IDENTITY], "identity") if IDENTITY in found else None
    present = {path.name for path in found["images"].iterdir()}
    lacks = {
        "have no partition": [i for i in ids if i not in part_of],
        "have no identity": [i for i in ids if identity_of is not None and i not in identity_of],
        f"have no file in {found['images']}": [i for i in ids if i not in present],
    }
    notes = [f"{len(of)} image(s) {what}, left out: {first_rows(of)}" for what, of in lacks.items() if of]
    if extra := sorted(set(part_of) - set(ids)):
        notes.append(f"{len(extra)} image(s) of {found[PARTITION].name} have no attributes: {first_rows(extra)}")
    left_out = {i for of in lacks.values() for i in of}
    kept = table.take(np.array([i not in left_out for i in ids], dtype=bool))
    if not len(kept):
        raise DataError(f"{folder}: no image is left: {'; '.join(notes)}")
    ids = kept.columns[_id_column(table)]
    root = found["images"].relative_to(folder)
    columns = {"path": [(root / i).as_posix() for i in ids]}
    columns |= {name: in_words(kept, name, _WORDS) for name in names}
    if identity_of is not None:
        columns["identity"] = [identity_of[i] for i in ids]
    parts = {found[PARTITION].name: texts([part_of[i] for i in ids])}
    columns["split"] = in_words(kept.with_columns(parts), found[PARTITION].name, _PARTS)
    return columns, notes


def _read(path: Path) -> Table:
    """A .csv with a header, or CelebA's .txt: a count, names, then one line per image; or lines of two values."""
    if path.suffix == ".csv":
        return read_table(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    # list_attr_celeba.txt begins with the number of images, then the names of the attributes
    if records and len(records[0][1]) == 1:
        header, records = ["image_id", *records[1][1]], records[2:]
    else:
        header = ["image_id", path.stem]
    if not records:
        raise DataError(f"{path}: holds no line")
    ragged = [number for number, record in records if len(record) != len(header)]
    if ragged:
        raise DataError(f"{path}: {len(ragged)} line(s) do not have {len(header)} values: lines {first_rows(ragged)}")
    columns = {name: texts([record[k] for _, record in records]) for k, name in enumerate(header)}
    return Table(path=path, columns=columns, row_numbers=np.array([number for number, _ in records]))


def _id_column(table: Table) -> str:
    return "image_id" if "image_id" in table.columns else next(iter(table.columns))


def _lookup(path: Path, what: str) -> dict[str, str]:
    """The second column of a table by image id."""
    table = _read(path)
    ids = _id_column(table)
    others = [name for name in table.columns if name != ids]
    column = what if what in others else next(iter(others), what)
    require_columns(table, {what: column})
    refuse_repeats(table, ids)
    pairs = zip(table.columns[ids], table.columns[column], strict=True)
    return {i: value for i, value in pairs if i is not None and value is not None}
