"""`mibias estimate`: from a file's columns to estimates of information, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from mibias_cli.data.files.named_arrays import NamedArrays, read_named_arrays
from mibias_cli.data.shards.feature_parts import some_part
from mibias_cli.errors import DataError, EvaluationError, did_you_mean
from mibias_cli.estimate.information import Columns, estimate_information
from mibias_cli.evaluation.leakage.rare import pooled_names
from mibias_cli.progress import Progress, Silent

__all__ = ["CONFIDENCE", "FileEstimates", "Kind", "NamedEstimate", "ZColumns", "estimate_file"]

Kind = Literal["auto", "discrete", "continuous"]
CONFIDENCE = 0.95
MOST_CLASSES = 20
"""Whole numbers of no more distinct values are taken for classes."""
MOST_CROSSED = 256
LN2 = float(np.log(2))


class NamedEstimate(TypedDict):
    """One estimator's figure; `lower` and `upper` are in nats, and so is what it reached inside the fitting parts."""

    nats: float
    bits: float
    lower: float
    upper: float
    direction: str
    selection_nats: float | None


class ZColumns(TypedDict):
    """What z was read from."""

    prefix: str
    n_columns: int


class FileEstimates(TypedDict):
    """The JSON that `mibias estimate` prints; `entropy_nats` is None for numbers.

    `n_pooled` classes of c are not told from some other, as some have fewer than ten rows; `entropy_nats` is of all.
    """

    estimates: dict[str, NamedEstimate]
    headline: str
    entropy_nats: float | None
    n_pooled: int
    confidence: float
    kind: str
    file: str
    z: ZColumns
    c: list[str]
    given: list[str] | None
    n_rows: int
    n_missing: int
    n_folds: int
    seed: int


