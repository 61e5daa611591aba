"""The types that recipe values are made of, and the base class of all sections."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = [
    "BEGUN",
    "MOST_WEIGHT",
    "BatchSize",
    "Believable",
    "Bins",
    "Channels",
    "Count",
    "Decay",
    "Flag",
    "FormatName",
    "Fraction",
    "Integer",
    "LearningRate",
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
    "Weight",
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


BEGUN: Final = "begun"
"""Validation context of a recipe that a run was begun with: it was taken then, whatever this version would say now."""


class Believable:
    """Limits on what a user gives, as `Field` takes them: values beyond are possible, and nobody means them.

    A run that was begun with such a value is read all the same (`BEGUN`), so a limit may be laid on a key that has been
    there for long.
    """

    def __init__(self, **limits: float | str) -> None:
        self._limits = limits
        self._shown: JsonSchemaValue = {}

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        limited = TypeAdapter[object](Annotated[source, Field(**self._limits)])  # type: ignore[call-overload, arg-type]
        self._shown = limited.json_schema()

        def judged(value: object, info: ValidationInfo) -> object:
            return value if info.context == BEGUN else limited.validate_python(value)

        return core_schema.with_info_after_validator_function(judged, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), **self._shown}


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
Channels = Annotated[int, Field(gt=0, le=1024), Whole]
Pixels = Annotated[int, Field(gt=0, le=8192), Whole]
Bins = Annotated[int, Field(ge=2, le=1000), Whole]
Rate = Annotated[float, Field(gt=0), Number]
NonNegative = Annotated[float, Field(ge=0), Number]
# a linear head on features has been trained at 30 (arXiv:1911.05722); kernel measures are small, and want a large λ
MOST_WEIGHT = 1e6
LearningRate = Annotated[Rate, Believable(le=100)]
Weight = Annotated[NonNegative, Believable(le=MOST_WEIGHT)]
# shares of a whole, by which of their ends are allowed
Fraction = Annotated[float, Field(gt=0, lt=1), Number]
Decay = Annotated[float, Field(ge=0, lt=1), Number]
Share = Annotated[float, Field(ge=0, le=1), Number]
PositiveShare = Annotated[float, Field(gt=0, le=1), Number]
# strict: `augment: 1` is a mistake, too
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, BeforeValidator(text_of_number)]
ProbeName = Literal["logistic", "quadratic", "mlp", "knn", "gradient_boosting", "head"]
TargetKindName = Literal["classes", "multilabel", "regression", "none"]
FormatName = Literal["safetensors", "onnx"]
