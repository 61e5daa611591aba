"""What the audit is given and what it finds: frozen data, numpy arrays in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mibias_cli.evaluation.target_types import AuditedTarget, Interval, LabelFigures, RegressionFindings

__all__ = [
    "AttributeFindings",
    "AuditInput",
    "AuditResult",
    "AuditSettings",
    "AuditedAttribute",
    "CellAccuracy",
    "Change",
    "ColumnFindings",
    "Confusion",
    "CrossingRow",
    "FairnessFindings",
    "Features",
    "GroupRow",
    "Intersection",
    "Interval",
    "LayerFindings",
    "LeakageFindings",
    "NullBand",
    "ProbeFindings",
    "Similarity",
    "TaskFindings",
]


@dataclass(frozen=True, kw_only=True)
class Features:
    """One extractor's features: of training samples (n_train, d) and of audited samples (n, d)."""

    train: np.ndarray
    audit: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AuditedAttribute:
    """A bias attribute (or another column) on the audited split: class indices c (n, channels), known (n,), and names.

    Args:
        name: Its name.
        channels: Names of its channels.
        class_names: Names of the classes (of a continuous one: quantile bins) per channel.
        c: Class indices (n, channels).
        known: (n,) bool; where it is False, c means nothing.
        kind: categorical or continuous.
        values: The numbers behind the bins (n, channels), continuous only.
        train_c, train_known: The same of the training samples, for what compares with them; None where unknown.
    """

    name: str
    channels: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    c: np.ndarray
    known: np.ndarray
    kind: Literal["categorical", "continuous"] = "categorical"
    values: np.ndarray | None = None
    train_c: np.ndarray | None = None
    train_known: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How the audit is done; defaults as in the recipe's `evaluation` section."""

    probes: tuple[str, ...] = ("logistic", "quadratic", "mlp", "knn", "gradient_boosting")
    fit_fraction: float = 0.5
    n_bootstrap: int = 1000
    confidence: float = 0.95
    min_cell: int = 10
    n_permutations: int = 999
    crossings: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class AuditInput:
    """Everything that is audited.

    Args:
        before: Features of the original extractor, or None.
        after: Features of the extractor under audit.
        train_y, audit_y: Target classes (n_train,) and (n,), or strata of a target that is no classes.
        class_names: Names of the target's classes, or of its strata.
        attributes: The bias attributes on the audited split.
        group: Group ids (n,) of the audited samples, or None; probes' fitting and scoring parts share no group.
        others: Further representations by name (before or None, after): a backbone's own features beside a
            bottleneck, inner layers.
        random: Features of a randomly initialised extractor on the audited samples, or None: what leaks untrained.
        layers: Inner layers by name, in the network's order, each (before or None, after): where leakage sits.
        columns: Other columns of the audited split that good features should still tell.
        head_before, head_after: What the trained heads themselves predict on the audited samples, or None: classes
            (n,), or labels or numbers (n, k).
        target: What the target is where it is no classes; None: classes.
    """

    before: Features | None
    after: Features
    train_y: np.ndarray
    audit_y: np.ndarray
    class_names: tuple[str, ...]
    attributes: tuple[AuditedAttribute, ...]
    group: np.ndarray | None = None
    others: dict[str, tuple[Features | None, Features]] = field(default_factory=dict)
    random: Features | None = None
    layers: dict[str, tuple[Features | None, Features]] = field(default_factory=dict)
    columns: tuple[AuditedAttribute, ...] = ()
    head_before: np.ndarray | None = None
    head_after: np.ndarray | None = None
    target: AuditedTarget | None = None

    @property
    def without_target(self) -> bool:
        """Whether there is nothing to condition on."""
        return self.target is not None and self.target.kind == "none"


@dataclass(frozen=True, kw_only=True)
class NullBand:
    """What the same probe shows, in bits, where the scored labels are shuffled: mean and central band."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class ProbeFindings:
    """One probe family on the scored part: accuracy, leakage in bits, and its score inside the fitting part.

    `selection_bits` is that score: it alone chooses the headline. `setting` is what tuning inside the fitting part
    chose, in words. `p_value` is the permutation test's, `p_value_holm` the same corrected over attributes, channels
    and probes. A regressor of a continuous attribute has `r2` in place of an accuracy.
    """

    accuracy: float | None
    leakage_bits: float
    selection_bits: float
    setting: str = ""
    r2: float | None = None
    p_value: float | None = None
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class LeakageFindings:
    """Leakage of one channel (or, as headline, of the attribute's leakiest channel) from one representation.

    Marginal and conditional leakage each have their own headline probe and channel, chosen inside the fitting part; the
    conditional ones are None (no probes) where there is no target.
    Beside them stand the controls: what shuffled labels give (`null`, `p_value`), and the smallest leakage that a
    sample of this size detects with 80 % power (`detectable_bits`). `channels` holds each channel's findings where an
    attribute has several.
    """

    leakage_bits: Interval
    conditional_leakage_bits: Interval | None
    probes: dict[str, ProbeFindings]
    conditional_probes: dict[str, ProbeFindings]
    headline_probe: str
    conditional_headline_probe: str | None
    headline_channel: str
    conditional_headline_channel: str | None
    chance_accuracy: float
    null: NullBand | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    detectable_bits: float | None = None
    conditional_null: NullBand | None = None
    conditional_p_value: float | None = None
    conditional_p_value_holm: float | None = None
    conditional_detectable_bits: float | None = None
    channels: dict[str, LeakageFindings] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """After less before, with intervals of the paired difference (the same resamples on both sides)."""

    leakage_bits: Interval
    conditional_leakage_bits: Interval | None


@dataclass(frozen=True, kw_only=True)
class AttributeFindings:
    """One attribute: before (or None), after, and H(c) and I(y; c) on the audited split in bits.

    Those are of after's headline channel; `channel_entropy_bits` and `channel_target_attribute_bits` hold them per
    channel; `others` the leakage of further representations, `random` that of a randomly initialised extractor.
    """

    entropy_bits: float
    target_attribute_bits: float
    channel_entropy_bits: dict[str, float]
    channel_target_attribute_bits: dict[str, float]
    n_known: int
    before: LeakageFindings | None
    after: LeakageFindings
    change: Change | None = None
    others: dict[str, tuple[LeakageFindings | None, LeakageFindings]] = field(default_factory=dict)
    kind: Literal["categorical", "continuous"] = "categorical"
    random: LeakageFindings | None = None


@dataclass(frozen=True, kw_only=True)
class LayerFindings:
    """Leakage of one attribute's leakiest channel from one inner layer, pooled to `n_features` columns."""

    leakage_bits: Interval
    headline_probe: str
    headline_channel: str
    n_features: int
    null: NullBand | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class ColumnFindings:
    """What the features still tell of a column that they should keep; accuracy or r2 is the headline probe's."""

    information_bits: Interval
    headline_probe: str
    probes: dict[str, ProbeFindings]
    accuracy: float | None
    r2: float | None
    chance_accuracy: float
    entropy_bits: float


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """One (y, c) cell of one attribute's channel: n, accuracy, its interval, whether it is large enough to count."""

    attribute: str
    channel: str
    y: str
    c: str
    n: int
    accuracy: float | None
    lower: float | None
    upper: float | None
    counted: bool
    calibration_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class CellAccuracy:
    """Accuracy in one cell with its interval; None where the cell is empty."""

    accuracy: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, kw_only=True)
