"""What recipe values are made of: the base of sections, numbers that are no text, text that may be a number."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "Flag",
    "FormatName",
    "Fraction",
    "Integer",
    "NonNegative",
    "Number",
    "Positive",
    "ProbeName",
    "Rate",
    "Section",
    "TargetKindName",
    "Text",
    "Whole",
    "text_of_number",
]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys are errors, and an empty section means its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        return {} if value is None else value


def _number(value: Any) -> Any:
    """Refuse what pydantic would convert to a number: a quoted "5" or a `true` in a recipe is a mistake."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("number_expected", "a number is expected")
    return value


def _whole_number(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise PydanticCustomError("whole_number_expected", "a whole number is expected")
    return value


def text_of_number(value: Any) -> Any:
    """Column names and split values may look like numbers: `train: 0` means the text `0` of a CSV file."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Number = BeforeValidator(_number)
Whole = BeforeValidator(_whole_number)
Integer = Annotated[int, Whole]
Positive = Annotated[int, Field(gt=0), Whole]
Rate = Annotated[float, Field(gt=0), Number]
NonNegative = Annotated[float, Field(ge=0), Number]
Fraction = Annotated[float, Field(gt=0, lt=1), Number]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, BeforeValidator(text_of_number)]
ProbeName = Literal["logistic", "quadratic", "mlp", "knn", "gradient_boosting"]
TargetKindName = Literal["classes", "multilabel", "regression", "none"]
FormatName = Literal["safetensors", "onnx"]
