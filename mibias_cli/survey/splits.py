"""What train, validation and test are called: values of a column, names of folders and files, columns of yes and no."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mibias_cli.data.columns import DRAWN, ColumnLook, name_words
from mibias_cli.data.spelling import yes_or_no

__all__ = [
    "flag_columns",
    "flag_role",
    "guess_split",
    "read_split",
    "role_of_name",
    "split_like",
    "split_roles",
    "split_words",
]

_SPLIT_WORDS: tuple[tuple[str, ...], ...] = (
    ("train", "training", "trn", "tr", "trainval"),
    ("validation", "val", "vld", "va", "valid", "validate", "validating", "dev", "development"),
    ("test", "testing", "tst", "te", "audit", "eval", "evaluation", "balanced", "holdout"),
)
"""What train, validation and audit are called, in order."""
_NUMBERED = {("0", "1", "2"): ("0", "1", "2"), ("0", "1"): ("0", DRAWN, "1")}
_NUMBERED_NAMES = {"split", "splits", "partition", "subset"}
_SPLIT_NAMES = {*_NUMBERED_NAMES, "fold", "set", "phase", "usage", "dataset"}
_FLAG_FILLERS = {"is", "in", "for", "set", "split", "use"}
_MAY_MEAN_ELSE = {"test", "val", "valid", "dev", "eval", "balanced"}
"""Names of columns of yes and no that need an `is_` or `_set` to mean a split: `valid` may mean that a row is sound."""

Roles = tuple[str, str, str]
"""Values for train, validation and audit; `DRAWN` where validation is drawn from training."""


def role_of_name(name: str) -> int | None:
    """0, 1 or 2 where a word of a name means train, validation or audit; a name with two of them is the first's.

    Example:
        >>> [role_of_name(name) for name in ("train_val_list", "fairface_label_val", "PrivateTest", "latest")]
        [0, 1, 2, None]
    """
    found = {*name_words(name), name.lower()}
    return next((role for role, called in enumerate(_SPLIT_WORDS) if found & set(called)), None)


def split_roles(names: Iterable[str]) -> list[str | None]:
    """Which of some names mean train, validation and audit, in this order; None where none does.

    A name that is the word itself comes before one that has the word in it.
    """
    names = sorted(names)
    lower = {name.lower(): name for name in names}
    found: list[str | None] = []
    for role, called in enumerate(_SPLIT_WORDS):
        exact = [lower[word] for word in called if word in lower]
        inside = [name for name in names if role_of_name(name) == role]
        found.append(next(iter([*exact, *inside]), None))
    return found


def split_words(names: Iterable[str]) -> Roles | None:
    """Which of some names train, validate and are audited; None where they do not name two splits.

    Where nothing is called test, what validates is audited, and validation is drawn from training. Where nothing is
    called train, `dev` trains.

    Example:
        >>> split_words(["train", "valid"])
        ('train', '(drawn from train)', 'valid')
        >>> split_words(["dev", "test"])
        ('dev', '(drawn from train)', 'test')
    """
    train, validation, test = split_roles(names)
    if train is None and validation is not None and test is not None and validation.lower().startswith("dev"):
        train, validation = validation, None
    if train is None or (test is None and validation is None):
        return None
    return (train, DRAWN, str(validation)) if test is None else (train, validation or DRAWN, test)


def guess_split(looks: Sequence[ColumnLook]) -> tuple[str, Roles] | None:
    """The column that says what trains and what is audited, and its values for train, validation and audit.

    Its values are words (train, val, test, …) whatever its name, 0, 1 and 2 (or 0 and 1) where its name says split, or
    yes and no where its name is `is_train`, `is_test` or the like.
    """
    # a column named as a split comes before one that only holds such words
    ordered = sorted(looks, key=lambda look: not set(name_words(look.name)) & _SPLIT_NAMES)
    for look in ordered:
        if look.kind == "classes" and (found := _roles_in(look)) is not None:
            return look.name, found
    for look in ordered:
        if (role := flag_role(look)) is not None:
            return look.name, _flagged(look, role)
    return None


def read_split(look: ColumnLook) -> Roles | None:
    """The values of a column that the user named as the split, or None if they say nothing of train and test."""
    role = role_of_name(look.name)
    if role is not None and _is_flag(look):
        return _flagged(look, role)
    return split_words(look.values) or _numbered(look)


def split_like(looks: Sequence[ColumnLook]) -> list[ColumnLook]:
    """Columns whose names speak of a split, whatever they hold."""
    # one value beside empty cells says something too: test, in the rows that are no training
    named = [x for x in looks if x.kind in ("classes", "number") and (x.n_values > 1 or x.n_missing)]
    return [x for x in named if _is_split_name(x.name) or (_is_flag(x) and _flag_word(x.name) is not None)]


def flag_columns(looks: Sequence[ColumnLook]) -> dict[int, ColumnLook]:
    """By split (0, 1, 2), the column of yes and no for it; `val` and `test` alone mean a split beside `train`."""
    sure = {role: look for look in looks if (role := flag_role(look)) is not None}
    if 0 not in sure:
        return sure
    named = {role: look for look in looks if _is_flag(look) and (role := _flag_word(look.name)) is not None}
    return named | sure


def flag_role(look: ColumnLook) -> int | None:
    """Which split a column of yes and no names by its name (`is_train`: 0, `is_test`: 2), or None."""
    return _flag_word(look.name) if _is_flag(look) and look.name.lower() not in _MAY_MEAN_ELSE else None


def _is_split_name(name: str) -> bool:
    """Whether all words of a name speak of a split: `fold`, `split_2`."""
    words = set(name_words(name)) or {name.lower()}
    return words <= _SPLIT_NAMES


def _flag_word(name: str) -> int | None:
    kept = [word for word in name_words(name) if word not in _FLAG_FILLERS]
    joined = "".join(kept).removeprefix("is")
    return next((role for role, called in enumerate(_SPLIT_WORDS) if joined in called), None)


def _is_flag(look: ColumnLook) -> bool:
    return len(look.values) == 2 and {yes_or_no(value) for value in look.values} == {True, False}


def _flagged(look: ColumnLook, role: int) -> Roles:
    no, yes = sorted(look.values, key=lambda value: bool(yes_or_no(value)))
    return (yes, DRAWN, no) if role == 0 else (no, DRAWN, yes)


def _numbered(look: ColumnLook) -> Roles | None:
    """The values, as they are written, of a column of 0, 1 and 2 (or 0 and 1); None where it holds others."""
    whole = {v.removesuffix(".0"): v for v in look.values}
    train, validation, audit = _NUMBERED.get(tuple(whole), (None, None, None))
    if train is None or len(whole) < len(look.values):
        return None
    return whole[train], whole.get(str(validation), DRAWN), whole[str(audit)]


def _roles_in(look: ColumnLook) -> Roles | None:
    named = set(name_words(look.name))
    # numbers mean roles only where they are all there is: a fold column goes on to 3 and 4
    if (numbered := _numbered(look)) is not None:
        return numbered if named & _NUMBERED_NAMES else None
    found = split_words(look.values)
    # under another name every value must be such a word itself, as one of several may be chance
    exact = {word for called in _SPLIT_WORDS for word in called}
    if found is None or named & _SPLIT_NAMES or all(value.lower() in exact for value in look.values):
        return found
    return None
