"""What findings are made of: frozen, typed records that are written as JSON, read back, and described by a schema.

A record's fields are its JSON keys, with two exceptions that keep leakage.json flat for people and gates:

- `Flattened(prefix)`: the fields of an inner record stand in the outer one (`conditional_p_value`).
- `Beside()`: an interval is written as its estimate, with its bounds beside it (`accuracy`, `accuracy_interval`).

Both are undone on reading, and the generated JSON Schema describes what is written.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import math
import re
import textwrap
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

__all__ = ["Beside", "FlatRecord", "Flattened", "Real", "Record", "written_schema"]

JsonSchema: TypeAlias = dict[str, Any]
_MARK = "x-written-flat"


def _nan_for_null(value: object) -> object:
    return math.nan if value is None else value


Real = Annotated[float, BeforeValidator(_nan_for_null), WithJsonSchema({"type": ["number", "null"]})]
"""A number that may turn out not to be finite: JSON has no NaN, so it is written as null and read back as NaN."""


class Record(BaseModel):
    """Frozen data with named, typed fields; the docstrings of class and fields are the schema's descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", validate_default=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """Every field is always written, so every field is required, whether or not it has a default here."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        described = _docstrings(cls)
        for name, item in schema.get("properties", {}).items():
            item |= {"description": described[name]} if name in described else {}
        schema["required"] = list(schema.get("properties", {}))
        return schema


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a class and of those it is made from.

    Pydantic's own `use_attribute_docstrings` reads the sources whenever the classes are imported, which takes a second.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        # a generic record with its parameter is made from the plain one, and has no source of its own
        if issubclass(base, BaseModel) and base is not BaseModel and "[" not in base.__name__:
            (statement,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(statement, ast.ClassDef)
            for field, below in itertools.pairwise(statement.body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = inspect.cleandoc(text)
    return found


@dataclass(frozen=True)
class Flattened:
    """Marks a field whose own fields are written into the record that holds it, each name behind `prefix`."""

    prefix: str = ""

    def write(self, name: str, value: Mapping[str, object] | None, inner: type[Record]) -> dict[str, object]:
        """What stands in the outer record; nothing found is null, or empty where a mapping is expected."""
        if value is not None:
            return {self.prefix + key: item for key, item in value.items()}
        return {self.prefix + key: {} if _is_mapping(inner, key) else None for key in inner.model_fields}

    def read(self, name: str, data: dict[str, object], inner: type[Record]) -> object:
        """Take the inner record's keys out of the outer one's; None where its first field is null."""
        own = {key: data.pop(self.prefix + key) for key in inner.model_fields if self.prefix + key in data}
        return None if own.get(next(iter(inner.model_fields))) is None else own

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return handler(core_schema) | {_MARK: self.prefix}

    @staticmethod
    def describe(name: str, schema: JsonSchema, definitions: JsonSchema) -> JsonSchema:
        """Properties of the outer record in place of a reference to the inner one."""
        prefix, optional = schema[_MARK], "anyOf" in schema
        plain = next(option for option in schema["anyOf"] if "$ref" in option) if optional else schema
        inner = definitions[plain["$ref"].rpartition("/")[2]]["properties"]
        return {prefix + key: _or_null(item) if optional else item for key, item in inner.items()}


@dataclass(frozen=True)
class Beside:
    """Marks an interval that is written as its estimate, with `NAME_interval` beside it."""

    def write(self, name: str, value: Mapping[str, object] | None, inner: type[Record]) -> dict[str, object]:
        """The estimate by the field's own name, and its bounds."""
        assert value is not None, "a figure that is always there"
        bounds = {key: item for key, item in value.items() if key != "estimate"}
        return {name: value["estimate"], f"{name}_interval": bounds}

    def read(self, name: str, data: dict[str, object], inner: type[Record]) -> object:
        """Put estimate and bounds together again."""
        bounds = data.pop(f"{name}_interval", None)
        estimate = data.pop(name, None)
        return {"estimate": estimate, **(bounds if isinstance(bounds, Mapping) else {"lower": None, "upper": None})}

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return handler(core_schema) | {_MARK: True}

    @staticmethod
    def describe(name: str, schema: JsonSchema, definitions: JsonSchema) -> JsonSchema:
        """Two properties in place of a reference to the interval."""
        described = {key: item for key, item in schema.items() if key == "description"}
        bounds = {key: {"type": ["number", "null"]} for key in ("lower", "upper")}
        interval = {"type": "object", "properties": bounds, "required": list(bounds), "additionalProperties": False}
        return {name: {"type": ["number", "null"], **described}, f"{name}_interval": interval}


class FlatRecord(Record):
    """A record with fields marked `Flattened` or `Beside`."""

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # the order of fields is kept, so that files of one version look alike
        written: dict[str, Any] = {}
        forms = _forms(type(self))
        for name, value in handler(self).items():
            form = forms.get(name)
            written |= {name: value} if form is None else form[0].write(name, value, form[1])
        return written

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        data = dict(data)
        # a mapping from JSON has the written names, one from code the fields' own
        for name, (form, inner) in _forms(cls).items():
            # a record that is made by the audit is given its parts whole
            if name not in data or not (data[name] is None or isinstance(data[name], Record | Mapping)):
                data[name] = form.read(name, data, inner)
        return data


def written_schema(record: type[Record]) -> JsonSchema:
    """The JSON Schema (draft 2020-12) of what a record writes, marked fields as they are written."""
    schema = record.model_json_schema()
    # pydantic describes fields as they are held; marked ones are written otherwise
    definitions = schema.get("$defs", {})
    for node in (schema, *definitions.values()):
        properties: JsonSchema = {}
        for name, item in node.get("properties", {}).items():
            form = Beside if item.get(_MARK) is True else Flattened
            properties |= form.describe(name, item, definitions) if _MARK in item else {name: item}
        if "properties" in node:
            node |= {"properties": properties, "required": list(properties)}
    # records that only stand flattened in others are named nowhere any more
    named = set(re.findall(r"#/\$defs/([^\"]+)", json.dumps(schema)))
    return schema | {"$defs": {name: item for name, item in definitions.items() if name in named}}


@cache
def _forms(cls: type[Record]) -> dict[str, tuple[Flattened | Beside, type[Record]]]:
    """The marked fields of a record, with the type of what they hold."""
    return {
        name: (mark, _record_type(info.annotation))
        for name, info in cls.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Flattened | Beside)
    }


def _record_type(annotation: object) -> type[Record]:
    """The record in `X` or `X | None`."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next(option for option in options if isinstance(option, type) and issubclass(option, Record))


def _is_mapping(record: type[Record], name: str) -> bool:
    return get_origin(record.model_fields[name].annotation) is dict


def _or_null(schema: JsonSchema) -> JsonSchema:
    kind = schema.get("type")
    # a mapping is empty where there is nothing; an option may be null already
    if kind == "object" or "anyOf" in schema:
        return schema
    if kind is not None:
        kinds = [kind] if isinstance(kind, str) else list(kind)
        return schema | {"type": [*kinds, *([] if "null" in kinds else ["null"])]}
    return {"anyOf": [schema, {"type": "null"}]}
