"""Group fairness of predictions: parity, opportunity and odds as Fairlearn defines them, and bias amplification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.task_findings import FairnessFindings

__all__ = [
    "FIGURES", "FINDINGS", "Amplified", "Fairness", "Question", "bias_amplification", "fairness_figures",
    "fairness_findings", "worst_values",
]  # fmt: skip

FIGURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
)
FINDINGS = (*FIGURES, "bias_amplification")


def worst_values(found: Mapping[str, Sequence[float | None]]) -> dict[str, float | None]:
    """The worst of each figure, the smallest ratio and the largest of everything else; None where there is none."""
    there = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: (min if name.endswith("ratio") else max)(values, default=None) for name, values in there.items()}


def fairness_figures(y: np.ndarray, predicted: np.ndarray, c: np.ndarray, *, n_y: int) -> dict[str, float | None]:
    """The six figures of one grouping; with two classes the second is the positive one.

    With more classes each class against the rest is a binary question, and a figure is the worst over them: the largest
    difference, the smallest ratio. A rate that no sample of a group defines (no positives, say) leaves that group out
    of the comparison, where Fairlearn counts it as 0; a figure with fewer than two groups, or 0 / 0, is None. All three
    arrays are (n,).

    References: Hardt et al., "Equality of opportunity in supervised learning", arXiv 1610.02413.

    Example:
        >>> y, c = np.array([1, 1, 1, 1]), np.array([0, 0, 1, 1])
        >>> fairness_figures(y, np.array([1, 1, 1, 0]), c, n_y=2)["equal_opportunity_difference"]
        0.5
    """
    groups = np.unique(c)
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    # each class against the rest is a binary question
    for k in [1] if n_y == 2 else range(n_y):
        chosen, true = predicted == k, y == k
        # parity looks at who is chosen, opportunity at the truly positive, odds at both kinds of truth
        selection = _spread([chosen[c == g] for g in groups])
        opportunity = _spread([chosen[(c == g) & true] for g in groups])
        alarm = _spread([chosen[(c == g) & ~true] for g in groups])
        for kind, reduce in (("difference", max), ("ratio", min)):
            for name, parts in (
                ("demographic_parity", [selection]),
                ("equal_opportunity", [opportunity]),
                ("equalized_odds", [opportunity, alarm]),
            ):
                values = [part[kind] for part in parts if kind in part]
                if values:
                    found[f"{name}_{kind}"].append(reduce(values))
    return worst_values(found)


def _spread(parts: list[np.ndarray]) -> dict[str, float]:
    """Largest less smallest rate of the groups that have one, and smallest by largest."""
    # a group without a rate, such as one without positives, is left out, not counted as 0
    rates = [float(part.mean()) for part in parts if len(part)]
    if len(rates) < 2:
        return {}
    spread = {"difference": max(rates) - min(rates)}
    return spread | ({"ratio": min(rates) / max(rates)} if max(rates) > 0 else {})


def bias_amplification(
    y: np.ndarray, predicted: np.ndarray, c: np.ndarray, train_y: np.ndarray, train_c: np.ndarray, *, n_y: int
) -> float | None:
    """By how much predictions lean further than the truth towards the classes that went with each group in training.

    The mean over groups and classes of P(ŷ = t | c = a) − P(y = t | c = a), counted positive where t and a occur
    together in training more often than independence would have it, and negative elsewhere. Above 0: the model
    amplifies the training data's association.

    References: Wang and Russakovsky, "Directional bias amplification", arXiv 2102.12594 (attribute → task).
    """
    groups, shift = _shifts(y, predicted, c, train_y, train_c, n_y=n_y)
    return float(np.mean([shift[c == g].mean() for g in groups])) if groups else None


def _shifts(
    y: np.ndarray, predicted: np.ndarray, c: np.ndarray, train_y: np.ndarray, train_c: np.ndarray, *, n_y: int
) -> tuple[list[int], np.ndarray]:
    """The groups that training holds, and by how much each sample's prediction amplifies (n,), a mean over classes."""
    groups = [int(g) for g in np.unique(c) if (train_c == g).any()]
    shift = np.zeros(len(y))
    for g in groups:
        # arXiv 2102.12594, direction attribute → task: towards what training paired counts as amplification
        given, in_training = c == g, train_c == g
        for t in range(n_y):
            together = float((train_y[in_training] == t).mean()) > float((train_y == t).mean())
            moved = (predicted[given] == t).astype(np.float64) - (y[given] == t)
            shift[given] += (moved if together else -moved) / n_y
    return groups, shift


