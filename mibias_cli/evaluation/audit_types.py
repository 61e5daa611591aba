"""What the audit is given and what it finds: frozen data, numpy arrays in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = [
    "AttributeFindings",
    "AuditInput",
    "AuditResult",
    "AuditSettings",
    "AuditedAttribute",
    "Change",
    "Features",
    "GroupRow",
    "Interval",
    "LeakageFindings",
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
    """A bias attribute on the audited split: class indices (n, channels), known (n,), and names."""

    name: str
    channels: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    c: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How the audit is done; defaults as in the recipe's `evaluation` section."""

    probes: tuple[str, ...] = ("logistic", "quadratic", "mlp", "gradient_boosting")
    fit_fraction: float = 0.5
    n_bootstrap: int = 1000
    confidence: float = 0.95
    min_cell: int = 10


@dataclass(frozen=True, kw_only=True)
class AuditInput:
    """Everything that is audited.

    Args:
        before: Features of the original extractor, or None.
        after: Features of the extractor under audit.
        train_y, audit_y: Targets (n_train,) and (n,).
        class_names: Names of the target's classes.
        attributes: The bias attributes on the audited split.
        group: Group ids (n,) of the audited samples, or None; probes' fitting and scoring parts share no group.
        others: Further representations by name (before or None, after): a backbone's own features beside a
            bottleneck, inner layers.
        head_before, head_after: Predicted classes (n,) of the trained heads themselves on the audited samples, or None.
    """

    before: Features | None
    after: Features
    train_y: np.ndarray
    audit_y: np.ndarray
    class_names: tuple[str, ...]
    attributes: tuple[AuditedAttribute, ...]
    group: np.ndarray | None = None
    others: dict[str, tuple[Features | None, Features]] = field(default_factory=dict)
    head_before: np.ndarray | None = None
    head_after: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its bootstrap interval; never clamped."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class ProbeFindings:
    """One probe family on the scored part: accuracy, leakage in bits, and its score inside the fitting part.

    `selection_bits` is that score: it alone chooses the headline. `setting`
    is what tuning inside the fitting part chose, in words.
    """

    accuracy: float
    leakage_bits: float
    selection_bits: float
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class LeakageFindings:
    """Leakage of one channel (or, as headline, of the attribute's leakiest channel) from one representation.

    Marginal and conditional leakage each have their own headline probe and channel, chosen inside the fitting part.
    `channels` holds each channel's findings where an attribute has several.
    """

    leakage_bits: Interval
    conditional_leakage_bits: Interval
    probes: dict[str, ProbeFindings]
    conditional_probes: dict[str, ProbeFindings]
    headline_probe: str
    conditional_headline_probe: str
    headline_channel: str
    conditional_headline_channel: str
    chance_accuracy: float
    channels: dict[str, LeakageFindings] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """After less before, with intervals of the paired difference (the same resamples on both sides)."""

    leakage_bits: Interval
    conditional_leakage_bits: Interval


@dataclass(frozen=True, kw_only=True)
class AttributeFindings:
    """One attribute: before (or None), after, and H(c) and I(y; c) on the audited split in bits.

    Those are of after's headline channel; `channel_entropy_bits` and `channel_target_attribute_bits` hold them per
    channel; `others` the leakage of further representations.
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


@dataclass(frozen=True, kw_only=True)
class TaskFindings:
    """Task figures of one extractor by one rule: a logistic head fitted on training features, scored on the audit.

    `head_accuracy` is the trained head's own accuracy there, or None.
    """

    accuracy: Interval
    balanced_accuracy: float
    worst_group_accuracy: float | None
    groups: tuple[GroupRow, ...]
    head_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Fidelity: dimensions, effective ranks, and linear CKA between before and after (None without before)."""

    n_features_before: int | None
    n_features_after: int
    effective_rank_before: float | None
    effective_rank_after: float
    cka: float | None


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What the audit found."""

    n_train: int
    n_audit: int
    n_fit: int
    n_score: int
    attributes: dict[str, AttributeFindings]
    task_before: TaskFindings | None
    task_after: TaskFindings
    similarity: Similarity
    settings: AuditSettings
    seed: int
