"""Text columns into labels: targets into classes, attributes into classes or numbers with quantile bins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

import numpy as np

from mibias_cli.data.batch import Attribute
from mibias_cli.data.files.tabular import AttributeColumn, Table, first_rows, numbers
from mibias_cli.errors import DataError

__all__ = ["MANY", "bin_names", "encode_attribute", "encode_kept", "encode_target", "sorted_names"]

MANY = 10
"""A column of numbers with more different values than this is taken for a quantity, not for classes."""


def encode_target(table: Table, column: str, in_training: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets (n,) int64 and the names of their classes, which are those of the training rows, sorted.

    Args:
        table: All rows in use.
        column: The target's column.
        in_training: (n,) bool.

    Raises:
        DataError: A target is missing, training has one class alone, or a class occurs outside training only.
    """
    values = table.columns[column]
    empty = np.array([v is None for v in values])
    if empty.any():
        rows = first_rows(table.row_numbers[empty])
        raise DataError(
            f"{table.path}: {empty.sum()} row(s) have no target in {column!r}: rows {rows}; fill them or take them out"
        )
    names = sorted_names(set(values[in_training]))
    if len(names) < 2:
        raise DataError(f"{table.path}: {column!r} has one class in training, {names[0]!r}; a task needs two or more")
    unseen = sorted_names(set(values) - set(names))
    if unseen:
        counted = [f"{name!r} ({np.sum(values == name)} rows)" for name in unseen]
        raise DataError(
            f"{table.path}: {len(unseen)} class(es) of {column!r} are in no training row: {first_rows(counted)}; "
            f"training has {first_rows([repr(n) for n in names], 20)}{_if_numbers(table, column, names)}"
        )
    return _codes(values, names), names


def _if_numbers(table: Table, column: str, names: tuple[str, ...]) -> str:
    """What to say of a column of very many different numbers."""
    if len(names) <= MANY or numbers(table.columns[column])[1].any():
        return ""
    return "; if these numbers are a quantity, set data.target_kind to regression"


def encode_attribute(
    name: str, spec: AttributeColumn, table: Table, in_training: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Attribute]:
    """Values (n, 1), known (n,) and the attribute itself.

    A missing value makes the row unknown, which is no error: debiasing and audit leave such rows out.

    Args:
        name: The attribute's name.
        spec: Its column and kind.
        table: All rows in use.
        in_training: (n,) bool: the rows from which bin edges are taken.

    Raises:
        DataError: All values are missing (in all rows, or for bins in training), or values are no numbers.
    """
    column = spec.column or name
    values = table.columns[column]
    known = np.array([v is not None for v in values])
    if not known.any():
        raise DataError(f"{table.path}: attribute {name!r}: column {column!r} is empty in every row")
    if spec.kind == "continuous":
        return _continuous(name, spec, table, known, in_training)
    class_names = sorted_names(set(values[known]))
    codes = np.zeros(len(values), dtype=np.int64)
    codes[known] = _codes(values[known], class_names)
    attribute = Attribute(
        name=name,
        kind="categorical",
        channels=(name,),
        n_classes=(len(class_names),),
        class_names=(class_names,),
    )
    return codes[:, None], known, attribute


def encode_kept(name: str, table: Table, in_training: np.ndarray) -> tuple[np.ndarray, np.ndarray, Attribute]:
    """A column as `encode_attribute` gives it, continuous where it holds numbers of more than MANY different values.

    Args:
        name: The column.
        table: All rows in use.
        in_training: (n,) bool.

    Raises:
        DataError: The column is empty.
    """
    _, wrong = numbers(table.columns[name])
    several = len({v for v in table.columns[name] if v is not None}) > MANY
    kind: Literal["continuous", "categorical"] = "continuous" if several and not wrong.any() else "categorical"
    return encode_attribute(name, AttributeColumn(kind=kind), table, in_training)


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order: as numbers if all are numbers, else as text.

    Example:
        >>> sorted_names({"10", "9", "-1"}), sorted_names({"b", "a", "10"})
        (('-1', '9', '10'), ('10', 'a', 'b'))
    """
    listed = sorted(names)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    parsed, wrong = numbers(array)
    return tuple(listed) if wrong.any() else tuple(array[np.argsort(parsed, kind="stable")])


def _continuous(
    name: str, spec: AttributeColumn, table: Table, known: np.ndarray, in_training: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Attribute]:
    column = spec.column or name
    parsed, wrong = numbers(table.columns[column])
    if wrong.any():
        faults = zip(table.row_numbers[wrong], table.columns[column][wrong], strict=True)
        listed = [f"{row} ({value!r})" for row, value in faults]
        raise DataError(
            f"{table.path}: attribute {name!r} is continuous, but {wrong.sum()} value(s) of {column!r} are no finite "
            f"numbers: rows {first_rows(listed)}; fix them, empty the cells, or make the attribute categorical"
        )
    value = np.where(known, parsed, 0.0).astype(np.float32)
    training = value[known & in_training]
    if not len(training):
        raise DataError(f"{table.path}: attribute {name!r}: column {column!r} is empty in every training row")
    # edges in float32, as the values are: an edge must fall on the same side of a value everywhere
    inner = np.quantile(training.astype(np.float64), np.arange(1, spec.bins) / spec.bins).astype(np.float32)
    edges = tuple(float(edge) for edge in np.unique(inner) if edge > training.min())
    attribute = Attribute(
        name=name,
        kind="continuous",
        channels=(name,),
        n_classes=(len(edges) + 1,),
        class_names=(bin_names(edges),),
        bin_edges=(edges,),
    )
    return value[:, None], known, attribute


def bin_names(edges: tuple[float, ...]) -> tuple[str, ...]:
    """Names of the bins between inner edges.

    Example:
        >>> bin_names((10.0, 20.0))
        ('below 10', '10 to 20', '20 and above')
    """
    if not edges:
        return ("all",)
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return (f"below {edges[0]:g}", *between, f"{edges[-1]:g} and above")


def _codes(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    index = {name: k for k, name in enumerate(names)}
    return np.array([index[v] for v in values], dtype=np.int64)