def estimate_file(
    path: Path | str,
    *,
    z: str,
    c: str,
    given: str | None = None,
    estimators: Sequence[str] | None = None,
    kind: Kind = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> FileEstimates:
    """Estimate I(z; c), or I(z; c | given), from the columns of a file.

    Args:
        path: .csv, .tsv, .parquet or .safetensors.
        z: z is every column whose name starts with this; c and given never count among them.
        c: A column, or, where none has that name, the beginning of the names of several.
        given: A column, or None.
        estimators: Names; None: all that suit c.
        kind: Whether c are classes or numbers; auto: by what the column holds.
        seed: Of everything random.
        progress: Told of what is done.

    Raises:
        DataError: The file or its columns cannot be had.
        EvaluationError: Nothing can be estimated from them.
    """
    path = Path(path)
    if some_part(path) is not None:
        raise DataError(f"{path}: is a folder of shards, and columns are read from one file; write them to one")
    arrays = read_named_arrays(path)
    c_names = _columns_of(arrays, c, "--c")
    given_names = [] if given is None else _columns_of(arrays, given, "--given")
    z_names = [n for n in arrays.names if n.startswith(z) and n not in c_names and n not in given_names]
    if not z_names:
        shown = ", ".join(arrays.names[:10])
        raise DataError(f"{path}: no column beside those of c starts with {z!r} (--z); it has: {shown}")
    if set(given_names) & set(c_names):
        raise DataError(f"{path}: {c!r} is both c and given; information given c about c is none")
    z_values = arrays.read_numbers(z_names)
    c_values, missing = _read(arrays, c_names, kind)
    given_values = None
    if given_names:
        given_values, given_missing = _read(arrays, given_names, "auto")
        missing = missing | given_missing
    known = ~missing
    columns = Columns(
        z=z_values[known],
        c=_compact(c_values[known]),
        given=None if given_values is None else _compact(given_values[known]),
    )
    found = estimate_information(
        columns, estimators=estimators, seed=seed, confidence=CONFIDENCE, progress=progress or Silent()
    )
    estimates: dict[str, NamedEstimate] = {
        name: {
            "nats": e.nats, "bits": e.nats / LN2, "lower": e.lower, "upper": e.upper, "direction": e.direction,
            "selection_nats": found.selection_nats.get(name),
        }
        for name, e in found.estimates.items()
    }  # fmt: skip
    return {
        "estimates": estimates, "headline": found.headline, "entropy_nats": found.entropy_nats,
        "n_pooled": len(_pooled(columns)),
        "confidence": CONFIDENCE, "kind": "discrete" if columns.discrete else "continuous", "file": path.name,
        "z": {"prefix": z, "n_columns": int(z_values.shape[1])}, "c": c_names, "given": given_names or None,
        "n_rows": int(known.sum()), "n_missing": int(missing.sum()), "n_folds": found.n_folds, "seed": seed,
    }  # fmt: skip


def _pooled(columns: Columns) -> tuple[str, ...]:
    """The classes, by number, that probes do not tell from some other; none of numbers."""
    if not columns.discrete:
        return ()
    names = tuple(map(str, range(int(columns.c.max()) + 1)))
    return pooled_names(columns.c, np.ones(len(columns.c), dtype=bool), names)


def _columns_of(arrays: NamedArrays, name: str, option: str) -> list[str]:
    found = [name] if name in arrays.names else [n for n in arrays.names if n.startswith(name)]
    if not found:
        raise DataError(f"{arrays.path}: no column {name!r} ({option}){did_you_mean(name, arrays.names)}")
    return found


def _read(arrays: NamedArrays, names: Sequence[str], kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n,) int64 or numbers (n, k) float64, and where one is missing (n,)."""
    where = f"{arrays.path}: {', '.join(names)}"
    # one column may be a matrix in a .safetensors file
    columns = [part for values in map(arrays.read, names) for part in np.atleast_2d(values.T)]
    if len({len(column) for column in columns}) > 1:
        raise DataError(f"{arrays.path}: columns {', '.join(names)} differ in their numbers of rows")
    text = any(column.dtype == object for column in columns)
    if text and kind == "continuous":
        raise DataError(f"{where} holds text, so it cannot be continuous (--kind)")
    missing = np.any([_missing(column) for column in columns], axis=0)
    if missing.all():
        raise DataError(f"{where} is missing in every row")
    if kind == "continuous" or (kind == "auto" and not all(_are_classes(column[~missing]) for column in columns)):
        if text:
            raise DataError(f"{where} holds text beside numbers; name one column, or --kind discrete")
        return np.stack(columns, axis=1).astype(np.float64), missing
    # several columns of classes are crossed: a mixed-radix number, one digit for each
    codes = np.zeros(len(missing), dtype=np.int64)
    for column in columns:
        known = column[~missing]
        values, code = np.unique(known.astype(str) if column.dtype == object else known, return_inverse=True)
        codes[~missing] = codes[~missing] * len(values) + code.reshape(-1)
    n_classes, n_known = len(np.unique(codes[~missing])), int((~missing).sum())
    if n_classes > MOST_CROSSED or n_classes > 0.5 * n_known:
        raise EvaluationError(
            f"{where} has {n_classes} distinct values in {n_known} rows, too many "
            "for classes; group them, or say --kind continuous where they are numbers"
        )
    return codes, missing


def _missing(column: np.ndarray) -> np.ndarray:
    if column.dtype == object:
        return np.array([value is None for value in column])
    return ~np.isfinite(column) if np.issubdtype(column.dtype, np.floating) else np.zeros(len(column), dtype=bool)


def _are_classes(column: np.ndarray) -> bool:
    """Text, truth values, two values of any kind, or few whole numbers."""
    if column.dtype == object or column.dtype == bool:
        return True
    values = np.unique(column)
    return len(values) <= 2 or (len(values) <= MOST_CLASSES and bool((values == np.round(values)).all()))


def _compact(values: np.ndarray) -> np.ndarray:
    """Classes renumbered from 0 without gaps; numbers as they are."""
    if not np.issubdtype(values.dtype, np.integer):
        return values
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
