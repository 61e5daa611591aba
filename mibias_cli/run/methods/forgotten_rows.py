"""Which rows an audit reads, and what becomes in it of those that were to be forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.groups import target_groups
from mibias_cli.evaluation.inputs import TrainedRows
from mibias_cli.evaluation.leakage_findings import Side
from mibias_cli.run.assemble import Parts
from mibias_cli.seeds import derive_seed

__all__ = ["Rows", "audited_rows", "chosen_rows", "retained_rows", "trained_rows"]

Rows = Mapping[str, np.ndarray]
"""Positions (n,) in splits, by name."""


def audited_rows(parts: Parts) -> Rows:
    """The samples on which the task head is fitted, and those that are audited; training rows to forget are beside."""
    most, seed, train = parts.recipe.evaluation.max_samples, parts.recipe.seed, parts.data.train

    def chosen(n: int, name: str) -> np.ndarray:
        return chosen_rows(n, most, derive_seed(seed, "audit", name))

    kept = train.retained[chosen(len(train.retained), train.name)]
    if train.forget is not None:
        forget = np.flatnonzero(train.forget)
        kept = np.sort(np.concatenate([kept, forget[chosen(len(forget), "forget")]]))
    return {train.name: kept, parts.data.audit.name: chosen(len(parts.data.audit), parts.data.audit.name)}


def retained_rows(data: BiasedData, rows: Rows) -> Rows:
    """The same without training rows that were to be forgotten: a head that is fitted must not learn them anew."""
    kept = rows[data.train.name]
    return {**rows, data.train.name: kept[np.isin(kept, data.train.retained)]}


def chosen_rows(n: int, limit: int, seed: int) -> np.ndarray:
    """Positions of at most `limit` of n samples, in order."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=limit, replace=False))


def trained_rows(parts: Parts, rows: Rows, said: Mapping[Side, np.ndarray | None]) -> TrainedRows | None:
    """What trained heads say of training rows, where some of these were to be forgotten and the target is classes."""
    heads, data = {side: p for side, p in said.items() if p is not None}, parts.data
    if data.train.forget is None or not heads or data.target.kind != "classes":
        return None
    kept = rows[data.train.name]
    group, audited = target_groups([data.attributes[name] for name in parts.debiased], data.train, data.audit)
    return TrainedRows(
        forget=data.train.forget[kept],
        y=data.train.y[kept],
        group=group[kept],
        audit_group=audited[rows[data.audit.name]],
        unit=None if data.train.group is None else data.train.group[kept],
        heads=heads,
    )
