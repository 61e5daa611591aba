"""The recipe's `evaluation` and `gates`: how the audit is done, and on which of its figures it fails."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from mibias_cli.errors import GateError
from mibias_cli.recipe.gate_expression import parse_gate
from mibias_cli.recipe.values import Believable, Count, Flag, Fraction, Positive, ProbeName, Section, Text, Whole
from mibias_cli.recipe.yaml_source import Yaml

__all__ = ["EvaluationSection", "GateSection", "gate_may_be_text"]


class EvaluationSection(Section):
    """The audit."""

    probes: list[ProbeName] = Field(
        default_factory=lambda: list(get_args(ProbeName)),
        min_length=1,
        description="Probe families fitted on one part of the audited split and scored on the other; head reads the "
        "trained head's scores, where there is one, and all others the features.",
    )

    @field_validator("probes")
    @classmethod
    def _one_reads_features(cls, value: list[ProbeName]) -> list[ProbeName]:
        if set(value) == {"head"}:
            raise ValueError("head alone reads no features, and not every extractor has a head; name another one too")
        return value

    # probes never score rows on which they were fitted
    fit_fraction: Fraction = Field(0.5, description="Share of the audited split on which probes are fitted.")
    max_samples: Positive = Field(20000, description="Most samples that are audited (and that fit the target head).")
    # uncertainty and significance
    n_bootstrap: Annotated[int, Field(ge=100, le=100_000), Whole] = Field(
        1000, description="Bootstrap resamples, 100 to 100,000."
    )
    confidence: Annotated[Fraction, Believable(ge=0.5)] = Field(0.95, description="Confidence of the intervals.")
    min_cell: Positive = Field(10, description="(y, c) cells with fewer samples are left out of the worst group.")
    suppress_below: Count = Field(
        0,
        description="Cells and groups of fewer samples are left out of report and model card, at most min_cell: for "
        "readers who may know the people; 0: all are shown.",
    )
    n_permutations: Annotated[int, Field(ge=0, le=100_000), Whole] = Field(
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


class GateSection(Section):
    """One gate: where its condition holds, the audit fails and the command ends with exit code 1."""

    fail_on: str = Field(
        description="A figure of leakage.json and a limit, for example attributes.colour.after.leakage_bits > 0.05."
    )
    inconclusive: Literal["fail", "warn"] = Field(
        "warn", description="Where the figure's interval contains the limit: fail, or pass with a warning."
    )

    # `- EXPRESSION` is short for `- fail_on: EXPRESSION`
    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: object) -> object:
        return {"fail_on": value} if isinstance(value, str) else value

    @field_validator("fail_on")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        try:
            parse_gate(value)
        except GateError as error:
            raise ValueError(error.message) from error
        return value


def gate_may_be_text(schema: dict[str, Yaml]) -> None:
    """Say in the JSON Schema of a list of gates that a gate may be written as its expression alone."""
    schema["items"] = {"anyOf": [{"type": "string"}, schema["items"]]}
