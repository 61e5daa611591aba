"""Values that are one but for how they are written: capitals, blanks, accents, numbers, yes and y."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mibias_cli.data.columns import is_quantity
from mibias_cli.data.files.cells import EXACT, number_of
from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.tabular import texts
from mibias_cli.data.table_inputs import STAND_INS
from mibias_cli.output.text import appearance

__all__ = ["one_spelling", "positions_of", "spelling", "spelt_alike", "yes_or_no"]

_MOST_COMPARED = 1000
_ROMAN = set("ivxlcdm")
_LOOKALIKES = str.maketrans("АВЕКМНОРСТХаеорсхΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEKMHOPCTXaeopcxABEZHIKMNOPTXo")
"""Cyrillic and Greek letters that look like Latin ones, as a keyboard of another language writes M."""
_YES = ("yes", "y", "true", "t", 1.0, "ja", "oui", "si", "sí", "sì", "sim")
_NO = ("no", "n", "false", "f", 0.0, "nein", "nee", "nej", "non", "não")
_YES_AND_NO: dict[str | float, str | float] = {**dict.fromkeys(_YES, "yes"), **dict.fromkeys(_NO, "no")}


def spelling(value: str) -> str | float:
    """What a value has in common with its other spellings: the number that it is, or its letters.

    Example:
        >>> spelling("007") == spelling("7.0"), spelling("No_Tumor") == spelling("no  tumor"), spelling("<=50K.")
        (True, True, '<=50k')
    """
    number = number_of(value)
    # beyond, two ids of many digits would be one number
    if number is not None and abs(number) < EXACT:
        return number
    # accents as one character or two, blanks of any kind, and the full stop that Adult's test rows end in
    text = appearance(value).translate(_LOOKALIKES).casefold()
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", text).strip().removesuffix(".") or value


def yes_or_no(value: str) -> bool | None:
    """Whether a value says yes, however that is written; None where it says neither yes nor no.

    Example:
        >>> [yes_or_no(value) for value in ("True", "1.0", " y", "No", "0", "maybe")]
        [True, True, True, False, False, None]
    """
    meant = _YES_AND_NO.get(spelling(value))
    return None if meant is None else meant == "yes"


def spelt_alike(values: np.ndarray) -> list[tuple[str, ...]]:
    """Different values of text (n,), None where missing, that are one but for their spelling, or for being shortened.

    Example:
        >>> spelt_alike(np.array(["F", "female", "1", "1.0", "M", "m", None], dtype=object))
        [('1', '1.0'), ('F', 'female'), ('M', 'm')]
    """
    different = sorted({str(v) for v in values if v is not None})
    if len(different) > _MOST_COMPARED or is_quantity(texts(different)):
        return []
    key_of = {value: spelling(value) for value in different}
    meant = _meant(set(key_of.values()))
    alike: dict[str | float, list[str]] = {}
    for value, key in key_of.items():
        alike.setdefault(meant.get(key, key), []).append(value)
    return [tuple(found) for found in alike.values() if len(found) > 1]


def _meant(keys: set[str | float]) -> dict[str | float, str | float]:
    """The longer words of keys that are shorter ones of the same: y, true and 1 for yes, m for male."""
    if keys <= set(_YES_AND_NO):
        return {key: _YES_AND_NO[key] for key in keys}
    # words of two letters are codes of their own: AB is no longer A
    words = [key for key in keys if isinstance(key, str) and len(key) > 2 and key not in STAND_INS]
    letters = [key for key in keys if isinstance(key, str) and len(key) == 1 and key.isalpha()]
    # V is no short VII, and A no short A|B
    longer = {
        letter: [word for word in words if word.startswith(letter) and not _ROMAN.issuperset(word)]
        for letter in letters
    }
    return {letter: found[0] for letter, found in longer.items() if len(found) == 1 and found[0][1].isalpha()}


def one_spelling(values: Coded) -> tuple[Coded, list[tuple[str, ...]]]:
    """Text (n,), None where missing, with one spelling of each value, and the values that had several.

    For ids of groups: two spellings of one patient would be two patients. Two patients taken for one do no harm.

    Example:
        >>> one, several = one_spelling(Coded.of(["P1", "p1", "P2", None]))
        >>> one.cells.tolist(), several
        (['P1', 'P1', 'P2', None], [('P1', 'p1')])
    """
    spellings: dict[str | float, list[str]] = {}
    for value in values.counts:
        spellings.setdefault(spelling(value), []).append(value)
    several = [tuple(found) for found in spellings.values() if len(found) > 1]
    first = {value: found[0] for found in several for value in found}
    return values.map(lambda v: v and first.get(v, v)), several


def positions_of(values: Coded, names: Sequence[str]) -> np.ndarray:
    """The position (n,) int64 in `names` that each value has, whatever its spelling; −1 where none is it.

    Names that are one but for their spelling are told apart to the letter.
    """
    exact = {name: k for k, name in enumerate(names)}
    keys = [spelling(name) for name in names]
    loose = {key: k for k, key in enumerate(keys)} if len(set(keys)) == len(keys) else {}
    found = [-1 if v is None else exact.get(v, loose.get(spelling(v), -1)) for v in values.values]
    return np.array(found, dtype=np.int64)[values.codes]
