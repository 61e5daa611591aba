"""Target columns: which kind of target they are, and y as training takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mibias_cli.data.columns import Columns, is_quantity, numbers, refuse_misfits, sorted_names
from mibias_cli.data.encoding import bin_names, class_codes, quantile_edges
from mibias_cli.data.files.cells import SEPARATORS, is_written_list, split_list
from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.tabular import Table, first_rows, texts
from mibias_cli.data.target import Target, TargetKind, bin_codes, classes_target
from mibias_cli.errors import DataError

__all__ = [
    "MAX_STRATA",
    "encode_targets",
    "kind_of",
    "labels_in",
    "list_labels",
    "split_labels",
    "varying_labels",
    "words_apart",
]

MAX_STRATA = 16
"""Most combinations of labels or bins that are strata of their own."""
MOST_LABELS = 1000
"""Different items of the lists of a column: each is an output of every head."""
_N_BINS, _N_BINS_OF_SEVERAL, _N_SPLIT_BINS = 5, 2, 10
_REMEDY = "fill them or take them out"
_OFF, _ON = ("0", "0.0", "false"), ("1", "1.0", "true")


def kind_of(table: Table, columns: Columns) -> TargetKind:
    """The target's kind: as the columns say, else none, classes of one column, labels or numbers of a list of them."""
    if columns.target is None or columns.target_kind == "none":
        return "none"
    if columns.target_kind is not None:
        return columns.target_kind
    if isinstance(columns.target, str):
        return "classes"
    binary = all(v.lower() in _OFF + _ON for name in columns.target for v in table.coded(name).counts)
    return "multilabel" if binary else "regression"


def labels_in(values: np.ndarray) -> tuple[str, list[str]] | None:
    """What stands between the items of lists (`A|B`) in text (n,), None where missing, and all items in order; or None.

    Example:
        >>> labels_in(np.array(["Mass", "Effusion|Mass", None], dtype=object))
        ('|', ['Effusion', 'Mass'])
    """
    known = {str(v) for v in values if v is not None}
    separator = next((s for s in SEPARATORS if any(s in v for v in known)), None)
    # ['Mass'], as Python writes lists, is one without a separator
    separator = "," if separator is None and any(map(is_written_list, known)) else separator
    if separator is None:
        return None
    return separator, list(sorted_names({item for v in known for item in split_list(v, separator)}))


def words_apart(classes: Sequence[str]) -> tuple[str, list[str]] | None:
    """A class whose words are all classes themselves, as in a list with blanks or slashes between, and these; or None.

    Example:
        >>> words_apart(["scab", "rust", "scab rust"]), words_apart(["tumor", "no tumor"])
        (('scab rust', ['scab', 'rust']), None)
    """
    items = {name: [word for word in re.split(r"[\s/+&]+", name) if word] for name in classes}
    return next(((name, words) for name, words in items.items() if len(words) > 1 and {*words} <= {*classes}), None)


def list_labels(table: Table, columns: Columns) -> tuple[Table, Columns, list[str]]:
    """A target of labels that one column lists in each cell, as columns of 0 and 1; with a note of the labels.

    Anything else is returned as it is.

    Raises:
        DataError: Cells are empty, or hold one value each, or very many different labels.
    """
    if columns.target_kind != "multilabel" or len(columns.named) != 1:
        return table, columns, []
    name = columns.named[0]
    if all(v.lower() in _OFF + _ON for v in table.coded(name).counts):
        return table, columns, []
    no_label = f"fill them, or map them in data.values: {{ {name}: {{ (missing): [] }} }} where they mean no label"
    values = table.complete(name, "target", no_label).cells
    found = labels_in(values)
    if found is None:
        raise DataError(
            f"{table.path}: {name!r} is to hold labels, and its cells are neither 0 and 1 nor lists (A|B): they hold "
            f"{first_rows([repr(v) for v in dict.fromkeys(values)])}; set data.target_kind to classes or regression"
        )
    separator, labels = found
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"{table.path}: {name!r} lists {len(labels):,} different labels, and at most {MOST_LABELS:,} do"
        )
    # a label may be called as some other column is
    names = [label if label not in table.columns else f"{name}: {label}" for label in labels]
    rows = [set(split_list(v, separator)) for v in values]
    added = {
        called: texts(["1" if label in row else "0" for row in rows])
        for called, label in zip(names, labels, strict=True)
    }
    note = f"{table.path}: {name!r} holds lists ({separator} between): {len(labels)} labels: {first_rows(labels, 20)}"
    return table.with_columns(added), replace(columns, target=tuple(names)), [note]


def varying_labels(table: Table, columns: Columns, in_training: np.ndarray) -> tuple[Columns, list[str]]:
    """The columns without labels of a list that all rows `in_training` (n,) bool have, or none; with a note of them."""
    constant = [name for name in columns.named if len(set(table.columns[name][in_training])) < 2]
    if not constant or len(constant) == len(columns.named):
        return columns, []
    left = tuple(name for name in columns.named if name not in constant)
    note = f"{table.path}: {len(constant)} label(s) left out, which all training rows have, or none: "
    return replace(columns, target=left), [note + first_rows(constant)]