@dataclass(frozen=True, kw_only=True)
class Question:
    """One comparison of groups: who is chosen and who truly is positive (n,) bool, and each one's group (n,) or −1."""

    chosen: np.ndarray
    true: np.ndarray
    member: np.ndarray
    n_groups: int


@dataclass(frozen=True, kw_only=True)
class Amplified:
    """One channel's bias amplification: by how much each sample amplifies (n,), and its group (n,) or −1."""

    shift: np.ndarray
    member: np.ndarray
    n_groups: int


Fairness = tuple[FairnessFindings, list[Question], list[Amplified]]
"""Figures, and what they are the worst of: comparisons of groups and bias amplifications, channel by channel."""


def fairness_findings(
    predicted: np.ndarray,
    y: np.ndarray,
    train_y: np.ndarray,
    attribute: AuditedAttribute,
    *,
    class_names: tuple[str, ...],
    min_cell: int,
) -> Fairness:
    """The figures of one attribute, of the worst channel each; groups with fewer than `min_cell` samples are left out.

    Bias amplification compares with the training samples' labels where they are known, else with the audited ones'.
    """
    n_y = len(class_names)
    found: dict[str, list[float | None]] = {name: [] for name in FINDINGS}
    left_out, questions, amplified = list[str](), list[Question](), list[Amplified]()
    for k, (channel, names) in enumerate(zip(attribute.channels, attribute.class_names, strict=True)):
        c, rows = attribute.c[:, k], attribute.known.copy()
        sizes = np.bincount(c[attribute.known], minlength=len(names))
        prefix = f"{channel}: " if len(attribute.channels) > 1 else ""
        left_out += [prefix + name for name, size in zip(names, sizes, strict=True) if 0 < size < min_cell]
        # a rate of a handful of samples is noise
        rows[attribute.known] = sizes[c[attribute.known]] >= min_cell
        if not rows.any():
            continue
        own, reference = (y[rows], predicted[rows], c[rows]), _reference(attribute, k, y, train_y)
        figures = fairness_figures(*own, n_y=n_y)
        figures["bias_amplification"] = bias_amplification(*own, *reference, n_y=n_y)
        for name, value in figures.items():
            found[name].append(value)
        groups = np.unique(c[rows])
        member = np.where(rows, np.searchsorted(groups, c), -1)
        questions += [
            Question(chosen=predicted == positive, true=y == positive, member=member, n_groups=len(groups))
            for positive in ([1] if n_y == 2 else range(n_y))
        ]
        there, shift = _shifts(*own, *reference, n_y=n_y)
        if there:
            everyone = np.zeros(len(y))
            everyone[rows] = shift
            leaning = np.where(rows & np.isin(c, there), np.searchsorted(there, c), -1)
            amplified.append(Amplified(shift=everyone, member=leaning, n_groups=len(there)))
    worst = FairnessFindings(
        positive_class=class_names[1] if n_y == 2 else None, groups_left_out=tuple(left_out), **worst_values(found)
    )
    return worst, questions, amplified


def _reference(
    attribute: AuditedAttribute, k: int, y: np.ndarray, train_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and groups whose association may be amplified."""
    if attribute.train_c is None or attribute.train_known is None:
        return y[attribute.known], attribute.c[attribute.known, k]
    return train_y[attribute.train_known], attribute.train_c[attribute.train_known, k]
