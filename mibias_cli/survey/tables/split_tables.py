"""A split given by files: a table for each part (train.csv, test.csv), or lists of names (train_val_list.txt)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mibias_cli.data.columns import name_words
from mibias_cli.data.files.tabular import Table, first_rows, read_table, texts
from mibias_cli.errors import DataError
from mibias_cli.survey.splits import Roles, role_of_name, split_words
from mibias_cli.survey.tables.matching import match_images

__all__ = [
    "SCAN", "SCANNED", "ListedSplit", "SplitTables", "has_image_properties", "listed_split", "numbered_parts",
    "other_parts", "split_tables", "tables_in", "unread_lists",
]  # fmt: skip

SCAN, SCANNED = "scan.json", "attributes.csv"
"""What `mibias scan --out` writes: its findings, and a manifest with image properties as columns."""
_PATTERNS = ("*.csv", "*.tsv", "*.csv.gz", "*.parquet", "*.feather", "*.arrow", "*.jsonl")
_MOST_TABLES = 20
_MOST_LISTS = 20
_SPLIT_WORDS = {"split", "splits", "partition", "partitions"}
_LIST_FOLDERS = {*_SPLIT_WORDS, "list", "lists", "set", "sets", "meta", "annotations"}
"""Folders of lists: splits, ImageSets, Food-101's meta."""
_LIST_ENDINGS = {".txt", ".lst", ".list", ".json", ".yaml", ".yml", ".mat", ".pkl", ".pickle", ".pt"}


