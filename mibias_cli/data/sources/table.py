"""Typed columns of a table as inputs: numbers standardised (and as ramps), everything else one-hot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import annotate, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.encoding import sorted_names
from mibias_cli.data.files.arrays import ArrayReader
from mibias_cli.data.files.tabular import (
    DEFAULT_COLUMNS,
    DEFAULT_SPLITS,
    AttributeColumn,
    Columns,
    SplitRule,
    Table,
    first_rows,
    numbers,
    read_table,
    require_columns,
)
from mibias_cli.errors import DataError

__all__ = ["encode_features", "load_table"]


def load_table(
    path: Path,
    *,
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    features: Sequence[str] | None = None,
    ramps: int | None = None,
    seed: int = 0,
) -> BiasedData:
    """A table whose columns are the inputs (n, d) float32.

    Args:
        path: CSV or Parquet file.
        columns: Names of the target, split and group columns.
        splits: Which rows train, validate and are audited.
        attributes: The bias attributes, by name.
        features: The feature columns; None: all that are no target, attribute, split or group.
        ramps: Numbers are also given as at most so many ramps each, see `encode_features`.
        seed: Seed of a split by fractions.

    Raises:
        DataError: Columns or values are missing or wrong; there is no feature; the target is among the features.
    """
    table = read_table(path)
    taken = {*columns.named, columns.split, columns.group} | {spec.column or name for name, spec in attributes.items()}
    chosen = list(features) if features is not None else [name for name in table.columns if name not in taken]
    require_columns(table, {f"data.features[{k}]": name for k, name in enumerate(chosen)})
    if not chosen:
        raise DataError(f"{path}: no feature columns; name some in data.features")
    for target in columns.targets:
        if target in chosen:
            raise DataError(f"{path}: the target {target!r} is among data.features; take it out")
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    x, names = encode_features(annotations.table, chosen, annotations.role == 0, ramps=ramps)
    row_names = [f"row {number}" for number in annotations.table.row_numbers]
    return assemble(annotations, ArrayReader(x), row_names=row_names, contents={"features": names, "x": x})


def encode_features(
    table: Table, features: Sequence[str], in_training: np.ndarray, *, ramps: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """Inputs (n, d) float32 and the name of each of the d.

    A column is numeric if all its values are numbers. Everything is fitted on training rows: numbers are standardised
    by their mean and standard deviation there, missing ones take the median and, where training has any, a further
    column marks them; other columns are one-hot over the categories of training (missing is one of them), and a
    category that training does not have is all zeros.

    With `ramps` a number is followed by its piecewise-linear encoding: its range is cut at quantiles of its distinct
    values into at most so many pieces, and each input rises from 0 to 1 over one of them. A network then follows bends
    and spikes (taxed gains, sums just over a threshold) that it would take long to learn from one standardised number.

    Args:
        table: All rows in use.
        features: Columns to encode.
        in_training: (n,) bool.
        ramps: Most pieces per number; None: the number alone.

    Raises:
        DataError: A number is infinite.

    References:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, arXiv 2203.05556.
    """
    blocks: list[np.ndarray] = []
    names: list[str] = []
    for feature in features:
        values = table.columns[feature]
        parsed, wrong = numbers(values)
        _refuse_infinite(table, feature, wrong)
        numeric = feature not in table.text and not wrong.any() and not np.isnan(parsed[in_training]).all()
        block, block_names = (
            _standardised(feature, parsed, in_training) if numeric else _one_hot(feature, values, in_training)
        )
        blocks.append(block.astype(np.float32))
        names += block_names
        if numeric and ramps is not None:
            block, block_names = _ramps(feature, parsed, in_training, ramps)
            blocks.append(block.astype(np.float32))
            names += block_names
    return np.concatenate(blocks, axis=1), names


def _standardised(feature: str, parsed: np.ndarray, in_training: np.ndarray) -> tuple[np.ndarray, list[str]]:
    missing = np.isnan(parsed)
    filled = np.where(missing, np.nanmedian(parsed[in_training]), parsed)
    deviation = filled[in_training].std()
    scaled = (filled - filled[in_training].mean()) / (deviation if deviation > 0 else 1.0)
    if not missing[in_training].any():
        return scaled[:, None], [feature]
    return np.stack([scaled, missing], axis=1), [feature, f"{feature} missing"]


def _ramps(feature: str, parsed: np.ndarray, in_training: np.ndarray, n: int) -> tuple[np.ndarray, list[str]]:
    """A number's way through each piece of its range, 0 to 1 (missing: the median's); a constant has no pieces."""
    known = parsed[in_training]
    filled = np.where(np.isnan(parsed), np.nanmedian(known), parsed)
    # of distinct values: a spike (91 % zeros, say) would swallow the quantiles of all
    edges = np.unique(np.quantile(np.unique(known[~np.isnan(known)]), np.linspace(0, 1, n + 1), method="nearest"))
    block = np.clip((filled[:, None] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
    return block, [f"{feature} from {low:g} to {high:g}" for low, high in pairwise(edges)]


def _one_hot(feature: str, values: np.ndarray, in_training: np.ndarray) -> tuple[np.ndarray, list[str]]:
    texts = np.array(["" if value is None else value for value in values], dtype=object)
    categories = sorted_names(set(texts[in_training]))
    block = np.stack([texts == category for category in categories], axis=1)
    return block, [f"{feature}={category}" for category in categories]


def _refuse_infinite(table: Table, feature: str, wrong: np.ndarray) -> None:
    if not wrong.any():
        return
    infinite = np.array([str(v).lower().lstrip("+-") in ("inf", "infinity") for v in table.columns[feature]])
    if infinite.any() and (infinite == wrong).all():
        rows = first_rows(table.row_numbers[infinite])
        raise DataError(
            f"{table.path}: {infinite.sum()} value(s) of {feature!r} are infinite: rows {rows}; empty the cells instead"
        )
