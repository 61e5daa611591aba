"""The recipe's `evaluation` section: how the audit is done."""

from __future__ import annotations

from typing import get_args

from pydantic import Field

from mibias_cli.recipe.values import Count, Flag, Fraction, Positive, ProbeName, Section, Text

__all__ = ["EvaluationSection"]


class EvaluationSection(Section):
    """The audit."""

    probes: list[ProbeName] = Field(
        default_factory=lambda: list(get_args(ProbeName)),
        min_length=1,
        description="Probe families fitted on one part of the audited split and scored on the other.",
    )
    # probes never score rows on which they were fitted
    fit_fraction: Fraction = Field(0.5, description="Share of the audited split on which probes are fitted.")
    max_samples: Positive = Field(20000, description="Most samples that are audited (and that fit the target head).")
    # uncertainty and significance
    n_bootstrap: Positive = Field(1000, description="Bootstrap resamples.")
    confidence: Fraction = Field(0.95, description="Confidence of the intervals.")
    min_cell: Positive = Field(10, description="(y, c) cells with fewer samples are left out of the worst group.")
    n_permutations: Count = Field(
        999, description="Shuffles of the permutation test (more where Holm's correction needs them); 0: no test."
    )
    random_control: Flag = Field(True, description="Audit an untrained extractor too: how much it leaks.")
    layers: list[str] = Field(
        default_factory=list, description="Inner modules whose leakage is shown too, in one pass; maps over a grid."
    )
    fidelity_columns: list[Text] = Field(
        default_factory=list, description="Columns that good features should still predict: probed as well."
    )
    crossings: list[list[str]] | None = Field(
        None, description="Attributes to cross, as lists of names; null: every pair where there are four or fewer."
    )
