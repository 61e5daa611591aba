"""A split given by files: a table for each part (train.csv, test.csv), or lists of names (train_val_list.txt)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.files.tabular import Table, first_rows, read_table, texts
from mibias_cli.errors import DataError
from mibias_cli.survey.splits import Roles, role_of_name, split_words

__all__ = ["SplitTables", "listed_split", "numbered_parts", "other_parts", "split_tables", "tables_in"]

_PATTERNS = ("*.csv", "*.tsv", "*.csv.gz", "*.parquet", "*.feather", "*.arrow", "*.jsonl")
_MOST_TABLES = 20
_MOST_LISTS = 20


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


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, sorted by name within each kind; at most 20.

    Manifests that were written for a recipe are none: they may be those of other images.
    """
    found = [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    return [path for path in found if not _is_made(path)][:_MOST_TABLES]


def _is_made(path: Path) -> bool:
    stem = path.name.removesuffix("_manifest.csv")
    return stem != path.name and path.with_name(f"{stem}.yaml").is_file()


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
    notes, kept = [], []
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


def listed_split(folder: Path, names: np.ndarray) -> tuple[np.ndarray, Roles, str] | None:
    """The split (n,) of rows by text files that list names of images (train_val_list.txt, test_list.txt); or None.

    Returns:
        The split by row, None where no list has it; values for train, validation and audit; what was read, in words.
    """
    texts_in = [file for file in sorted(folder.glob("*.txt")) if file.is_file()]
    lists = [file for file in texts_in[:_MOST_LISTS] if role_of_name(file.stem) is not None]
    role_of: dict[str, str] = {}
    usual = ("train", "validation", "test")
    used = []
    keys = ["" if v is None else PurePosixPath(str(v).replace("\\", "/")).stem for v in names]
    wanted = set(keys)
    for file in lists:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        found = {PurePosixPath(line.split()[0]).stem for line in lines if line.strip()} & wanted
        if found:
            used.append(file.name)
        for key in found:
            # a name in two lists is what is never trained on
            role_of[key] = max(role_of.get(key, ""), usual[role_of_name(file.stem) or 0], key=("", *usual).index)
    values = texts([role_of.get(key) for key in keys])
    roles = split_words(set(role_of.values()))
    if roles is None or 2 * sum(v is not None for v in values) < len(values):
        return None
    return values, roles, ", ".join(used)
