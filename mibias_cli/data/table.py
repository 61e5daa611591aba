"""Typed columns of a table as inputs: numbers standardised, everything else one-hot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import annotate, assemble
from mibias_cli.data.arrays import ArrayReader
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.encoding import sorted_names
from mibias_cli.data.tabular import (
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
    seed: int = 0,
) -> BiasedData:
    """A table whose columns are the inputs (n, d) float32.

    Args:
        path: CSV or Parquet file.
        columns: Names of the target, split and group columns.
        splits: Which rows train, validate and are audited.
        attributes: The bias attributes, by name.
        features: The feature columns; None: all that are no target, attribute, split or group.
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
    x, names = encode_features(annotations.table, chosen, annotations.role == 0)
    row_names = [f"row {number}" for number in annotations.table.row_numbers]
    return assemble(annotations, ArrayReader(x), row_names=row_names, contents={"features": names, "x": x})


def encode_features(table: Table, features: Sequence[str], in_training: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Inputs (n, d) float32 and the name of each of the d.

    A column is numeric if all its values are numbers. Everything is fitted on training rows: numbers are standardised
    by their mean and standard deviation there, missing ones take the median and, where training has any, a further
    column marks them; other columns are one-hot over the categories of training (missing is one of them), and a
    category that training does not have is all zeros.

    Args:
        table: All rows in use.
        features: Columns to encode.
        in_training: (n,) bool.

    Raises:
        DataError: A number is infinite.
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
    return np.concatenate(blocks, axis=1), names


def _standardised(feature: str, parsed: np.ndarray, in_training: np.ndarray) -> tuple[np.ndarray, list[str]]:
    missing = np.isnan(parsed)
    filled = np.where(missing, np.nanmedian(parsed[in_training]), parsed)
    deviation = filled[in_training].std()
    scaled = (filled - filled[in_training].mean()) / (deviation if deviation > 0 else 1.0)
    if not missing[in_training].any():
        return scaled[:, None], [feature]
    return np.stack([scaled, missing], axis=1), [feature, f"{feature} missing"]


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
