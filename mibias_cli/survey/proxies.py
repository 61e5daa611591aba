"""Columns that are another column once more, spelt otherwise, binned, or nearly the same; and those that hardly are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy

from mibias_cli.data.columns import ColumnLook, numbers
from mibias_cli.data.encoding import quantile_edges
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.evaluation.statistics.information import entropy_of_shares, label_entropy_bits, mutual_information_bits

__all__ = [
    "PROXY", "association", "closest", "codes_of_numbers", "independence_note", "independence_p_value", "once_more",
    "proxies_of",
]  # fmt: skip

PROXY = 0.9
"""Association from which one column stands for another."""
_HARDLY = 0.01
_LEVEL = 0.05
"""Association below which, and p-value above which, an attribute is held to go with the target hardly or not at all."""
_MOST_BINS = 32
_ROWS_PER_BIN = 20
_FEWEST_BITS = 0.1
_ROWS_PER_VALUE = 5


def association(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) / min(H(a), H(b)) of codes (n,), between 0 and 1; 0 where either hardly varies.

    1 means that one of the two tells the other wholly: the same thing, or the same thing in coarser bins.

    Example:
        >>> age, band = np.arange(600) % 60, np.arange(600) % 60 // 20
        >>> round(association(age, band), 2)
        1.0
    """
    n_a, n_b = int(a.max()) + 1, int(b.max()) + 1
    smaller = min(label_entropy_bits(a, n_a), label_entropy_bits(b, n_b))
    if smaller < _FEWEST_BITS:
        return 0.0
    return float(np.clip(mutual_information_bits(a, b, n_a, n_b) / smaller, 0.0, 1.0))


def proxies_of(name: str, looks: Sequence[ColumnLook], table: Table, rows: np.ndarray) -> list[tuple[str, float]]:
    """The other columns whose association with a column is at least `PROXY`, the closest first.

    Args:
        name: The column.
        looks: Columns to compare with it.
        table: Their values.
        rows: A mask (n,) of the rows to look at: those of training.
    """
    own = _read(table.columns[name], rows)
    kinds = ("classes", "number", "text")
    return closest(
        own, ((x.name, _read(table.columns[x.name], rows)) for x in looks if x.name != name and x.kind in kinds)
    )


def closest(own: np.ndarray, others: Iterable[tuple[str, np.ndarray]]) -> list[tuple[str, float]]:
    """The columns (n,), by name, whose association with `own` (n,) is at least `PROXY`, the closest first.

    Columns are codes, −1 where missing, or numbers, NaN where missing. Rows in which one of the two is missing do not
    count: numbers get as many bins as the others are enough for. Where few rows are left for each value nothing is
    said.
    """
    found = []
    there = _known(own)
    whole = _coded(own[there])
    for name, other in others:
        both = there & _known(other)
        # most columns have no gaps, and then it is the same for all of them
        pair = [whole if both.sum() == len(whole) else _coded(own[both]), _coded(other[both])]
        # a value of its own in nearly every row goes with everything
        if any(_ROWS_PER_VALUE * (int(codes.max(initial=0)) + 1) > both.sum() for codes in pair):
            continue
        if (share := association(*pair)) >= PROXY:
            found.append((name, share))
    return sorted(found, key=lambda pair: -pair[1])


def once_more(name: str | None, found: Sequence[tuple[str, float]], *, are_inputs: bool) -> list[str]:
    """A note that the columns that `closest` found are this attribute, or, for None, the target, once more; or none."""
    if not found:
        return []
    listed = first_rows([f"{other} (association {share:.2f})" for other, share in found])
    what = "the target" if name is None else name
    inputs = ", among the inputs; data.features leaves it out where it names the others" if are_inputs else ""
    return [f"{listed}: {what} once more, spelt otherwise or binned{inputs}"]


def independence_p_value(cells: np.ndarray) -> float:
    """Pearson's χ² test of independence of counts (n_y, n_c); 1 where either of the two does not vary.

    References: Pearson, "On the criterion that a given system of deviations …" (1900).

    Example:
        >>> round(independence_p_value(np.array([[30, 10], [10, 30]])), 7)
        7.7e-06
    """
    there = cells[cells.any(axis=1)][:, cells.any(axis=0)].astype(np.float64)
    expected = there.sum(axis=1, keepdims=True) * there.sum(axis=0) / there.sum()
    freedom = (there.shape[0] - 1) * (there.shape[1] - 1)
    return float(scipy.special.chdtrc(freedom, ((there - expected) ** 2 / expected).sum())) if freedom else 1.0


def independence_note(name: str, cells: np.ndarray, shared_bits: float) -> str | None:
    """What is said of an attribute that goes with the target hardly or not at all, or does not vary; else None.

    `cells` are rows by target and attribute (n_y, n_c), `shared_bits` I(y; c).
    """
    if np.count_nonzero(cells.any(axis=0)) == 1:
        return f"{name} has one value in training: nothing shows what it changes, and nothing of it can be taken out"
    p_value = independence_p_value(cells)
    most = min(float(entropy_of_shares(cells.sum(axis=axis) / cells.sum())) for axis in (0, 1))
    is_small = shared_bits < _HARDLY * most
    if not is_small and p_value <= _LEVEL:
        return None
    how = "hardly go together" if is_small else "go together no more than by chance"
    return (
        f"{name} and the target {how} in training: {max(shared_bits, 0):.3f} of {most:.3f} bits, p = {p_value:.2g} (χ² "
        f"test of {cells.sum():,} rows): the task gives a model little reason to use {name}, so there may be no bias "
        "to remove. This recipe lowers what features tell of it all the same; its report says how much that was before"
    )


def _read(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Text (n,) as numbers, or as codes where some is none; missing where it is, and in rows not looked at."""
    parsed, wrong = numbers(values)
    known = np.array([v is not None for v in values], dtype=bool) & rows
    if not wrong[rows].any():
        return np.where(rows, parsed, np.nan)
    codes = np.full(len(values), -1, dtype=np.int64)
    codes[known] = np.unique(values[known].astype(str), return_inverse=True)[1]
    return codes


def _known(column: np.ndarray) -> np.ndarray:
    return ~np.isnan(column) if column.dtype.kind == "f" else column >= 0


def _coded(column: np.ndarray) -> np.ndarray:
    """Known numbers in quantile bins, or known codes, as codes without gaps."""
    codes = codes_of_numbers(column) if column.dtype.kind == "f" and len(column) else column
    return np.unique(codes, return_inverse=True)[1]


def codes_of_numbers(values: np.ndarray) -> np.ndarray:
    """Codes (n,) of numbers (n,): quantile bins, or each number by itself where there are few different ones."""
    n_bins = min(_MOST_BINS, max(2, len(values) // _ROWS_PER_BIN))
    different, codes = np.unique(values, return_inverse=True)
    if len(different) <= n_bins:
        return codes
    values = values.astype(np.float32)
    return np.searchsorted(quantile_edges(values, n_bins), values, side="right")
