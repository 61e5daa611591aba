"""CelebA's own files (attributes, partition, identities), joined by image id, never by row order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import Table, first_rows, read_table, require_columns
from mibias_cli.errors import DataError

__all__ = ["celeba_columns", "find_celeba", "read_celeba"]

ATTRIBUTES, PARTITION, IDENTITY = "list_attr_celeba", "list_eval_partition", "identity_CelebA"
_SUFFIXES = (".csv", ".txt")
_WORDS = {"-1": "no", "0": "no", "1": "yes"}
_PARTS = {"0": "train", "1": "validation", "2": "test"}
_FOLDERS = ("", "Anno", "Eval", "Img", "celebA", "data")
_IMAGE_FOLDERS = ("img_align_celeba", "img_align_celeba/img_align_celeba", "Img/img_align_celeba", "img_celeba", ".")


def find_celeba(folder: Path) -> dict[str, Path]:
    """CelebA's tables below a folder by their names without a suffix, as .csv or .txt; the images under `images`."""
    found = {}
    for name in (ATTRIBUTES, PARTITION, IDENTITY):
        places = (folder / inner / f"{name}{suffix}" for inner in _FOLDERS for suffix in _SUFFIXES)
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[name] = path
    roots = (folder / inner / images for inner in _FOLDERS for images in _IMAGE_FOLDERS)
    images = next((root for root in roots if root.is_dir() and any(root.glob("*.jpg"))), None)
    return found | ({"images": images} if images is not None else {})


def celeba_columns(path: Path) -> tuple[str, ...]:
    """Names of the attributes of CelebA's attribute table."""
    table = _read(path, "image_id")
    return tuple(name for name in table.columns if name != _id_column(table))


def read_celeba(folder: Path, attributes: Sequence[str] | None = None) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of a manifest (path, attributes as yes and no, identity where it is there, split), and notes.

    Args:
        folder: Holds list_attr_celeba and list_eval_partition (.csv, or CelebA's own .txt), and the images.
        attributes: Which of the 40; None: all.

    Raises:
        DataError: Files or columns are missing, an image id occurs twice, values are not what CelebA has, or no image
            has both a row of attributes and a partition.
    """
    found = find_celeba(folder)
    missing = [f"{name}.csv" for name in (ATTRIBUTES, PARTITION) if name not in found]
    missing += [] if "images" in found else ["img_align_celeba/ with .jpg files"]
    if missing:
        raise DataError(f"{folder}: no {' and no '.join(missing)} in it; it should hold CelebA as it is distributed")
    table = _read(found[ATTRIBUTES], "image_id")
    ids = table.columns[_id_column(table)]
    names = list(attributes) if attributes is not None else [n for n in table.columns if n != _id_column(table)]
    require_columns(table, {f"--column {name}": name for name in names})
    _refuse_repeats(table, ids)
    part_of = _lookup(found[PARTITION], "partition")
    identity_of = _lookup(found[IDENTITY], "identity") if IDENTITY in found else None
    present = {path.name for path in found["images"].iterdir()}
    lacks = {
        "have no partition": [i for i in ids if i not in part_of],
        "have no identity": [i for i in ids if identity_of is not None and i not in identity_of],
        f"have no file in {found['images']}": [i for i in ids if i not in present],
    }
    notes = [f"{len(of)} image(s) {what}, left out: {first_rows(of)}" for what, of in lacks.items() if of]
    extra = sorted(set(part_of) - set(ids))
    notes += (
        [f"{len(extra)} image(s) of {found[PARTITION].name} have no attributes: {first_rows(extra)}"] if extra else []
    )
    left_out = {i for of in lacks.values() for i in of}
    rows = np.array([row for row, i in enumerate(ids) if i not in left_out], dtype=np.int64)
    if not len(rows):
        raise DataError(f"{folder}: no image is left: {'; '.join(notes)}")
    root = found["images"].relative_to(folder).as_posix()
    columns = {"path": [i if root == "." else f"{root}/{i}" for i in ids[rows]]}
    columns |= {name: _translated(table.take(rows), name, table.columns[name][rows], _WORDS) for name in names}
    if identity_of is not None:
        columns["identity"] = [identity_of[i] for i in ids[rows]]
    parts = np.array([part_of[i] for i in ids[rows]], dtype=object)
    columns["split"] = _translated(table.take(rows), found[PARTITION].name, parts, _PARTS)
    return columns, notes


def _read(path: Path, first: str) -> Table:
    """A .csv with a header, or CelebA's .txt: a count, names, then one line per image; or lines of two values."""
    if path.suffix == ".csv":
        return read_table(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    if records and len(records[0][1]) == 1:  # the count
        header, records = [first, *records[1][1]], records[2:]
    else:
        header = [first, path.stem]
    ragged = [number for number, record in records if len(record) != len(header)]
    if ragged or not records:
        raise DataError(
            f"{path}: {len(ragged)} line(s) do not have {len(header)} values: lines {first_rows(ragged)}"
            if ragged
            else f"{path}: holds no line"
        )
    columns = {}
    for k, name in enumerate(header):
        columns[name] = np.array([record[k] for _, record in records], dtype=object)
    return Table(path=path, columns=columns, row_numbers=np.array([number for number, _ in records]))


def _id_column(table: Table) -> str:
    return "image_id" if "image_id" in table.columns else next(iter(table.columns))


def _lookup(path: Path, what: str) -> dict[str, str]:
    """The second column of a table by image id."""
    table = _read(path, "image_id")
    others = [name for name in table.columns if name != _id_column(table)]
    column = what if what in others else others[0] if others else what
    require_columns(table, {what: column})
    ids = table.columns[_id_column(table)]
    _refuse_repeats(table, ids)
    return {
        i: value for i, value in zip(ids, table.columns[column], strict=True) if i is not None and value is not None
    }


def _refuse_repeats(table: Table, ids: np.ndarray) -> None:
    repeated = [str(i) for i, n in Counter(ids).items() if n > 1]
    if repeated:
        raise DataError(f"{table.path}: {len(repeated)} image id(s) occur more than once: {first_rows(repeated)}")


def _translated(table: Table, what: str, values: np.ndarray, words: dict[str, str]) -> list[str]:
    wrong = [f"row {n} ({v!r})" for n, v in zip(table.row_numbers, values, strict=True) if v not in words]
    if wrong:
        allowed = ", ".join(words)
        raise DataError(f"{table.path}: {len(wrong)} value(s) of {what} are none of {allowed}: {first_rows(wrong)}")
    return [words[v] for v in values]
