"""Small cells left out of a report: one sample of a rare group with a rare class may be somebody whom readers know."""

from __future__ import annotations

from typing import TypeVar

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import ChannelFindings, ColumnFindings
from mibias_cli.evaluation.record import Record
from mibias_cli.evaluation.task_findings import Confusion, FairnessFindings

__all__ = ["UNNAMED", "without_small_cells"]

UNNAMED = ("(not named)",)
"""In place of names of groups that may be small."""

R = TypeVar("R", bound=Record)


def without_small_cells(record: R, least: int) -> R:
    """The same findings without every cell and group of fewer than `least` samples, empty ones too, wherever it stands.

    Lists of names of groups that are small, without their sizes, say that there are some. How many samples are of no
    group stays: it is the difference of other counts.

    Figures over all samples stay; cells that are left out could be told from them and from the other cells, where only
    one of a table is. 0: nothing is left out.
    """
    if least < 2:
        return record
    values = {name: getattr(record, name) for name in type(record).model_fields}
    changed = {name: _kept(value, least) for name, value in values.items() if isinstance(value, Record | tuple | dict)}
    return record.model_copy(update=changed | _unnamed(record, least))


def _unnamed(record: Record, least: int) -> dict[str, object]:
    """What a record tells of small groups beside cells of its own."""
    if isinstance(record, ChannelFindings | ColumnFindings) and record.pooled:
        return {"pooled": UNNAMED}
    if isinstance(record, FairnessFindings) and record.groups_left_out:
        return {"groups_left_out": UNNAMED}
    rows = record.forgetting if isinstance(record, AuditFindings) else None
    # none that is compared is no group of few
    if rows is not None and any(0 < n < least for n in (rows.n_forgotten, rows.n_retained, rows.n_compared)):
        return {"forgetting": None}
    return {}


def _kept(value: object, least: int) -> object:
    if isinstance(value, tuple):
        return tuple(_kept(item, least) for item in value if not _is_small(item, least))
    if isinstance(value, dict):
        return {key: _kept(item, least) for key, item in value.items() if not _is_small(item, least)}
    return without_small_cells(value, least) if isinstance(value, Record) else value


def _is_small(value: object, least: int) -> bool:
    if isinstance(value, Confusion) and any(0 < n < least for row in value.counts for n in row):
        return True
    # a cell of none, too: beside cells that are left out it would name their group, and say where its samples are not
    n = getattr(value, "n", None) if isinstance(value, Record) else None
    return n is not None and n < least
