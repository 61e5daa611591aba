"""Columns of text into targets: which kind they are, and y as training takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mibias_cli.data.encoding import bin_names, encode_target
from mibias_cli.data.files.tabular import Columns, Table, first_rows, numbers
from mibias_cli.data.target import Target, TargetKind, classes_target
from mibias_cli.errors import DataError

__all__ = ["MAX_STRATA", "encode_targets", "kind_of", "split_labels"]

MAX_STRATA = 16
"""Most combinations of labels or bins that are told apart where something is done given y."""
_N_BINS, _N_BINS_OF_SEVERAL, _N_SPLIT_BINS = 5, 2, 10
_OFF, _ON = ("0", "false"), ("1", "true")


def kind_of(table: Table, columns: Columns) -> TargetKind:
    """The target's kind: as the columns say, else none, classes of one column, labels or numbers of a list of them."""
    if columns.target is None or columns.target_kind == "none":
        return "none"
    if columns.target_kind is not None:
        return columns.target_kind
    if isinstance(columns.target, str):
        return "classes"
    binary = all(v is None or v.lower() in _OFF + _ON for name in columns.target for v in table.columns[name])
    return "multilabel" if binary else "regression"


def split_labels(table: Table, columns: Columns) -> np.ndarray:
    """What a drawn split is stratified by (n,) int64: classes, combinations of labels, tenths of a number."""
    kind = kind_of(table, columns)
    if kind == "none":
        return np.zeros(len(table), dtype=np.int64)
    if kind == "regression":
        value, _ = numbers(table.columns[columns.targets[0]])
        rank = np.argsort(np.argsort(value, kind="stable"), kind="stable")
        return np.asarray(rank * _N_SPLIT_BINS // max(len(table), 1), dtype=np.int64)
    joined = ["\x1f".join(map(str, row)) for row in zip(*(table.columns[n] for n in columns.targets), strict=True)]
    _, label = np.unique(joined, return_inverse=True)
    return np.asarray(label.reshape(-1), dtype=np.int64)


def encode_targets(table: Table, columns: Columns, in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    """Targets and what they are.

    Args:
        table: All rows in use.
        columns: Names the target's columns and, unless it is to be guessed, its kind.
        in_training: (n,) bool: the rows from which classes, statistics and bins are taken.

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
        y, class_names = encode_target(table, names[0], in_training)
        return y, classes_target(class_names, names[0])
    parsed = np.stack([_parsed(table, name, kind, in_training) for name in names], axis=1)
    if kind == "multilabel":
        return _labels(parsed, names, in_training)
    return _numbers(parsed, names, in_training)


def _parsed(table: Table, name: str, kind: TargetKind, in_training: np.ndarray) -> np.ndarray:
    """One column as float64; every fault names its rows."""
    values = table.columns[name]
    empty = np.array([v is None for v in values])
    if empty.any():
        rows = first_rows(table.row_numbers[empty])
        raise DataError(
            f"{table.path}: {empty.sum()} row(s) have no target in {name!r}: rows {rows}; fill them or take them out"
        )
    if kind == "multilabel":
        wrong = np.array([v.lower() not in _OFF + _ON for v in values])
        parsed = np.array([float(v.lower() in _ON) for v in values])
        what = "labels of several are 0 or 1; set data.target_kind to classes or regression, or recode the column"
    else:
        parsed, wrong = numbers(values)
        what = "a target of regression is a finite number; set data.target_kind to classes, or mend the column"
    if wrong.any():
        faults = zip(table.row_numbers[wrong], values[wrong], strict=True)
        listed = first_rows([f"{row} ({value!r})" for row, value in faults])
        raise DataError(f"{table.path}: {wrong.sum()} value(s) of {name!r} cannot be used: rows {listed}; {what}")
    if len(np.unique(parsed[in_training])) < 2:
        raise DataError(f"{table.path}: {name!r} has one value in training, so there is nothing to learn; leave it out")
    return parsed


def _labels(parsed: np.ndarray, names: tuple[str, ...], in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    levels = _levels(parsed[in_training].astype(np.int64))
    strata = tuple(" + ".join(n for n, on in zip(names, level, strict=True) if on) or "no label" for level in levels)
    target = Target(kind="multilabel", columns=names, class_names=strata, levels=levels)
    return parsed.astype(np.float32), target


def _numbers(parsed: np.ndarray, names: tuple[str, ...], in_training: np.ndarray) -> tuple[np.ndarray, Target]:
    mean, scale = parsed[in_training].mean(axis=0), parsed[in_training].std(axis=0)
    y = ((parsed - mean) / scale).astype(np.float32)
    n_bins = _N_BINS if len(names) == 1 else _N_BINS_OF_SEVERAL
    edges = tuple(_edges(y[in_training, k], n_bins) for k in range(len(names)))
    target = Target(
        kind="regression", columns=names, class_names=(), mean=tuple(map(float, mean)), scale=tuple(map(float, scale)),
        bin_edges=edges,
    )  # fmt: skip
    levels = _levels(target.codes(y[in_training]))
    shown = [bin_names(tuple(float(e * s + m) for e in inner)) for inner, m, s in zip(edges, mean, scale, strict=True)]
    strata = tuple(_stratum_name(level, names, shown) for level in levels)
    return y, Target(**{**vars(target), "class_names": strata, "levels": levels})


def _edges(values: np.ndarray, n_bins: int) -> tuple[float, ...]:
    # in float32, as the values are: an edge must fall on the same side of a value everywhere
    inner = np.quantile(values.astype(np.float64), np.arange(1, n_bins) / n_bins).astype(np.float32)
    return tuple(float(edge) for edge in np.unique(inner) if edge > values.min())


def _stratum_name(level: Sequence[int], names: tuple[str, ...], shown: list[tuple[str, ...]]) -> str:
    if len(names) == 1:
        return shown[0][level[0]]
    return ", ".join(f"{name} {bins[code]}" for name, bins, code in zip(names, shown, level, strict=True))


def _levels(codes: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The most frequent combinations of training, in the order of their codes."""
    found, counts = np.unique(codes, axis=0, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_STRATA])
    return tuple(tuple(map(int, level)) for level in found[kept])