def split_labels(table: Table, columns: Columns) -> np.ndarray:
    """What a drawn split is stratified by (n,) int64: classes, combinations of labels, tenths of a number."""
    kind = kind_of(table, columns)
    if kind == "none":
        return np.zeros(len(table), dtype=np.int64)
    if kind == "regression":
        column = table.coded(columns.targets[0])
        value = numbers(column.values)[0][column.codes]
        # tenths of the ranks: every part of the split gets small and large numbers alike
        rank = np.argsort(np.argsort(value, kind="stable"), kind="stable")
        return np.asarray(rank * _N_SPLIT_BINS // max(len(table), 1), dtype=np.int64)
    # a separator that no cell of text holds keeps ("a", "bc") and ("ab", "c") apart
    first, *others = (table.coded(name).map(str) for name in columns.targets)
    for other in others:
        pairs, codes = np.unique(np.stack([first.codes, other.codes]), axis=1, return_inverse=True)
        joined = [f"{first.values[i]}\x1f{other.values[k]}" for i, k in pairs.T]
        first = Coded.of_codes(joined, codes.reshape(-1))
    _, label = np.unique(first.values.astype(str), return_inverse=True)
    return np.asarray(label.reshape(-1), dtype=np.int64)[first.codes]


def encode_targets(table: Table, columns: Columns, in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    """Targets and what they are; classes, statistics and bins are taken from the rows `in_training` (n,) bool.

    Returns:
        y: classes (n,) int64; labels (n, k) float32; numbers (n, k) float32, standardised; zeros (n,) int64 where there
        is no target.

    Raises:
        DataError: Values are missing or of the wrong kind, or do not vary in training.
    """
    kind = kind_of(table, columns)
    if kind == "none":
        return np.zeros(len(table), dtype=np.int64), Target(kind="none", columns=(), class_names=("all",))
    names = columns.targets
    if kind == "classes":
        if columns.target_kind is None:
            refuse_misfits(table, names[0], "set data.target_kind to classes if they are classes")
        return _classes(table, names[0], in_training)
    parsed = np.stack([_parsed(table, name, kind, in_training) for name in names], axis=1)
    if kind == "multilabel":
        return _labels(parsed, names, in_training)
    return _numbers(parsed, names, in_training)


def _classes(table: Table, column: str, in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    """One column of classes, which are those of the training rows."""
    values = table.complete(column, "target", _REMEDY)
    names = sorted_names(values.take(in_training).counts)
    if len(names) < 2:
        raise DataError(f"{table.path}: {column!r} has one class in training, {names[0]!r}; a task needs two or more")
    unseen = sorted_names(set(values.counts) - set(names))
    if unseen:
        counted = [f"{name!r} ({values.counts[name]} rows)" for name in unseen]
        # very many different numbers are rarely classes: a quantity was meant
        number = is_quantity(values.values)
        out = f"{{ {column}: {{ {unseen[0]}: (left out) }} }}"
        hint = f"train on some of their rows, or leave these out, by data.values: {out}"
        if number:
            hint = "if these numbers are a quantity, set data.target_kind to regression"
        raise DataError(
            f"{table.path}: {len(unseen)} class(es) of {column!r} are in no training row: {first_rows(counted)}; "
            f"training has {first_rows([repr(n) for n in names], 20)}; {hint}"
        )
    return class_codes(values, names), classes_target(names, column)


def _parsed(table: Table, name: str, kind: TargetKind, in_training: np.ndarray) -> np.ndarray:
    """One column as float64; every fault names its rows."""
    column = table.complete(name, "target", _REMEDY)
    if kind == "multilabel":
        wrong = np.array([v.lower() not in _OFF + _ON for v in column.values])
        parsed = np.array([float(v.lower() in _ON) for v in column.values])
        what = "labels of several are 0 or 1; set data.target_kind to classes or regression, or recode the column"
    else:
        parsed, wrong = numbers(column.values)
        what = "a target of regression is a number, at most 1e30; set data.target_kind to classes, or mend the column"
    parsed, wrong = parsed[column.codes], wrong[column.codes]
    if wrong.any():
        listed = table.rows_where(wrong, name)
        raise DataError(f"{table.path}: {wrong.sum()} value(s) of {name!r} cannot be used: rows {listed}; {what}")
    if len(np.unique(parsed[in_training])) < 2:
        raise DataError(f"{table.path}: {name!r} has one value in training, so there is nothing to learn; leave it out")
    return parsed


def _labels(parsed: np.ndarray, names: tuple[str, ...], in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    # strata are combinations of labels; labels themselves stay what the heads predict
    levels = _levels(parsed[in_training].astype(np.int64))
    strata = tuple(" + ".join(n for n, on in zip(names, level, strict=True) if on) or "no label" for level in levels)
    target = Target(kind="multilabel", columns=names, class_names=strata, levels=levels)
    return parsed.astype(np.float32), target


def _numbers(parsed: np.ndarray, names: tuple[str, ...], in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    # standardised by training rows, so that a squared error has the same scale in every column
    mean, scale = parsed[in_training].mean(axis=0), parsed[in_training].std(axis=0)
    y = ((parsed - mean) / scale).astype(np.float32)
    n_bins = _N_BINS if len(names) == 1 else _N_BINS_OF_SEVERAL
    edges = tuple(quantile_edges(y[in_training, k], n_bins) for k in range(len(names)))
    levels = _levels(bin_codes(y[in_training], edges))
    # bins are cut in standardised units, and named in the user's own
    shown = [bin_names([float(e * s + m) for e in inner]) for inner, m, s in zip(edges, mean, scale, strict=True)]
    target = Target(
        kind="regression",
        columns=names,
        class_names=tuple(_stratum_name(level, names, shown) for level in levels),
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        bin_edges=edges,
        levels=levels,
    )
    return y, target


def _stratum_name(level: Sequence[int], names: tuple[str, ...], shown: list[tuple[str, ...]]) -> str:
    if len(names) == 1:
        return shown[0][level[0]]
    return ", ".join(f"{name} {bins[code]}" for name, bins, code in zip(names, shown, level, strict=True))


def _levels(codes: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The most frequent combinations of training, in the order of their codes."""
    # rare combinations would be strata of a few rows, in which nothing can be balanced or estimated
    found, counts = np.unique(codes, axis=0, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_STRATA])
    return tuple(tuple(map(int, level)) for level in found[kept])
