"""The types that recipe values are made of, and the base class of all sections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "BatchSize",
    "Bins",
    "Count",
    "Decay",
    "Flag",
    "FormatName",
    "Fraction",
    "Integer",
    "NonNegative",
    "Number",
    "Pixels",
    "Positive",
    "ProbeName",
    "Rate",
    "Repeats",
    "Section",
    "Share",
    "TargetKindName",
    "Text",
    "Turns",
    "Whole",
    "Width",
    "text_of_number",
]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys are errors, and an empty section means its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: object) -> object:
        return {} if value is None else value


# Pydantic would read "5" and `true` as numbers. In a recipe both are mistakes, so both are refused before it does.
def _number(value: object) -> object:
    if isinstance(value, str | bool):
        raise PydanticCustomError("number_expected", "a number is expected")
    return value


def _whole_number(value: object) -> object:
    if isinstance(value, str | bool):
        raise PydanticCustomError("whole_number_expected", "a whole number is expected")
    return value


def text_of_number(value: object) -> object:
    """Column names and split values may look like numbers: `train: 0` means the text `0` of a CSV file."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Limits come first: pydantic's JSON Schema has no `minimum` where a limit is laid over a validator.
Number = BeforeValidator(_number)
Whole = BeforeValidator(_whole_number)
Integer = Annotated[int, Whole]
Positive = Annotated[int, Field(gt=0), Whole]
Count = Annotated[int, Field(ge=0), Whole]
# far above what anybody means, far below what a machine can hold: a slip of the hand is told before the work begins
Width = Annotated[int, Field(gt=0, le=65_536), Whole]
BatchSize = Annotated[int, Field(gt=0, le=1_000_000), Whole]
Repeats = Annotated[int, Field(gt=0, le=1_000_000), Whole]
Turns = Annotated[int, Field(gt=0, le=10_000), Whole]
Pixels = Annotated[int, Field(gt=0, le=8192), Whole]
Bins = Annotated[int, Field(ge=2, le=1000), Whole]
Rate = Annotated[float, Field(gt=0), Number]
NonNegative = Annotated[float, Field(ge=0), Number]
# shares of a whole, by which of their ends are allowed
Fraction = Annotated[float, Field(gt=0, lt=1), Number]
Decay = Annotated[float, Field(ge=0, lt=1), Number]
Share = Annotated[float, Field(ge=0, le=1), Number]
# strict: `augment: 1` is a mistake, too
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, BeforeValidator(text_of_number)]
ProbeName = Literal["logistic", "quadratic", "mlp", "knn", "gradient_boosting"]
TargetKindName = Literal["classes", "multilabel", "regression", "none"]
FormatName = Literal["safetensors", "onnx"]
