"""Guesses which columns are path, target, split, group and bias attribute, by their names and by what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mibias_cli.data.columns import ColumnLook, name_words

__all__ = ["attribute_rank", "guess_group", "guess_path", "guess_split", "guess_target", "split_roles"]

_PATH_NAMES = (
    "path", "file_name", "filename", "file", "filepath", "img_filename", "image", "image_path", "img", "image_id",
)  # fmt: skip
_TARGET_NAMES = ("target", "label", "labels", "y", "class", "category", "diagnosis", "outcome", "income", "finding")
_SPLIT_NAMES = ("split", "partition", "subset", "fold", "set", "phase")
_GROUP_NAMES = (
    "patient", "patient_id", "subject", "subject_id", "person", "person_id", "identity", "participant", "video",
    "video_id", "group", "group_id", "case_id",
)  # fmt: skip
_ATTRIBUTE_NAMES = (
    (
        "sex", "gender", "male", "female", "race", "ethnicity", "skin", "tone", "fitzpatrick", "hospital", "site",
        "centre", "center", "scanner", "device", "camera", "machine", "vendor", "manufacturer", "place", "background",
        "ground", "colour", "color",
    ),
    (
        "age", "young", "nationality", "country", "language", "location", "source", "domain", "environment", "batch",
        "lab", "stain", "marital", "religion",
    ),
)  # fmt: skip
"""Words in the names of likely bias attributes: the likelier, and others."""
_SPLIT_WORDS: tuple[tuple[str, ...], ...] = (
    ("train", "training", "trn"),
    ("validation", "val", "valid", "dev"),
    ("test", "testing", "audit", "eval", "balanced"),
)
"""What train, validation and audit are called, in order."""


def attribute_rank(name: str) -> int | None:
    """0 where a column's name is, or has in it, a word of likely bias attributes, 1 for less likely ones, else None.

    Example:
        >>> [attribute_rank(name) for name in ("Sex", "patient_sex", "scanner-id", "pages", "MaritalStatus")]
        [0, 0, 0, None, 1]
    """
    words = {*name_words(name), name.lower()}
    return next((rank for rank, names in enumerate(_ATTRIBUTE_NAMES) if words & set(names)), None)


def guess_path(looks: Sequence[ColumnLook]) -> str | None:
    """The column with the images' paths: one that holds such, by preference of a usual name."""
    paths = [look.name for look in looks if look.kind == "path"]
    return _named(paths, _PATH_NAMES) or (paths[0] if paths else None)


def guess_split(looks: Sequence[ColumnLook]) -> tuple[str, tuple[str, str, str]] | None:
    """The column that says what trains and what is audited, and its values for train, validation and audit.

    Values are words (train, val, test, …), or 0, 1 and 2. A column that does not name both training and audit is none.
    """
    for look in looks:
        if look.kind != "classes" or look.name.lower() not in _SPLIT_NAMES:
            continue
        # numbers mean roles only where they are all there: a fold column goes on to 3 and 4
        if set(look.values) == {"0", "1", "2"}:
            return look.name, ("0", "1", "2")
        train, validation, audit = split_roles(look.values)
        if train is not None and audit is not None:
            return look.name, (train, validation or "validation", audit)
    return None


def split_roles(names: Iterable[str]) -> list[str | None]:
    """Which of some names mean train, validation and audit, in this order; None where none does."""
    lower = {name.lower(): name for name in names}
    return [next((lower[word] for word in words if word in lower), None) for words in _SPLIT_WORDS]


def guess_group(looks: Sequence[ColumnLook]) -> str | None:
    """The column that says which rows belong together: a usual name, and values that repeat."""
    names = [x.name for x in looks if x.kind in ("classes", "number", "text") and not x.n_missing and x.n_values > 2]
    return _named(names, _GROUP_NAMES)


def guess_target(looks: Sequence[ColumnLook], taken: Sequence[str]) -> str | None:
    """The column with the target: a usual name, or else the last column of classes that is no likely attribute."""
    several = [x.name for x in looks if x.kind == "classes" and x.n_values > 1 and x.name not in taken]
    numeric = [x.name for x in looks if x.kind == "number" and x.name not in taken]
    if named := _named([*several, *numeric], _TARGET_NAMES):
        return named
    # tables of data sets often end with what is to be predicted
    others = [name for name in several if attribute_rank(name) is None]
    return others[-1] if others else None


def _named(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the usual names that is there, whatever its case."""
    # reversed, so that of two columns that differ by case the first is found
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)