class CrossingRow:
    """One cell of target and several attributes: n, whether it is large enough to count, accuracy before and after."""

    y: str
    c: tuple[str, ...]
    n: int
    counted: bool
    before: CellAccuracy | None
    after: CellAccuracy


@dataclass(frozen=True, kw_only=True)
class Intersection:
    """The cells in which several attributes and the target cross; the worst group is among those that count."""

    attributes: tuple[str, ...]
    channels: tuple[str, ...]
    worst_group_accuracy_before: float | None
    worst_group_accuracy_after: float | None
    cells: tuple[CrossingRow, ...]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """What the task predicts for one group of an attribute: counts of target (rows) × prediction (columns)."""

    attribute: str
    channel: str
    c: str
    n: int
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class TaskFindings:
    """Task figures of one extractor by one rule: a logistic head fitted on training features, scored on the audit.

    `head_accuracy` is the trained head's own accuracy there, or None. `gap` is accuracy less the worst group's.
    `adjusted_accuracies` are the accuracies under p(y)p(c) in place of p(y, c), by attribute, and `adjusted_accuracy`
    is the least of them. `auroc` is macro-averaged over classes against the rest; `calibration_error` is expected
    calibration error. `confusions` are by group, classes in the order of `class_names`. Of a target of several labels
    (`kind` multilabel) figures are means over labels, cells are of one label and one group each, `labels` holds each
    label's own, and `exact_match` is the share of samples with all labels right.
    """

    accuracy: Interval
    balanced_accuracy: float
    worst_group_accuracy: float | None
    groups: tuple[GroupRow, ...]
    head_accuracy: float | None
    gap: float | None = None
    adjusted_accuracy: float | None = None
    adjusted_accuracies: dict[str, float] = field(default_factory=dict)
    auroc: float | None = None
    calibration_error: float | None = None
    class_names: tuple[str, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    kind: Literal["classes", "multilabel"] = "classes"
    exact_match: Interval | None = None
    labels: dict[str, LabelFigures] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FairnessFindings:
    """How one attribute's groups are treated by the task's predictions; figures as Fairlearn defines them.

    A target of two classes has a `positive_class`; with more, every class against the rest is a question of its own
    and each figure is the worst of them. An attribute of several channels has the worst channel's. `groups_left_out`
    are too small to count. A figure that no group of the split defines is None.
    """

    positive_class: str | None
    groups_left_out: tuple[str, ...]
    demographic_parity_difference: float | None
    demographic_parity_ratio: float | None
    equal_opportunity_difference: float | None
    equal_opportunity_ratio: float | None
    equalized_odds_difference: float | None
    equalized_odds_ratio: float | None
    bias_amplification: float | None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Fidelity: dimensions, effective ranks, and likeness of before and after (None without before).

    `cka` is linear CKA; `original_r2` the share of the original features' variance that a linear map gives back from
    the audited features, fitted on training samples and scored on the audited ones.
    """

    n_features_before: int | None
    n_features_after: int
    effective_rank_before: float | None
    effective_rank_after: float
    cka: float | None
    original_r2: float | None = None


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What the audit found; pairs are (before or None, after). `layers` go by layer, then by attribute.

    Without a target there are no findings of the task.
    """

    n_train: int
    n_audit: int
    n_fit: int
    n_score: int
    attributes: dict[str, AttributeFindings]
    task_before: TaskFindings | RegressionFindings | None
    task_after: TaskFindings | RegressionFindings | None
    similarity: Similarity
    settings: AuditSettings
    seed: int
    fairness: dict[str, tuple[FairnessFindings | None, FairnessFindings]] = field(default_factory=dict)
    intersections: tuple[Intersection, ...] = ()
    columns: dict[str, tuple[ColumnFindings | None, ColumnFindings]] = field(default_factory=dict)
    column_kinds: dict[str, str] = field(default_factory=dict)
    layers: dict[str, dict[str, tuple[LayerFindings | None, LayerFindings]]] = field(default_factory=dict)
    collapsed: bool = False
