"""Impact ratios of a decision between two classes: each group's selection rate over the highest group's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.leakage_findings import Bounds
from mibias_cli.evaluation.statistics.inversion import lowest_gap_bounds, simultaneous_bounds
from mibias_cli.evaluation.task.fairness import Question
from mibias_cli.evaluation.task.fairness_intervals import selection_logarithms
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import ImpactFindings, ImpactGroup

__all__ = ["FOUR_FIFTHS", "SMALLEST_SHARE", "impact_findings", "impact_name"]

FOUR_FIFTHS = 0.8
"""Ratios below it are marked: the rule of thumb of 29 CFR 1607.4 D."""
SMALLEST_SHARE = 0.02
"""Groups of a smaller share of the rows have no ratio, as 6 RCNY § 5-301 (New York City) allows."""


def impact_name(attributes: Sequence[str]) -> str:
    """What the figures of one attribute, or of a crossing, are called: as a gate names them."""
    return ",".join(attributes)


def impact_findings(
    chosen: np.ndarray,
    attributes: Sequence[AuditedAttribute],
    channels: Mapping[str, str],
    *,
    positive_class: str,
    terms: Terms,
) -> ImpactFindings:
    """Selection rates and impact ratios of one attribute's groups, or of the groups in which several cross.

    Rows where one of the attributes is unknown belong to no group, and are counted. Groups that hold less than
    `SMALLEST_SHARE` of the other rows, or fewer than `terms.min_cell`, have a rate and no ratio, and are no reference.

    Args:
        chosen: Who gets the positive decision, (n,) bool.
        attributes, channels: What is crossed, and one channel of each by its name.
        positive_class: What the positive decision is called.
        terms: Resamples, confidence and the smallest group.
    """
    picked = [a.channels.index(channels[a.name]) for a in attributes]
    known = np.logical_and.reduce([a.known for a in attributes])
    codes = np.stack([a.c[:, k] for a, k in zip(attributes, picked, strict=True)], axis=1)
    # a group is one combination that occurs; −1 is none
    cells, member = np.unique(codes[known], axis=0, return_inverse=True)
    group = np.full(len(chosen), -1)
    group[known] = member.reshape(-1)
    sizes = np.bincount(group[known], minlength=len(cells))
    counted = (sizes >= SMALLEST_SHARE * known.sum()) & (sizes >= terms.min_cell)
    ratios, lowest = _ratios(chosen, group, np.flatnonzero(counted), terms)
    groups = {}
    for g, cell in enumerate(cells):
        rows = group == g
        lower, upper = terms.share_bounds(chosen, rows)
        ratio, bounds = ratios.get(g, (None, None))
        groups[" / ".join(a.class_names[k][v] for a, k, v in zip(attributes, picked, cell, strict=True))] = ImpactGroup(
            n=int(sizes[g]), counted=bool(counted[g]), selection_rate=float(chosen[rows].mean()),
            selection_rate_interval=Bounds(lower=lower, upper=upper), impact_ratio=ratio,
            impact_ratio_interval=bounds, below_four_fifths=ratio is not None and ratio < FOUR_FIFTHS,
        )  # fmt: skip
    there = [ratio for ratio, _ in ratios.values()]
    return ImpactFindings(
        positive_class=positive_class, attributes=tuple(a.name for a in attributes),
        channels=tuple(channels[a.name] for a in attributes), n_unknown=int((~known).sum()),
        lowest_impact_ratio=min(there, default=None), lowest_impact_ratio_interval=lowest, groups=groups,
    )  # fmt: skip


def _ratios(
    chosen: np.ndarray, group: np.ndarray, counted: np.ndarray, terms: Terms
) -> tuple[dict[int, tuple[float, Bounds]], Bounds | None]:
    """Each counted group's ratio to the highest rate with its interval, and that of the least; empty without a rate."""
    rates = [float(chosen[group == g].mean()) for g in counted]
    # one group has nobody to be compared with, and 0 / 0 is no ratio
    if len(counted) < 2 or max(rates) == 0:
        return {}, None
    member = np.full(len(group), -1)
    for index, g in enumerate(counted):
        member[group == g] = index
    question = Question(chosen=chosen, true=chosen, member=member, n_groups=len(counted))
    logarithms, errors = selection_logarithms(question, terms)
    found = {}
    for index, g in enumerate(counted):
        ratio = rates[index] / max(rates)
        found[int(g)] = ratio, _around(ratio, *lowest_gap_bounds(logarithms[0], errors[:, 0], index, terms.confidence))
    low, high = simultaneous_bounds(logarithms, errors, terms.confidence)
    return found, _around(min(ratio for ratio, _ in found.values()), -high, -low)


def _around(ratio: float, lower: float, upper: float) -> Bounds:
    """The interval of a ratio from that of its logarithm; it holds the ratio, also one of 0, which has none."""
    return Bounds(lower=min(float(np.exp(lower)), ratio), upper=max(float(np.exp(upper)), ratio))
