"""The recipe's `gates`: conditions on the figures of leakage.json under which the audit fails."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from mibias_cli.errors import GateError
from mibias_cli.recipe.gate_expression import parse_gate
from mibias_cli.recipe.values import Section
from mibias_cli.recipe.yaml_source import Yaml

__all__ = ["GateSection", "gate_may_be_text"]


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
