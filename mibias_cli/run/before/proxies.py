"""Inputs of a table that are its target or an attribute once more, found in a sample of training rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.input_rules import TableRules
from mibias_cli.data.table_encoder import NumberColumn, TableEncoder
from mibias_cli.recipe.sections.data import TableData
from mibias_cli.run.assemble import Parts
from mibias_cli.survey.proxies import closest, once_more

__all__ = ["proxy_notes"]

SAMPLED_ROWS = 4096
"""Training rows that are looked at: what one column tells of another shows in far fewer."""


def proxy_notes(parts: Parts) -> Iterator[str]:
    """Notes of inputs that tell the target or an attribute wholly or nearly, as `mibias init` has them."""
    data, section = parts.data, parts.recipe.data
    if not isinstance(data.inputs, TableRules) or not isinstance(section, TableData):
        return
    # an input of the attribute's own column is the attribute itself, which loading says
    columns = {name: attribute.column for name, attribute in section.attributes.items()}
    train = data.train.at(spread_rows(len(data.train), SAMPLED_ROWS))
    inputs = dict(_codes(data.inputs.encoder, train.reader.read(train.rows, None).numpy()))
    for name in data.attributes:
        own = np.where(train.known[name], train.c[name][:, 0].astype(np.float64), np.nan)
        others = [(other, codes) for other, codes in inputs.items() if other not in (name, columns.get(name))]
        yield from once_more(name, closest(own, others), are_inputs=True)
    if data.target.kind == "none":
        return
    each = train.y.reshape(len(train), -1).T
    for k, y in enumerate(each):
        which = None if len(each) == 1 else data.target.columns[k]
        yield from once_more(which, closest(y.astype(np.float64), inputs.items()), are_inputs=True)


def _codes(encoder: TableEncoder, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The columns behind inputs x (n, d), by name, as `closest` takes them; missing where of no category, too."""
    at = 0
    for column in encoder.columns:
        block = x[:, at : at + len(column.input_names)]
        at += len(column.input_names)
        if isinstance(column, NumberColumn):
            yield column.name, np.where(block[:, 1] > 0, np.nan, block[:, 0]) if column.marks_missing else block[:, 0]
        else:
            yield column.name, np.where(block.any(axis=1), block.argmax(axis=1), -1)
