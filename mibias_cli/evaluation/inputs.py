"""What an audit is given: features, attributes and targets as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mibias_cli.evaluation.leakage_findings import Side

__all__ = ["AuditInput", "AuditedAttribute", "AuditedTarget", "Features", "TrainedRows"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """One extractor's features: of training samples (n_train, d) and of audited samples (n, d)."""

    train: np.ndarray
    audit: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AuditedAttribute:
    """A bias attribute (or another column) on the audited split: class indices c (n, channels), known (n,), and names.

    Args:
        channels, class_names: Names of its channels, and of the classes (or quantile bins) of each.
        c: Class indices (n, channels).
        known: (n,) bool; where it is False, c means nothing.
        values: The numbers behind the bins (n, channels) of a continuous one.
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
class AuditedTarget:
    """A target of labels or numbers, or that there is none; the audit's strata stand in for classes beside it.

    `train` and `audit` are labels (0 or 1) or numbers in the user's units, (n_train, k) and (n, k), one of each name.
    """

    kind: Literal["multilabel", "regression", "none"]
    names: tuple[str, ...]
    train: np.ndarray
    audit: np.ndarray

    @property
    def units(self) -> np.ndarray:
        """What errors of numbers are divided by before they are averaged over columns (k,).

        A column by itself keeps the user's unit. Of several, years and metres have no mean: each is measured in its
        standard deviations in training rows.
        """
        if len(self.names) < 2:
            return np.ones(len(self.names))
        deviations = self.train.std(axis=0)
        return np.where(deviations > 0, deviations, 1.0)


@dataclass(frozen=True, kw_only=True)
class TrainedRows:
    """Training rows, some of which were to be forgotten, as trained heads see them.

    Args:
        forget: Which of them (n,) were to be forgotten.
        y, group: Their target classes, and (y, c) groups (n,); −1 where an attribute is missing.
        audit_group: The same groups of the audited samples.
        unit: Ids (n,) of patients or videos, which resamples keep whole, or None.
        heads: By side, what a trained head predicts: probabilities of classes (n, K).
    """

    forget: np.ndarray
    y: np.ndarray
    group: np.ndarray
    audit_group: np.ndarray
    unit: np.ndarray | None
    heads: Mapping[Side, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class AuditInput:
    """Everything that is audited.

    Args:
        before: Features of the original extractor, or None.
        loaded: Features of the weights as they were loaded, where `before` was trained on the task, or None.
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
        heads: By side, what a trained head itself predicts on the audited samples: probabilities of classes (n, K) or
            of labels (n, k), or numbers (n, k) in the user's units.
        trained: Where rows were to be forgotten: these and retained ones, as trained heads see them.
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
    heads: Mapping[Side, np.ndarray] = field(default_factory=dict)
    trained: TrainedRows | None = None
    target: AuditedTarget | None = None
    loaded: Features | None = None

    @property
    def sides(self) -> dict[Side, Features]:
        """Features of the sides that there are, in the order in which they are shown."""
        given: dict[Side, Features | None] = {"loaded": self.loaded, "before": self.before, "after": self.after}
        return {side: features for side, features in given.items() if features is not None}

    @property
    def without_target(self) -> bool:
        """Whether there is nothing to condition on."""
        return self.target is not None and self.target.kind == "none"
