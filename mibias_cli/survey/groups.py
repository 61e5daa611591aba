"""Which rows belong together: columns of patients, lesions or videos by their names, and ids inside paths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from mibias_cli.data.columns import MOST_CLASSES, ColumnLook
from mibias_cli.data.files.tabular import texts
from mibias_cli.survey.splits import words

__all__ = ["group_columns", "is_id_folder", "own_groups", "path_groups"]

_PEOPLE = (
    "patient", "subject", "participant", "person", "individual", "identity", "donor", "mrn", "pid", "animal", "family",
    "lesion",
)  # fmt: skip
_OTHERS = (
    "case", "video", "clip", "client", "customer", "user", "speaker", "writer", "author", "sequence", "seq", "slide",
    "study", "series", "exam", "encounter", "admission", "scene", "session", "recording", "group",
)  # fmt: skip
"""What groups are called, the widest first: where there are several, a patient has many studies. The second list means
groups only with an `id`, or with more values than classes have."""
_FILLERS = {"id", "ids", "no", "nr", "num", "number", "code", "key", "uid", "idx", "anon", "hash"}
_IN_PATH = re.compile(
    r"(?<![a-z])((?:patient|pat|subject|subj|sub|person|participant|case|pid|pt|donor|lesion|identity|video|id)"
    r"[ _-]?\d+|tcga-\w\w-\w{4}|p\d{5,}(?=/))",
    re.IGNORECASE,
)
"""patient00001, sub-01, person12, TCGA's codes, MIMIC's folders p10000032."""
_FEWEST_GROUPS = 3


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


def _rank(look: ColumnLook) -> int | None:
    parts = words(look.name)
    core = [word for word in parts if word not in _FILLERS]
    # patientid, in one word
    joined = "".join(core)
    stem = next((joined.removesuffix(end) for end in ("id", "no", "nr", "number") if joined.endswith(end)), "")
    names = (*_PEOPLE, *_OTHERS)
    found = next((name for name in (joined, stem) if name in names), None)
    if found is None:
        return None
    with_id = len(core) < len(parts) or found == stem != joined
    if found in _OTHERS and not with_id and look.n_values <= MOST_CLASSES:
        return None
    return names.index(found)


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


def is_id_folder(names: set[str]) -> bool:
    """Whether names of folders are ids of patients, not of classes: all named so, or more numbers than classes are."""
    ids = {match[1].lower() for name in names if (match := _IN_PATH.match(f"{name}/")) is not None}
    if len(ids) >= _FEWEST_GROUPS and all(_IN_PATH.match(f"{name}/") for name in names):
        return True
    return len(names) > MOST_CLASSES and all(name.isdecimal() for name in names)


def own_groups(values: np.ndarray) -> np.ndarray:
    """Groups (n,) where each row without one is a group of its own."""
    return texts([f"(row {k + 1})" if value is None else value for k, value in enumerate(values)])
