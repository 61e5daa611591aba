"""How much columns tell of a target, with intervals, and with p-values that allow for how many columns were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.statistics.information import counts_table, entropy_of_shares, mutual_information_bits
from mibias_cli.evaluation.statistics.permutation import ShuffledRows, permutation_p_value
from mibias_cli.evaluation.statistics.resampling import Resamples, bootstrap_interval

__all__ = ["CONFIDENCE", "LEVEL", "Codes", "Told", "rank"]

LEVEL = 0.01
"""A column is a shortcut below this corrected p-value: one data set in a hundred without any has one flagged."""
CONFIDENCE = 0.95
_SHUFFLES = 999
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Codes:
    """A column as classes: indices (n,), their names, and whether they are bins of numbers."""

    codes: np.ndarray
    names: tuple[str, ...]
    is_number: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one column tells: I(column; y) in bits with its interval, by which binning, and the corrected p-value."""

    column: Codes
    bits: Interval
    p_value: float


def rank(columns: Mapping[str, Sequence[Codes]], y: Codes, *, group: np.ndarray | None, seed: int) -> dict[str, Told]:
    """What every column tells of the target, the strongest first; equal ones stay in the order in which they come.

    The p-value is that of the largest of all columns under shuffled targets (Westfall and Young's single step): the
    chance that any of them tells so much where none tells anything. With groups, whole groups are shuffled and drawn.

    Args:
        columns: By name, in every binning that is tried; what a column tells is what its best binning tells new rows.
        y: The target.
        group: Group ids (n,), or None.
        seed: Of shuffles and resamples.

    References: Westfall and Young, "Resampling-based multiple testing" (1993).
    """
    if not columns:
        return {}
    tried = [(name, binning) for name, binnings in columns.items() for binning in binnings]
    observed = np.array([_plug_in(_table(binning, y)) for _, binning in tried])
    null = _shuffled_bits([binning for _, binning in tried], y, group, seed)
    # 2n·ln 2 times the counted bits is χ² under the null, of as many degrees as a column has cells; its cube root is
    # nearly normal, so that columns of few and of many cells are compared on one scale
    roots = np.cbrt(np.maximum(np.concatenate([observed[None], null]), 0.0))
    spread = roots.std(axis=0)
    scores = (roots - roots.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    largest = scores[1:].max(axis=1)
    resamples = Resamples(len(y.codes), _RESAMPLES, group=group, seed=seed)
    told = {}
    for name, binnings in columns.items():
        score = max(float(score) for (whose, _), score in zip(tried, scores[0], strict=True) if whose == name)
        best = max(binnings, key=lambda binning: _bits_for_new_rows(binning, y))
        p_value = permutation_p_value(score, largest)
        told[name] = Told(column=best, bits=_interval(best, y, resamples), p_value=p_value)
    return dict(sorted(told.items(), key=lambda item: -item[1].bits.estimate))


def _bits_for_new_rows(column: Codes, y: Codes) -> float:
    """I(column; y) less what cells cost once more: as many bits as counting finds by chance are lost on new rows."""
    table = _table(column, y)
    corrected = mutual_information_bits(column.codes, y.codes, *table.shape)
    return corrected - (float(_plug_in(table)) - corrected)


def _table(column: Codes, y: Codes) -> np.ndarray:
    return counts_table(column.codes, y.codes, len(column.names), len(y.names))


def _plug_in(tables: np.ndarray) -> np.ndarray:
    """I in bits of tables of counts or shares (…, n_c, n_y), by counting."""
    p = tables / tables.sum(axis=(-2, -1), keepdims=True)
    whole = entropy_of_shares(p.reshape(*p.shape[:-2], -1))
    return entropy_of_shares(p.sum(axis=-1)) + entropy_of_shares(p.sum(axis=-2)) - whole


def _shuffled_bits(columns: Sequence[Codes], y: Codes, group: np.ndarray | None, seed: int) -> np.ndarray:
    """Counted bits (shuffles, columns) of every column where rows, or whole groups, swap their targets."""
    widths = [len(column.names) for column in columns]
    ends = np.cumsum(widths)[:-1]
    # all columns' tables of a chunk of shuffles are one product of zeros and ones
    marks = np.concatenate([np.eye(len(x.names), dtype=np.float32)[x.codes] for x in columns], axis=1)
    targets = np.eye(len(y.names), dtype=np.float32)[y.codes]
    found = []
    for rows in ShuffledRows(len(y.codes), _SHUFFLES, group=group, seed=seed):
        tables = np.tensordot(marks, targets[rows], axes=([0], [1])).astype(np.float64)
        found.append(np.stack([_plug_in(part.swapaxes(0, 1)) for part in np.split(tables, ends)], axis=1))
    return np.concatenate(found)


def _interval(column: Codes, y: Codes, resamples: Resamples) -> Interval:
    """The corrected bits, with the bootstrap's interval around them."""
    n_c, n_y = len(column.names), len(y.names)
    cell = column.codes * n_y + y.codes
    # cells that no row is in stay empty in every resample
    used = np.unique(cell)
    shares = np.zeros((_RESAMPLES, n_c * n_y))
    shares[:, used] = resamples.means((cell[:, None] == used).astype(np.float64))
    draws = _plug_in(shares.reshape(-1, n_c, n_y))
    bits = mutual_information_bits(column.codes, y.codes, n_c, n_y)
    return bootstrap_interval(bits, draws, CONFIDENCE, n_units=resamples.n_units)
