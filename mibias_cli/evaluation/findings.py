"""Everything that an audit finds, in one record. The report adds where it comes from, a verdict, and gates."""

from __future__ import annotations

import math

from pydantic import Field

from mibias_cli.evaluation.leakage_findings import AttributeFindings, ColumnSides, Count, LayerFindings, Sides
from mibias_cli.evaluation.record import Real, Record
from mibias_cli.evaluation.task_findings import (
    FairnessSides,
    ForgettingSides,
    HeadFindings,
    ImpactFindings,
    Intersection,
    TaskSides,
)

__all__ = ["AuditFindings", "AuditSettings", "Fidelity", "Samples", "Similarity"]


class Similarity(Record):
    """Fidelity: dimensions, effective ranks, and likeness of before and after (null without before)."""

    n_features_before: Count | None = None
    n_features_after: Count = 0
    effective_rank_before: Real | None = None
    effective_rank_after: Real = math.nan
    cka: Real | None = None
    """Linear CKA to the original."""
    n_features_loaded: Count | None = None
    effective_rank_loaded: Real | None = None
    original_r2: Real | None = None
    """Share of the original features' variance that a linear map gives back from the audited features, fitted on
    training samples and scored on the audited ones; null where there is no original."""


class Fidelity(Record):
    """What good features must keep."""

    collapsed: bool = False
    """Features that are constant, or have lost nearly all their directions."""
    columns: dict[str, ColumnSides] = Field(default_factory=dict)


class Samples(Record):
    """Samples behind the figures: of task heads, audited, and the parts on which probes were fitted and scored."""

    train: Count = 0
    audit: Count = 0
    fit: Count = 0
    score: Count = 0


class AuditSettings(Record):
    """How the audit is done; defaults as in the recipe's `evaluation` section."""

    probes: tuple[str, ...] = ("logistic", "quadratic", "mlp", "knn", "gradient_boosting", "head")
    fit_fraction: float = 0.5
    n_bootstrap: Count = 1000
    confidence: float = 0.95
    min_cell: Count = 10
    suppress_below: Count = 0
    n_permutations: Count = 999
    crossings: tuple[tuple[str, ...], ...] | None = None


class AuditFindings(Record):
    """Everything that an audit found."""

    attributes: dict[str, AttributeFindings]
    """Bias attributes by name."""
    task: TaskSides
    similarity: Similarity = Similarity()
    fairness: dict[str, FairnessSides] = Field(default_factory=dict)
    """Group fairness by attribute."""
    impact: dict[str, Sides[ImpactFindings]] = Field(default_factory=dict)
    """Selection rates and impact ratios by attribute, and by crossed attributes joined by a comma.

    Empty where the target is no decision between two classes.
    """
    head: HeadFindings | None = None
    """The trained heads' own figures; null where the audited extractor came without a head."""
    intersections: tuple[Intersection, ...] = ()
    """Crossings of attributes: accuracy by cell."""
    fidelity: Fidelity = Fidelity()
    forgetting: ForgettingSides | None = None
    """How well rows were forgotten; null where none were to be, and where there is no trained head of classes."""
    layers: dict[str, dict[str, Sides[LayerFindings]]] = Field(default_factory=dict)
    """Leakage by inner layer, then by attribute."""
    samples: Samples = Samples()
    settings: AuditSettings = AuditSettings()
    seed: Count = 0
