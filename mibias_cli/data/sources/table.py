"""Columns of a table as inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import annotate, assemble, spelling_notes
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.files.tabular import AS_USUAL, Reading, first_rows, read_table, refuse_nested, require_columns
from mibias_cli.data.input_rules import TableRules, Unseen
from mibias_cli.data.table_encoder import CategoryColumn, fit_encoder
from mibias_cli.data.table_inputs import copies_note, doubts, held_out_notes, left_out, left_out_note
from mibias_cli.errors import DataError

__all__ = ["load_table"]


def load_table(
    path: Path,
    *,
    columns: Columns = DEFAULT_COLUMNS,
    splits: SplitRule = DEFAULT_SPLITS,
    attributes: Mapping[str, AttributeColumn],
    features: Sequence[str] | None = None,
    ramps: int | None = None,
    categories: Sequence[str] = (),
    unseen: Unseen = "error",
    reading: Reading = AS_USUAL,
    seed: int = 0,
) -> BiasedData:
    """A table whose columns are the inputs (n, d) float32.

    Args:
        path: The table's file.
        columns, splits, attributes, seed: See `annotate`.
        reading: How text is read.
        features: The feature columns; None: all that are no target, attribute, split or group, and none of `left_out`.
        categories: Columns whose values are categories, whatever they look like.
        unseen: What a category that training does not have is in new data; in these rows it is all zeros.
        ramps: Numbers are also given as at most so many ramps each, see `fit_encoder`.

    Raises:
        DataError: Columns or values are missing or wrong; there is no feature; the target is among the features.
    """
    table = read_table(path, reading=reading)
    # whatever has another role is no feature, unless it is named as one
    of_rows = {columns.split, columns.group, columns.forget}
    taken = {*columns.named, *of_rows} | {spec.column or name for name, spec in attributes.items()}
    if features is None:
        refuse_nested(table)
    chosen = list(features) if features is not None else [name for name in table.columns if name not in taken]
    out = {} if features is not None else left_out(table, [name for name in chosen if name not in categories])
    chosen = [name for name in chosen if name not in out]
    wanted = {f"data.features[{k}]": name for k, name in enumerate(chosen)}
    require_columns(table, wanted | {f"data.categories[{k}]": name for k, name in enumerate(categories)})
    if not chosen:
        why = f" ({first_rows([f'{name!r}: {what}' for name, what in out.items()])})" if out else ""
        raise DataError(f"{path}: no feature columns{why}; name some in data.features")
    # a target among the inputs is no task
    for target in columns.targets:
        if target in chosen:
            raise DataError(f"{path}: the target {target!r} is among data.features; take it out")
    told = [name for name in chosen if name in {spec.column or name for name, spec in attributes.items()}]
    annotations = annotate(table, columns=columns, attributes=attributes, splits=splits, seed=seed)
    encoder = fit_encoder(annotations.table, chosen, annotations.role == 0, ramps=ramps, categories=categories)
    x = encoder.encode(annotations.table)
    trained = x[annotations.role == 0]
    if (trained == trained[:1]).all():
        raise DataError(
            f"{path}: all inputs ({first_rows(encoder.input_names)}) have one value in all {len(trained):,} training "
            "rows, so they tell nothing; name columns that vary in data.features"
        )
    numeric = [name for name in chosen if name not in categories]
    worded = [column.name for column in encoder.columns if isinstance(column, CategoryColumn)]
    read_off = f"{path}: an attribute is among the inputs, so a model can read it off them: {first_rows(told)}"
    many = f"{path}: columns of many categories, an input each: {first_rows(encoder.wide)}; leave out what is an id"
    return assemble(
        annotations,
        ArrayReader(x),
        row_names=annotations.row_names,
        contents={"features": encoder.input_names, "x": x},
        inputs=TableRules(encoder=encoder, unseen=unseen, reading=reading),
        notes=[
            *left_out_note(path, out),
            *doubts(annotations.table, numeric),
            *spelling_notes(annotations.table, worded),
            *copies_note(path, x, annotations.role),
            *held_out_notes(annotations.table.take(np.flatnonzero(annotations.role == 2)), encoder.columns),
            *([many] if encoder.wide else []),
            *([f"{read_off}; take it out of data.features unless it is to be an input"] if told else []),
        ],
    )
