"""Columns of a table into rows of numbers: numbers standardised (and as ramps), everything else one-hot.

What is fitted on training rows is plain numbers and names, so that it can be written beside a model as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mibias_cli.data.columns import numbers, refuse_misfits, sorted_names
from mibias_cli.data.files.cells import are_number_lists, is_boundless
from mibias_cli.data.files.tabular import Table, texts
from mibias_cli.errors import DataError

__all__ = ["MANY_CATEGORIES", "CategoryColumn", "NumberColumn", "TableEncoder", "fit_encoder", "fit_number"]


MANY_CATEGORIES = 50


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A column of numbers as inputs: the number itself, whether it is missing, and its ramps.

    Args:
        name: The column.
        median: Takes the place of missing values.
        mean, scale: Of the training rows, for standardisation.
        marks_missing: Whether an input says that the value is missing: where training has any missing one.
        edges: The ends of the ramps, ascending; empty: no ramps.
    """

    name: str
    median: float
    mean: float
    scale: float
    marks_missing: bool
    edges: tuple[float, ...] = ()

    @property
    def input_names(self) -> list[str]:
        """The name of each input."""
        missing = [f"{self.name} missing"] if self.marks_missing else []
        return [self.name, *missing, *(f"{self.name} from {low:g} to {high:g}" for low, high in pairwise(self.edges))]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Inputs (n, d) float64 of text (n,)."""
        parsed, _ = numbers(values)
        missing = np.isnan(parsed)
        filled = np.where(missing, self.median, parsed)
        inputs = [(filled - self.mean) / self.scale, *([missing] if self.marks_missing else [])]
        edges = np.asarray(self.edges)
        # each ramp rises from 0 to 1 over its own piece and stays there (piecewise linear encoding, arXiv 2203.05556)
        ramps = np.clip((filled[:, None] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
        return np.concatenate([np.stack(inputs, axis=1), ramps], axis=1)


@dataclass(frozen=True, kw_only=True)
class CategoryColumn:
    """A column of categories as one-hot inputs; a missing value is the category of empty text, where training has it.

    A category that training does not have is all zeros.
    """

    name: str
    categories: tuple[str, ...]

    @property
    def input_names(self) -> list[str]:
        """The name of each input."""
        return [f"{self.name}={category}" for category in self.categories]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Inputs (n, d) of text (n,)."""
        return np.stack([_filled(values) == category for category in self.categories], axis=1)


@dataclass(frozen=True, kw_only=True)
class TableEncoder:
    """Everything that turns rows of a table into inputs, fitted on training rows; columns are in the inputs' order."""

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @property
    def input_names(self) -> list[str]:
        """The name of each of the d inputs."""
        return [name for column in self.columns for name in column.input_names]

    @property
    def wide(self) -> list[str]:
        """The columns of very many categories, with how many: identifiers or free text, perhaps."""
        many = [c for c in self.columns if isinstance(c, CategoryColumn) and len(c.categories) > MANY_CATEGORIES]
        return [f"{c.name!r} ({len(c.categories)})" for c in many]

    def encode(self, table: Table) -> np.ndarray:
        """Inputs (n, d) float32 of a table's rows, which need not be those that the encoder was fitted on."""
        blocks = [column.encode(table.columns[column.name]).astype(np.float32) for column in self.columns]
        return np.concatenate(blocks, axis=1)


def fit_encoder(
    table: Table,
    features: Sequence[str],
    in_training: np.ndarray,
    *,
    ramps: int | None = None,
    categories: Sequence[str] = (),
) -> TableEncoder:
    """The encoder of a table's feature columns; everything in it is taken from the rows `in_training` (n,) bool.

    A column is numeric if all its values are numbers, unless `categories` names it. With `ramps` a number is followed
    by its piecewise-linear encoding: its range is cut at quantiles of its distinct values into at most so many pieces,
    and each input rises from 0 to 1 over one of them. A network then follows bends and spikes (taxed gains, sums just
    over a threshold) that it would take long to learn from one standardised number.

    Raises:
        DataError: A number is infinite, a column holds lists as text, or some cells of a column of numbers are none.

    References:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, arXiv 2203.05556.
    """
    columns: list[NumberColumn | CategoryColumn] = []
    for name in features:
        values = table.columns[name]
        _refuse_lists(table, name)
        parsed, wrong = numbers(values)
        if name not in categories:
            _refuse_infinite(table, name, wrong)
            refuse_misfits(table, name, "name the column in data.categories if its values are categories")
        training = parsed[in_training]
        if name in table.text or name in categories or wrong.any() or np.isnan(training).all():
            found = sorted_names(set(_filled(values)[in_training]))
            columns.append(CategoryColumn(name=name, categories=found))
        else:
            columns.append(fit_number(name, training, ramps))
    return TableEncoder(columns=tuple(columns))


def fit_number(name: str, training: np.ndarray, ramps: int | None = None) -> NumberColumn:
    """A numeric column by its training rows (n,), NaN where missing."""
    from sklearn.preprocessing import StandardScaler

    missing = np.isnan(training)
    median = float(np.nanmedian(training))
    # the scale of a constant is 1, also where rounding gives it some tiny deviation
    scaler = StandardScaler().fit(np.where(missing, median, training)[:, None])
    edges: tuple[float, ...] = ()
    if ramps is not None:
        # quantiles of distinct values: a spike (91 % zeros, say) would swallow the quantiles of all
        cuts = np.quantile(np.unique(training[~missing]), np.linspace(0, 1, ramps + 1), method="nearest")
        edges = tuple(map(float, np.unique(cuts)))
    return NumberColumn(
        name=name,
        median=median,
        mean=float(scaler.mean_[0]),
        scale=float(scaler.scale_[0]),
        marks_missing=bool(missing.any()),
        edges=edges,
    )


def _filled(values: np.ndarray) -> np.ndarray:
    """Values with empty text where they are missing."""
    return texts(["" if value is None else value for value in values])


def _refuse_lists(table: Table, feature: str) -> None:
    """Arrays that were written as text would be categories of a row each."""
    known = [v for v in table.columns[feature] if v is not None]
    if are_number_lists(known):
        raise DataError(
            f"{table.path}: {feature!r} holds lists as text ({known[0][:40]!r}, …); store lists of numbers as such "
            "(.npz, .safetensors, or Parquet with a column of lists) and read them by data.source: embeddings, make a "
            "column of 0 and 1 for each word of others, or leave the column out of data.features"
        )


def _refuse_infinite(table: Table, feature: str, wrong: np.ndarray) -> None:
    """An infinite number among finite ones, or one too large to compute with, is a fault; text is a category."""
    if not wrong.any():
        return
    infinite = np.array([is_boundless(str(v)) for v in table.columns[feature]])
    if infinite.any() and (infinite == wrong).all():
        raise DataError(
            f"{table.path}: {infinite.sum()} value(s) of {feature!r} are infinite: "
            f"rows {table.rows_where(infinite)}; empty the cells instead (beyond 1e30 numbers count as infinite)"
        )
