"""Guesses which columns are path, target and bias attribute, by their names and by what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.data.columns import ColumnLook, name_words

__all__ = ["are_codes", "attribute_rank", "guess_path", "guess_target"]

_PATH_NAMES = (
    "path", "file_name", "filename", "file", "filepath", "img_filename", "image", "image_path", "img", "image_id",
)  # fmt: skip
_TARGET_NAMES = (
    "target", "label", "labels", "y", "class", "cls", "category", "diagnosis", "outcome", "income", "finding", "dx",
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
_MEASURED = {"skin", "tone", "fitzpatrick"}
_CODED = {*_ATTRIBUTE_NAMES[0], "country", "language", "location", "source", "domain", "environment", "batch", "lab",
          "stain", "religion", "id", "code", "nr", "number", "zip", "zipcode", "postcode", "ward", "clinic",
          } - _MEASURED  # fmt: skip
"""Words in the names of columns whose numbers are names: 12 is no more a scanner than 3 is."""
_FEW_ROWS = 5


def attribute_rank(name: str) -> int | None:
    """0 where a column's name is, or has in it, a word of likely bias attributes, 1 for less likely ones, else None.

    Example:
        >>> [attribute_rank(name) for name in ("Sex", "patient_sex", "scanner-id", "pages", "MaritalStatus")]
        [0, 0, 0, None, 1]
    """
    found = {*name_words(name), name.lower()}
    return next((rank for rank, names in enumerate(_ATTRIBUTE_NAMES) if found & set(names)), None)


def are_codes(look: ColumnLook, values: np.ndarray) -> bool:
    """Whether whole numbers (n,) are codes, a class each: by the name (a scanner, a site, a zip), or zeros before them.

    Where codes hardly come back, each would be a class of few rows.
    """
    known = [str(v) for v in values if v is not None]
    if not all(v.removesuffix(".0").isdecimal() for v in known) or len(known) < _FEW_ROWS * look.n_values:
        return False
    with_zeros = any(len(v) > 1 and v[0] == "0" for v in known) and len({len(v) for v in known}) == 1
    return with_zeros or not {*name_words(look.name), look.name.lower()}.isdisjoint(_CODED)


def guess_path(looks: Sequence[ColumnLook]) -> str | None:
    """The column with the images' paths: one that holds such, by preference of a usual name."""
    paths = [look.name for look in looks if look.kind == "path"]
    return _named(paths, _PATH_NAMES) or (paths[0] if paths else None)


def guess_target(looks: Sequence[ColumnLook], taken: Sequence[str]) -> tuple[str, str] | None:
    """The column with the target, and what says so: a usual name, or that no other may be it; never its place."""
    several = [x.name for x in looks if x.kind in ("classes", "lists") and x.n_values > 1 and x.name not in taken]
    numeric = [x.name for x in looks if x.kind == "number" and x.name not in taken]
    if named := _named([*several, *numeric], _TARGET_NAMES):
        return named, "by its name"
    # one column with a usual word in its name, or one that is left over; of several none
    others = [name for name in several if attribute_rank(name) is None]
    with_word = [name for name in others if set(name_words(name)) & set(_TARGET_NAMES)]
    if len(with_word) == 1:
        return with_word[0], "by its name"
    if len(others) == 1:
        return others[0], "the only column of a few classes that has no other role"
    return None


def _named(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the usual names that is there, whatever its case."""
    # reversed, so that of two columns that differ by case the first is found
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)
