"""Attribute columns into classes, or into numbers with quantile bins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mibias_cli.data.batch import Attribute
from mibias_cli.data.columns import AttributeColumn, is_quantity, numbers, refuse_misfits, sorted_names
from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.tabular import Table
from mibias_cli.errors import DataError

__all__ = [
    "MAX_CLASSES", "bin_names", "class_codes", "encode_attribute", "encode_kept", "identifier_notes", "quantile_edges",
    "shared_column_notes",
]  # fmt: skip


MAX_CLASSES = 1000
"""Values of one attribute: each needs rows to be learnt from, and an output of every head and probe."""
_FEWEST_OF_IDENTIFIERS = 10
"""In fewer rows values may all differ by chance."""
_FEW_ROWS = 5
"""Rows of a class on average, below which it is told that they are few."""


def encode_attribute(
    name: str, spec: AttributeColumn, table: Table, in_training: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Attribute]:
    """Values (n, 1), known (n,) and the attribute itself; `in_training` (n,) bool marks the rows that shape its bins.

    A missing value makes the row unknown, which is no error: debiasing and audit leave such rows out.

    Raises:
        DataError: All values are missing (in all rows, or for bins in training), or values are no numbers.
    """
    column = spec.column or name
    values = table.coded(column)
    known = values.known
    if not known.any():
        raise DataError(f"{table.path}: attribute {name!r}: column {column!r} is empty in every row")
    if spec.kind == "continuous":
        return _continuous(name, spec, table, known, in_training)
    # classes of all rows, not of training alone: the audit may meet a hospital that training never saw
    class_names = sorted_names(values.counts)
    if len(class_names) > MAX_CLASSES:
        raise DataError(
            f"{table.path}: attribute {name!r}: column {column!r} has {len(class_names):,} values, and at most "
            f"{MAX_CLASSES:,} can be told apart; group them, or set kind: continuous where they are numbers"
        )
    n_known = int(known.sum())
    if len(class_names) == n_known >= _FEWEST_OF_IDENTIFIERS:
        raise DataError(
            f"{table.path}: attribute {name!r}: column {column!r} has another value in each of its {n_known:,} rows, "
            "as an identifier has, and nothing can be learnt of it; name a column whose values come back, or set kind: "
            "continuous where they are numbers"
        )
    return class_codes(values, class_names)[:, None], known, _attribute(name, class_names)


def identifier_notes(table: Table, attributes: Mapping[str, AttributeColumn]) -> Iterator[str]:
    """Notes of attributes of classes that hardly come back: what identifiers of people, sites or files are like."""
    for name, spec in attributes.items():
        column = spec.column or name
        counts = table.coded(column).counts
        n_classes, n = len(counts), sum(counts.values())
        if spec.kind == "categorical" and n_classes >= _FEWEST_OF_IDENTIFIERS and n < _FEW_ROWS * n_classes:
            yield (
                f"{table.path}: attribute {name!r}: {n_classes:,} values in {n:,} rows, as identifiers have; "
                "so few rows of each say little about it: group them, or set kind: continuous where they are numbers"
            )


def shared_column_notes(table: Table, attributes: Mapping[str, AttributeColumn]) -> Iterator[str]:
    """Notes of two attributes of one column, as classes and as numbers, or in other bins."""
    for (name, one), (other, two) in itertools.combinations(attributes.items(), 2):
        if (one.column or name) == (two.column or other):
            read = [f"as {'classes' if a.kind == 'categorical' else f'numbers in {a.bins} bins'}" for a in (one, two)]
            yield (
                f"{table.path}: attributes {name!r} ({read[0]}) and {other!r} ({read[1]}) both read column "
                f"{one.column or name!r}: what tells one tells the other, and debiasing counts it twice; leave one of "
                "them out of debias.attributes where that is not meant"
            )


def _attribute(name: str, classes: tuple[str, ...], edges: tuple[float, ...] | None = None) -> Attribute:
    """An attribute of one channel: of classes, or, where there are edges, of numbers in bins."""
    return Attribute(
        name=name,
        kind="categorical" if edges is None else "continuous",
        channels=(name,),
        n_classes=(len(classes),),
        class_names=(classes,),
        bin_edges=None if edges is None else (edges,),
    )


def encode_kept(name: str, table: Table, in_training: np.ndarray) -> tuple[np.ndarray, np.ndarray, Attribute]:
    """A column as `encode_attribute` gives it, continuous where it looks like a quantity.

    Raises:
        DataError: The column is empty, or some cells of a column of numbers are none.
    """
    refuse_misfits(table, name, "take the column out of evaluation.fidelity_columns")
    quantity = is_quantity(table.coded(name).values)
    return encode_attribute(name, AttributeColumn(kind="continuous" if quantity else "categorical"), table, in_training)


def _continuous(
    name: str, spec: AttributeColumn, table: Table, known: np.ndarray, in_training: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Attribute]:
    column = spec.column or name
    refuse_misfits(table, column, "make the attribute categorical")
    coded = table.coded(column)
    parsed, wrong = (found[coded.codes] for found in numbers(coded.values))
    if wrong.any():
        raise DataError(
            f"{table.path}: attribute {name!r} is continuous, but {wrong.sum()} value(s) of {column!r} are no finite "
            f"numbers: rows {table.rows_where(wrong, column)}; fix them, empty the cells, or make the attribute "
            "categorical"
        )
    value = np.where(known, parsed, 0.0).astype(np.float32)
    training = value[known & in_training]
    if not len(training):
        raise DataError(f"{table.path}: attribute {name!r}: column {column!r} is empty in every training row")
    edges = quantile_edges(training, spec.bins)
    return value[:, None], known, _attribute(name, bin_names(edges), edges)


def quantile_edges(values: np.ndarray, n_bins: int) -> tuple[float, ...]:
    """Inner edges that cut float32 values (n,) into at most so many bins of about equal size, none of them empty.

    scikit-learn's KBinsDiscretizer has its edges in float64: a value could fall on either side of them by its type.
    """
    inner = np.quantile(values.astype(np.float64), np.arange(1, n_bins) / n_bins)
    # in float32, as the values are, so that a value and an edge compare alike everywhere
    distinct = np.unique(inner.astype(np.float32))
    # an edge at the smallest value would leave the bin below it empty
    return tuple(float(edge) for edge in distinct if edge > values.min())


def bin_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Names of the bins between inner edges.

    Example:
        >>> bin_names((10.0, 20.0))
        ('below 10', '10 to 20', '20 and above')
    """
    if not edges:
        return ("all",)
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return (f"below {edges[0]:g}", *between, f"{edges[-1]:g} and above")


def class_codes(column: Coded, names: Sequence[str]) -> np.ndarray:
    """The position in `names` (n,) int64 of each row's value, 0 where it is missing."""
    index: dict[str | None, int] = {None: 0}
    index |= {name: k for k, name in enumerate(names)}
    return np.array([index[v] for v in column.values], dtype=np.int64)[column.codes]