@dataclass(frozen=True, kw_only=True)
class SplitTables:
    """Tables of one data set, a file or several for each split.

    Args:
        table: All rows, with a column that names the split.
        column, roles: That column, and its values for train, validation and audit.
        files: The tables' files.
        places: First row, last row + 1 and folder of each.
        notes: What was left out.
    """

    table: Table
    column: str
    roles: Roles
    files: tuple[Path, ...]
    places: tuple[tuple[int, int, Path], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ListedSplit:
    """What text files say of the split of some images.

    Args:
        values: The split (n,) of each row, None where no list has it.
        roles: Its values for train, validation and audit; None where too few rows are listed, or for one split alone.
        files: The lists, in words.
    """

    values: np.ndarray
    roles: Roles | None
    files: str


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, sorted by name within each kind; at most 20.

    Manifests that were written for a recipe, or by a scan, are none: images may have changed since.
    """
    found = [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    return [path for path in found if not _is_made(path)][:_MOST_TABLES]


def _is_made(path: Path) -> bool:
    stem = path.name.removesuffix("_manifest.csv")
    if path.name == SCANNED:
        with suppress(OSError, ValueError, RecursionError):
            return has_image_properties(json.loads(path.with_name(SCAN).read_text(encoding="utf-8")))
    return stem != path.name and path.with_name(f"{stem}.yaml").is_file()


def has_image_properties(found: object) -> bool:
    """Whether a scan's JSON names image properties, for which it wrote a manifest (`SCANNED`)."""
    shortcuts = found.get("shortcuts") if isinstance(found, dict) else None
    return isinstance(shortcuts, list) and any(isinstance(k, dict) and k.get("kind") == "image" for k in shortcuts)


def split_tables(folder: Path) -> SplitTables | None:
    """Tables in a folder (or its `data`) whose names mean train and validation or test, as one table; or None.

    A single table in each split folder does as well.

    A table without all columns of those of training (as test sets without labels are) is left out, with a note.
    """
    for place in (folder, folder / "data"):
        named = [(file, _part(file)) for file in tables_in(place) if role_of_name(_part(file)) is not None]
        if split_words({part for _, part in named}) is not None:
            return _merged(place, named)
    inner = [(child, tables_in(child)) for child in sorted(folder.iterdir()) if child.is_dir()]
    named = [(tables[0], child.name) for child, tables in inner if len(tables) == 1]
    named = [(file, name) for file, name in named if role_of_name(name) is not None]
    return _merged(folder, named) if split_words({name for _, name in named}) is not None else None


def _part(file: Path) -> str:
    return file.name.partition(".")[0] if role_of_name(file.name.partition(".")[0]) is not None else file.name


def _merged(folder: Path, named: Sequence[tuple[Path, str]]) -> SplitTables | None:
    read = [(file, role_of_name(part) or 0, read_table(file)) for file, part in named]
    # what training has is what is needed; of dev and test, dev trains
    _, _, first = min(read, key=lambda item: item[1])
    names = list(first.columns)
    notes, kept = [], list[tuple[Path, int, Table]]()
    for file, role, table in read:
        lacking = [name for name in names if name not in table.columns]
        if lacking:
            notes.append(f"{file.name} has no column {first_rows(lacking)}; it is left out")
        else:
            kept.append((file, role, table))
    # the parts by what they are, since a split may have several files
    usual = ("train", "validation", "test")
    lowest = min(role for _, role, _ in kept)
    values = ["train" if role == lowest else usual[role] for _, role, table in kept for _ in range(len(table))]
    roles = split_words(set(values))
    if roles is None:
        return None
    ends = np.cumsum([len(table) for _, _, table in kept]).tolist()
    places = tuple((end - len(t), end, file.parent) for end, (file, _, t) in zip(ends, kept, strict=True))
    dropped = sorted({name for _, _, table in kept for name in table.columns} - set(names))
    notes += [f"column(s) {first_rows(dropped)} are not in all of the tables; left out"] if dropped else []
    columns = {name: texts([v for _, _, table in kept for v in table.columns[name]]) for name in names}
    _refuse_folds(folder, [(file, role == lowest) for file, role, _ in kept], columns, np.array(values) == "train")
    column = "split" if "split" not in columns else "split_file"
    columns[column] = texts(values)
    notes += [note for _, _, table in kept for note in table.notes]
    nested = {name: kind for _, _, table in kept for name, kind in table.nested.items()}
    table = Table(path=folder, columns=columns, row_numbers=np.arange(1, len(values) + 1), nested=nested)
    return SplitTables(
        table=table,
        column=column,
        roles=roles,
        files=tuple(file for file, _, _ in kept),
        places=places,
        notes=tuple(notes),
    )


def _refuse_folds(
    folder: Path, files: Sequence[tuple[Path, bool]], columns: Mapping[str, np.ndarray], trains: np.ndarray
) -> None:
    """An error where several files of training hold most rows of several others, as those of folds do.

    Args:
        folder: For the error.
        files: Each file, and whether it trains.
        columns: Of all files, one behind the other.
        trains: A mask (n,) of the rows of training.
    """
    training, others = ([file.name for file, of in files if of == trains_it] for trains_it in (True, False))
    if min(len(training), len(others)) < 2:
        return
    rows = np.array([hash(row) for row in zip(*columns.values(), strict=True)])
    held_out = np.unique(rows[~trains])
    shared = int(np.isin(held_out, rows[trains]).sum())
    # rows of a few categories are alike by chance
    if 2 * len(held_out) > (~trains).sum() and 2 * shared > len(held_out):
        raise DataError(
            f"{folder}: {shared} of {len(held_out)} rows of {first_rows(others)} are in {first_rows(training)} too, as "
            "in folds, so they would be trained on and audited; put the files of one fold in a folder, and name that"
        )


def numbered_parts(file: Path) -> list[str]:
    """The files beside one that are called as it is but for a number (part-00000, part-00001); sorted."""
    name = re.sub(r"\d+", "#", file.name)
    if name == file.name:
        return []
    beside = file.parent.glob(f"*{file.suffix}")
    return sorted(other.name for other in beside if other != file and re.sub(r"\d+", "#", other.name) == name)


def other_parts(file: Path, table: Table) -> list[str]:
    """Tables beside one of training that have its columns and are called validation or test."""
    if role_of_name(file.name) is None:
        return []
    found = []
    for other in tables_in(file.parent):
        if other != file and role_of_name(other.name) not in (None, role_of_name(file.name)):
            try:
                if set(table.columns) <= set(read_table(other).columns):
                    found.append(other.name)
            except DataError:
                continue  # some other file
    return found


def listed_split(folder: Path, names: np.ndarray) -> ListedSplit | None:
    """The split of rows by text files that list names of images (train_val_list.txt, splits/test.txt); or None.

    A line is a path, or begins with one; it may be the end of an image's path, and lack its suffix.
    """
    lists = [file for place in _list_places(folder) for file in sorted(place.glob("*.txt")) if file.is_file()]
    paths = ["" if v is None else str(v).replace("\\", "/") for v in names]
    images = [path for path in dict.fromkeys(paths) if path]
    role_of: dict[str, int] = {}
    used = []
    for file in [file for file in lists if role_of_name(file.stem) is not None][:_MOST_LISTS]:
        found = _images_in(file, images)
        if found:
            used.append(file.relative_to(folder).as_posix())
        for image in found:
            # a name in two lists is what is never trained on
            role_of[image] = max(role_of.get(image, 0), role_of_name(file.stem) or 0)
    if not used:
        return None
    usual = ("train", "validation", "test")
    values = texts([usual[role_of[path]] if path in role_of else None for path in paths])
    roles = split_words({usual[role] for role in role_of.values()})
    enough = 2 * sum(v is not None for v in values) >= len(values)
    return ListedSplit(values=values, roles=roles if enough else None, files=first_rows(used))


def _list_places(folder: Path) -> list[Path]:
    inner = [child for child in sorted(folder.iterdir()) if set(name_words(child.name)) & _LIST_FOLDERS]
    return [folder, *(child for child in inner if child.is_dir())]


def unread_lists(folder: Path) -> list[str]:
    """Files below a folder, but no tables, that may list a split by their names: splits.json, train_test_split.txt."""
    files = [file for place in _list_places(folder) for file in sorted(place.iterdir())]
    return [
        file.relative_to(folder).as_posix()
        for file in files
        if file.suffix.lower() in _LIST_ENDINGS
        and (role_of_name(file.stem) is not None or _SPLIT_WORDS & set(name_words(file.stem)))
    ]


def _images_in(file: Path, images: Sequence[str]) -> set[str]:
    """The images that the lines of a text file name, all lines read in the one way that finds most."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    best: set[str] = set()
    # a name may have blanks in it, and what follows it may be a label
    for written in (".+", r"[^,;\t]+", r"\S+"):
        first = [match[0] if (match := re.match(written, line)) else line for line in lines]
        found = {image for image in match_images(texts(first), images).images if image is not None}
        best = max(best, found, key=len)
        if len(best) >= len(lines):
            break
    return best
