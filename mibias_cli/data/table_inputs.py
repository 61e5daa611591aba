"""Which columns of a table are its inputs where no one names them, and what to doubt in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mibias_cli.data.columns import is_quantity, look_at, misfits, name_words, numbers
from mibias_cli.data.files.cells import are_number_lists, number_of
from mibias_cli.data.files.tabular import MISSING, Table, first_rows, texts
from mibias_cli.data.table_encoder import CategoryColumn, NumberColumn

__all__ = [
    "OF_AUDITED", "STAND_INS", "copies_note", "doubts", "held_out_notes", "left_out", "left_out_note",
    "may_mean_missing", "other_categories", "other_numbers",
]  # fmt: skip

_UNNAMED = re.compile(r"|unnamed: \d+(\.\d+)*|__index_level_\d+__", re.IGNORECASE)
_SPLITS = {"split", "splits", "fold", "folds", "kfold", "partition", "subset"}
_FLAG = re.compile(
    r"(is|in|for|use)_(train|training|val|valid|validation|dev|test|testing|eval|holdout)(_?(set|split))?"
)
_FLAGS = {"train", "training", "holdout"}
"""Columns of yes and no for a split. `test` and `valid` alone may mean something else, but not beside `train`."""
_CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = (
    rf"\d{{4}}[-/.](0?\d|1[0-2])[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}}|\d{{1,2}}\.? [^\W\d_]{{3,10}}\.? \d{{4}}"
    # without a day, and without signs between
    rf"|\d{{4}}[-/](0?[1-9]|1[0-2])|(0?[1-9]|1[0-2])[-/]\d{{4}}|{_MONTH}[ -]\d{{4}}|\d{{4}}[ -]{_MONTH}"
    r"|(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
)
_ZONE = r" ?(am|pm|z|utc|[-+]\d{2}:?\d{2})?"
_DATE = re.compile(rf"({_DAY})([T ]+{_CLOCK}{_ZONE})?|{_CLOCK}", re.IGNORECASE)
_DATE_WORDS, _FIRST_SERIAL = {"date", "datetime", "timestamp", "epoch", "dob"}, 10_000
"""Numbers in columns of such names are seconds, or days as spreadsheets count them: 10,000 is in 1927."""
_MOSTLY = 0.95
_WORDS_OF_PROSE = 4
STAND_INS = {
    *("unknown", "unk", "missing", "not available", "not known", "n.a.", "n.a", "--", ".", "none given", "undefined"),
    *("not specified", "unspecified", "not reported", "no data", "prefer not to say", "not stated", "nd", "unclear"),
    *(
        "not applicable",
        "no answer",
        "refused",
        "declined",
        "don't know",
        "tbd",
        "empty",
        "(empty)",
        "blank",
        "(blank)",
    ),
    *("unbekannt", "nicht bekannt", "keine angabe", "k.a.", "k. a.", "n.d.", "n/d", "inconnu", "desconocido"),
    *("#null!", "#value!", "#ref!", "#div/0!", "#name?", "#num!"),
}
"""What may stand for a missing value, and may be a category of its own."""
_BELOW = {-1.0, -8.0, -9.0, -88.0, -99.0, -888.0, -999.0, -9999.0, -99999.0}
_ABOVE = {99.0, 999.0, 9999.0, 99999.0, 999999.0}
_LIKE_POWERS = re.compile(r"\d+[eE]\d+")
_TIMES = 3.0
_FEWEST, _SHARE = 3, 0.01
_FEWEST_NEW, _FAR, _TIMES_SPREAD = 5, 6.0, 30.0
"""Other numbers are told from so many rows on: so many deviations away, or so many times as wide or narrow."""
_MANY_UNSEEN = 0.05
OF_AUDITED = "of audited rows "


def left_out(table: Table, names: Sequence[str]) -> dict[str, str]:
    """Those of some columns that say nothing of a new row, with what each holds.

    Row numbers, ids, dates and times, prose, splits: as inputs they would be a category for each row, or tell in what
    order rows were gathered. Empty columns say nothing at all.
    """
    found = {name: _why_out(table, name) for name in names}
    return {name: why for name, why in found.items() if why}


def _is_flag(table: Table, name: str) -> bool:
    """Whether a column of two values says by its name that it is a split, as `is_test` and `isTrain` do."""
    joined = "_".join(name_words(name))
    named = _FLAG.fullmatch(joined) or joined in _FLAGS
    # the other names are looked at last: for each of many columns they would take minutes
    if not named and _FLAG.fullmatch(f"is_{joined}"):
        named = any("_".join(name_words(other)) in _FLAGS for other in table.columns)
    return bool(named) and len({v for v in table.columns[name] if v is not None}) <= 2


def left_out_note(path: object, out: Mapping[str, str]) -> list[str]:
    """A note of the columns that `left_out` names, or none."""
    if not out:
        return []
    listed = first_rows([f"{name!r} ({why})" for name, why in out.items()], 10)
    return [f"{path}: no inputs unless data.features names them: {listed}"]


def _why_out(table: Table, name: str) -> str:
    look = look_at(table, name)
    known = [str(v) for v in table.columns[name] if v is not None]
    if not known:
        return "empty"
    if _UNNAMED.fullmatch(name) and look.n_values == len(known) and _are_whole(known):
        return "row numbers"
    if name_words(name) and set(name_words(name)) <= _SPLITS and look.kind in ("classes", "number"):
        return "a split"
    if _is_flag(table, name):
        return "a split"
    dated = [v for v in known if v.casefold() not in STAND_INS]
    if dated and sum(_DATE.fullmatch(v) is not None for v in dated) >= _MOSTLY * len(dated):
        return "dates or times"
    if _DATE_WORDS & set(name_words(name)) and _are_whole(known) and min(map(float, known)) > _FIRST_SERIAL:
        return "dates or times"
    # what fitting refuses with an error is not to vanish in silence
    if misfits(table.columns[name]).any() or are_number_lists(known):
        return ""
    if look.kind == "id" and (any(number_of(v) is None for v in known) or _are_whole(known)):
        return "a value of its own in each row"
    prose = look.kind == "text" and 2 * look.n_values > len(known)
    return "prose" if prose and np.mean([v.count(" ") + 1 for v in known]) >= _WORDS_OF_PROSE else ""


def _are_whole(values: Sequence[str]) -> bool:
    return all((number := number_of(v)) is not None and number.is_integer() for v in values)


def doubts(table: Table, names: Sequence[str]) -> Iterator[str]:
    """Notes of numbers that may be none (codes that begin with zeros, marks of missing values), or that are text."""
    for name in names:
        values = table.columns[name]
        parsed, wrong = numbers(values)
        known = ~np.isnan(parsed)
        if name in table.text and (is_quantity(values) or misfits(values).any()):
            yield (
                f"{table.path}: {name!r} holds numbers that the file declares to be text, so each is a category; store "
                "it as numbers if it measures"
            )
        if wrong.any() or name in table.text or len(np.unique(parsed[known])) <= 2:
            continue
        coded = [str(v) for v in values[known] if len(v) > 1 and v[0] == "0" and v.isdecimal()]
        if len({len(v) for v in values[known]}) > 1:
            coded = []
        # 1E5 is a well on a plate, or a code: programs write 1e+05 or 1.0E5
        coded = coded or [str(v) for v in values[known] if _LIKE_POWERS.fullmatch(v)]
        if coded:
            yield f"{table.path}: {name!r} is read as numbers, and {coded[0]!r} may be a code: data.categories"
        if (mark := _mark_of_missing(Counter(parsed[known].tolist()))) is not None:
            yield _mark_note(table, name, *mark)


def other_numbers(table: Table, column: NumberColumn, which: str = "") -> Iterator[str]:
    """Notes of rows without a number that training rows all have, and of numbers far from those of training.

    `which` says which rows of a file these are.
    """
    parsed, _ = numbers(table.columns[column.name])
    missing = np.isnan(parsed)
    known = parsed[~missing]
    if len(known) >= _FEWEST_NEW:
        spread = float(known.std())
        near = abs(float(np.median(known)) - column.mean) <= _FAR * column.scale
        if not near or (spread != 0 and not column.scale / _TIMES_SPREAD < spread < column.scale * _TIMES_SPREAD):
            yield (
                f"{table.path}: {which}{column.name!r} is {known.min():g} to {known.max():g}, and was "
                f"{column.mean:.3g} ± {column.scale:.3g} in training rows: is it in another unit?"
            )
    if missing.any() and not column.marks_missing:
        yield (
            f"{table.path}: {which}{missing.sum()} row(s) have no {column.name!r}, which training rows all had; they "
            f"take its median there, {column.median:g}: rows {table.rows_where(missing)}"
        )


def other_categories(table: Table, column: CategoryColumn, which: str = "") -> tuple[str, int]:
    """Which values of a column do not occur in training rows, in words or empty, and how many."""
    values = texts(["" if value is None else value for value in table.columns[column.name]])
    strange = ~np.isin(values, column.categories)
    if not strange.any():
        return "", 0
    rows = table.with_columns({column.name: values}).rows_where(strange, column.name)
    found = f"{strange.sum()} value(s) of {column.name!r} do not occur in training rows: rows {rows}"
    return f"{table.path}: {which}{found}", int(strange.sum())


def held_out_notes(table: Table, columns: Sequence[NumberColumn | CategoryColumn]) -> Iterator[str]:
    """Notes where audited rows have other inputs than training ones: another unit, or categories spelt otherwise.

    A few rare categories that training lacks are usual.
    """
    for column in columns:
        if isinstance(column, NumberColumn):
            yield from other_numbers(table, column, OF_AUDITED)
            continue
        found, n = other_categories(table, column, OF_AUDITED)
        if n >= max(_FEWEST, _MANY_UNSEEN * len(table)):
            yield f"{found}; their inputs are all zeros"


def copies_note(path: object, x: np.ndarray, role: np.ndarray) -> list[str]:
    """A note where audited rows are copies of others, by their inputs x (n, d) float32 and the split (n,) of each.

    Where most training rows are alike, as of a few categories, equal rows say nothing; nor do a few.
    """
    rows = _hashes(x)
    train, audit = rows[role == 0], rows[role == 2]
    if len(np.unique(train)) < _MOSTLY * len(train):
        return []
    shared, again = int(np.isin(audit, rows[role < 2]).sum()), len(audit) - len(np.unique(audit))
    found = [
        f"{n:,} of {len(audit):,} audited rows have the very inputs of {what}"
        for n, what in ((shared, "a training or validation row"), (again, "another audited row"))
        if n >= max(_FEWEST, _SHARE * len(audit))
    ]
    said = "copies make what is audited look better known than it is; take them out, or keep them in one split by group"
    return [f"{path}: {' and '.join(found)}: {said}"] if found else []


def _hashes(x: np.ndarray) -> np.ndarray:
    """A number (n,) uint64 for each row of x (n, d) float32, the same for equal rows and, but for chance, no others."""
    found = np.zeros(len(x), dtype=np.uint64)
    for column in np.ascontiguousarray(x.T).view(np.uint32):
        found = (found ^ column) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(29)
    return found


def _mark_note(table: Table, name: str, value: float, n: int, low: float, high: float) -> str:
    return (
        f"{table.path}: {name!r} is {value:g} in {n} rows, and {low:g} to {high:g} in all others; if it means missing: "
        f"data.values: {{ {name}: {{ {value:g}: null }} }}"
    )


def _mark_of_missing(counts: Counter[float], *, classes: bool = False) -> tuple[float, int, float, float] | None:
    """A usual mark of missing values at the end of counted numbers, far from the others: it, its rows, their range.

    Of inputs, few numbers say nothing; classes (`classes`) may be 1 to 6 and -1, or 1, 2 and 9.
    """
    if len(counts) < (3 if classes else 4):
        return None
    ordered = sorted(counts)
    for value, rest in ((ordered[0], ordered[1:]), (ordered[-1], ordered[:-1])):
        # -1 beside 0 and 1 is said as what it is in CheXpert
        below = value in _BELOW and rest[0] >= 0 and (value != -1.0 or len(rest) > (2 if classes else 10))
        above = (value in _ABOVE or (classes and value == 9.0)) and value > _TIMES * rest[-1]
        if (below or above) and counts[value] >= max(_FEWEST, _SHARE * counts.total()):
            return value, counts[value], rest[0], rest[-1]
    return None


def may_mean_missing(table: Table, names: Sequence[str]) -> Iterator[str]:
    """Notes of values of a target, an attribute or a group that may stand for a missing value."""
    for name in dict.fromkeys(names):
        found = table.coded(name).counts
        parsed, wrong = numbers(texts(list(found)))
        rows: Counter[float] = Counter()
        for number, n in zip(parsed.tolist(), found.values(), strict=True):
            rows[number] += n
        mark = None if wrong.any() else _mark_of_missing(rows, classes=True)
        if mark is not None:
            yield _mark_note(table, name, *mark)
        # NA and the like are there where data.missing lists other marks alone
        counts = [(v, n) for v, n in found.items() if v.casefold() in STAND_INS or v in MISSING]
        if counts:
            listed = first_rows([f"{v!r} ({n} rows)" for v, n in counts])
            yield f"{table.path}: {name!r} has {listed}, a class as any other; if it means missing: data.missing"
