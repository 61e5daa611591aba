"""Which rows belong together: columns of patients, lesions or videos by their names, and ids inside paths."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from pathlib import PurePosixPath

import numpy as np

from mibias_cli.data.columns import MOST_CLASSES, ColumnLook, look_at, misfits, name_words
from mibias_cli.data.files.tabular import Table, first_rows, texts
from mibias_cli.data.table_inputs import left_out

__all__ = [
    "group_columns",
    "group_note",
    "is_id_folder",
    "largest_group_note",
    "may_be_groups",
    "own_groups",
    "path_groups",
    "same_names",
]

_PEOPLE = (
    "patient", "subject", "participant", "person", "individual", "identity", "donor", "mrn", "pid", "animal", "family",
    "lesion", "patienten", "pat", "pt", "subj", "usubj", "eid", "rid", "mouse", "household",
)  # fmt: skip
_OTHERS = (
    "case", "video", "clip", "client", "customer", "user", "speaker", "writer", "author", "sequence", "seq", "slide",
    "study", "series", "exam", "encounter", "admission", "scene", "session", "recording", "group", "wsi",
    "studyinstance", "seriesinstance",
)  # fmt: skip
"""What groups are called, the widest first: where there are several, a patient has many studies. The second list means
groups only with an `id`, or with more values than classes have."""
_FILLERS = {
    "id", "ids", "no", "nr", "num", "number", "code", "key", "uid", "idx", "anon", "hash", "name", "guid", "uuid",
}  # fmt: skip
_IN_PATH = re.compile(
    r"(?<![a-z])((?:patient|pat|subject|subj|sub|person|participant|case|pid|pt|donor|lesion|identity|video|id|"
    r"volume|vol|wsi|slide|mouse)[ _-]?\d+|tcga-\w\w-\w{4}|p\d{5,}(?=/)|p\d{3,}(?=[_-]))",
    re.IGNORECASE,
)
"""patient00001, sub-01, person12, vol003, P012-…, TCGA's codes, MIMIC's folders p10000032."""
_CODE = re.compile(r"\S*\d\S*")
_FEWEST_GROUPS = 3
_MOSTLY = 0.8
_MOST_OF_ROWS, _TIMES = 0.1, 8


def group_columns(looks: Sequence[ColumnLook]) -> list[str]:
    """The columns that say which rows belong together, by a usual name and values that repeat, the widest first."""
    ranked = []
    for look in looks:
        # an id that no other row has makes no group
        if look.kind in ("path", "empty", "id") or look.n_values < _FEWEST_GROUPS:
            continue
        if (rank := _rank(look)) is not None:
            ranked.append((rank, look.name))
    return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]


def group_note(table: Table, taken: Set[str], path: str, role: np.ndarray) -> str | None:
    """What to know where no column of groups is named, and rows that seem to belong together are in two splits.

    Args:
        table: Rows in use.
        taken: Columns that have a role.
        path: The column of paths, if there is one.
        role: The split (n,) of each row.
    """
    likely = [name for name in table.columns if _named(name) is not None and name not in taken]
    names = group_columns([look_at(table, name) for name in likely])
    found = table.columns[names[0]] if names else None
    where, remedy = f"{names[0]!r}" if names else "", "name it in data.columns.group to keep each in one"
    if found is None and path in table.columns:
        found = path_groups([str(v or "") for v in table.columns[path]])
        where, remedy = f"the paths of {path!r}", "make a column of them and name it in data.columns.group"
    if found is None:
        return None
    splits: dict[str, set[int]] = {}
    for value, split in zip(found, role.tolist(), strict=True):
        if value is not None:
            splits.setdefault(str(value), set()).add(split)
    shared = [value for value, within in splits.items() if len(within) > 1]
    if not shared:
        return None
    return (
        f"{table.path}: {len(shared)} of {len(splits)} ids in {where} ({first_rows(shared, 2)}) are in more than one "
        f"split, so what a model learns of one helps it where it is audited; {remedy}"
    )


def may_be_groups(looks: Sequence[ColumnLook], table: Table) -> Iterator[str]:
    """Notes of columns of codes, each in several rows, where no name says that they are patients or the like."""
    for look in looks:
        known = [str(v) for v in table.columns[look.name] if v is not None]
        numbered = look.kind == "number" and _FILLERS & {*name_words(look.name)} and all(map(str.isdecimal, known))
        coded = look.kind == "text" and not misfits(table.columns[look.name]).any() and all(map(_CODE.fullmatch, known))
        several = MOST_CLASSES < look.n_values <= len(known) / 2
        # dates come back, too, and belong to nobody
        if (numbered or coded) and several and not left_out(table, [look.name]):
            yield (
                f"{look.name}: {look.n_values} codes, each in {len(known) / look.n_values:.0f} rows on average; if the "
                f"rows of one belong together (a patient, say): --group {shlex.quote(look.name)}"
            )


def largest_group_note(table: Table, column: str, group: np.ndarray) -> list[str]:
    """A note where one group has a large share of all rows, many times as many as others: it may mean `unknown`."""
    (value, n), *others = Counter(group.tolist()).most_common()
    if len(others) < _FEWEST_GROUPS or n < _MOST_OF_ROWS * len(group) or n < _TIMES * others[len(others) // 2][1]:
        return []
    return [
        f"{table.path}: {value!r} in {column!r} has {n} of {len(group)} rows, which are one group in one split; if it "
        "means that none is known, empty these cells: mibias init makes a group of each"
    ]


def _rank(look: ColumnLook) -> int | None:
    named = _named(look.name)
    if named is None:
        return None
    rank, with_id = named
    if with_id or look.n_values > MOST_CLASSES:
        return rank
    # of few values, only codes of people are ids: an animal, a lesion or a subject may be a class
    codes = rank < len(_PEOPLE) and all(any(c.isdigit() for c in value) for value in look.values)
    return rank if codes else None


def _named(name: str) -> tuple[int, bool] | None:
    """How wide the groups are that a name speaks of (0: widest), and whether it says that it is an id; or None."""
    parts = name_words(name)
    core = [word for word in parts if word not in _FILLERS]
    # patientid, in one word
    joined = "".join(core)
    stem = next((joined.removesuffix(end) for end in ("id", "no", "nr", "number") if joined.endswith(end)), "")
    names = (*_PEOPLE, *_OTHERS)
    found = next((word for word in (joined, stem) if word in names), None)
    if found is None:
        return None
    return names.index(found), len(core) < len(parts) or found == stem != joined


def path_groups(paths: Sequence[str]) -> np.ndarray | None:
    """The id of a patient (person, case, …) inside each path (n,), None where it has none; or None if they have none.

    At least half of the paths must have one, and some ids more than one path.

    Example:
        >>> path_groups(["patient1/a.png", "patient1/b.png", "patient2/a.png", "patient3/a.png"]).tolist()
        ['patient1', 'patient1', 'patient2', 'patient3']
    """
    found: list[str | None] = []
    for path in paths:
        match = _IN_PATH.search(path)
        found.append(None if match is None else match[1].lower())
    counts = Counter(value for value in found if value is not None)
    n = sum(counts.values())
    repeats = len(counts) < n and len(counts) >= _FEWEST_GROUPS
    return texts(found) if repeats and 2 * n >= len(found) else None


def same_names(paths: Sequence[str]) -> np.ndarray | None:
    """The name without suffix of each path's file (n,), where one name means one thing that is there several times.

    As in SCANNER/CLASS/NAME.png: at least four fifths of the rows share their name with another value of one level of
    folders, and a name has one value of all other levels. Numbers that begin anew in each class folder have many. None
    where there is no such level.

    Example:
        >>> same_names(["a/cat/x.png", "b/cat/x.png", "a/dog/y.png", "b/dog/y.png"]).tolist()
        ['x', 'x', 'y', 'y']
        >>> same_names(["a/cat/1.png", "a/dog/1.png", "b/cat/1.png", "b/dog/1.png"])
    """
    parts = [PurePosixPath(path).parts for path in paths]
    depth = len(parts[0]) - 1 if parts else 0
    if depth < 2 or any(len(one) != depth + 1 for one in parts):
        return None
    stems = [PurePosixPath(one[-1]).stem for one in parts]
    for level in range(depth):
        rests = [one[:level] + one[level + 1 : -1] for one in parts]
        rests_of, levels_of = defaultdict[str, set[tuple[str, ...]]](set), defaultdict[str, set[str]](set)
        for stem, one, rest in zip(stems, parts, rests, strict=True):
            rests_of[stem].add(rest)
            levels_of[stem].add(one[level])
        shared = sum(len(levels_of[stem]) > 1 for stem in stems)
        if (
            len(set(rests)) > 1
            and shared >= _MOSTLY * len(stems)
            and all(len(found) == 1 for found in rests_of.values())
        ):
            return texts(stems)
    return None


def is_id_folder(names: set[str], *, inner: bool) -> bool:
    """Whether names of folders are ids of patients, not of classes: all are named so, or are numbers.

    Numbers must be more than classes are, and have folders within (`inner`), as there are data sets of a hundred
    numbered classes.
    """
    ids = {match[1].lower() for name in names if (match := _IN_PATH.match(f"{name}/")) is not None}
    if len(ids) >= _FEWEST_GROUPS and all(_IN_PATH.match(f"{name}/") for name in names):
        return True
    return inner and len(names) > MOST_CLASSES and all(name.isdecimal() for name in names)


def own_groups(values: np.ndarray) -> np.ndarray:
    """Groups (n,) where each row without one is a group of its own."""
    return texts([f"(row {k + 1})" if value is None else value for k, value in enumerate(values)])
