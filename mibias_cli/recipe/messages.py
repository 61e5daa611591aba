"""Pydantic's errors in plain English: where in the recipe, what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic_core import ErrorDetails

from mibias_cli.errors import did_you_mean
from mibias_cli.recipe.fields import field_at, places_of_key, section_at, value_at
from mibias_cli.recipe.sections.data import DATA_SOURCES
from mibias_cli.recipe.yaml_source import YamlMapping, YamlPath

__all__ = ["Fault", "faults_of"]

Fault = tuple[YamlPath, str]
"""A place in the recipe and what is wrong there."""

# pydantic's error type → what should stand there
_WANTED = {
    "number_expected": "a number",
    "whole_number_expected": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
}
# pydantic's error type → words, and the key of its context that holds the limit
_LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SECTIONS = {"model_type", "model_attributes_type", "dict_type"}


def faults_of(errors: Sequence[ErrorDetails], data: YamlMapping) -> list[Fault]:
    """Pydantic's errors of a parsed recipe as places in it, each with a message; one fault per place."""
    faults: dict[YamlPath, str] = {}
    for error in errors:
        # where no member of a union takes a value, the first member's error is enough
        path, message = _fault(error, data)
        faults.setdefault(path, message)
    return list(faults.items())


def _fault(error: ErrorDetails, data: YamlMapping) -> Fault:
    path = _path(error["loc"], data)
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return path, _unknown_key(path, data)
    if kind in ("missing", "too_long", "too_short"):
        return _count(error, path, data)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _source(kind, path, data)
    if kind == "literal_error":
        return path, _choice(str(error["ctx"]["expected"]), given)
    if kind == "value_error":
        return path, str(error["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return (
            path,
            f"must be at most 100 letters, digits, '.', '_' and '-', a letter or digit first; not {_show(given)}",
        )
    return path, _wanted(error) or f"{error['msg']}, not {_show(given)}"


def _wanted(error: ErrorDetails) -> str | None:
    """`must be …, not …` for wrong types and values out of range."""
    kind, given = error["type"], error["input"]
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        return f"must be {words} {error['ctx'][key]:,.15g}, not {_show(given)}"
    if kind in _SECTIONS:
        return f"must be a section of keys and values, not {_show(given)}"
    if kind not in _WANTED:
        return None
    # values that YAML reads otherwise than they look
    hint = ""
    if kind == "string_type" and isinstance(given, bool | int | float):
        hint = "; put it in quotes if it is meant as text"
    elif kind == "bool_type" and str(given).lower() in ("on", "off", "yes", "no"):
        hint = " (in YAML 1.2 on, off, yes and no are text)"
    elif _WANTED[kind].endswith("number") and isinstance(given, str) and _is_number(given):
        hint = "; take the quotes off"
    return f"must be {_WANTED[kind]}, not {_show(given)}{hint}"


def _path(loc: tuple[str | int, ...], data: YamlMapping) -> YamlPath:
    """Pydantic's location without its tags: of the data source behind `data`, of the form behind a key that has two."""
    if loc[:2] in (("representation", "bottleneck"), ("backbone", "input_size"), ("debias", "budget_bits")):
        return (*loc[:2], *loc[3:])
    source = value_at(("data", "source"), data)
    return (loc[0], *loc[2:]) if len(loc) > 1 and loc[0] == "data" and loc[1] == source else loc


def _unknown_key(path: YamlPath, data: YamlMapping) -> str:
    """What was probably meant: a key of this section or of one right below it, or the same key of another section."""
    key = str(path[-1])
    section = section_at(path[:-1], data)
    own = list(section.model_fields) if section is not None else []
    sections = {name: section_at((*path[:-1], name), data) for name in own}
    below = [f"{name}.{inner}" for name, found in sections.items() if found for inner in found.model_fields]
    places = places_of_key(key, data)
    # a key that another section has is likelier misplaced than misspelt
    hint = did_you_mean(key, own if places else [*own, *below])
    if places:
        hint += f"{' (' if hint else ', '}{key!r} belongs to {' or '.join(places)}{')' if hint else ''}"
    elif not hint and own:
        hint = f"; known here: {', '.join(own)}"
    return f"unknown key{hint}"


def _count(error: ErrorDetails, path: YamlPath, data: YamlMapping) -> Fault:
    """A missing key, or a list or section of the wrong length."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing" and isinstance(path[-1], str):
        field = field_at(path, data)
        about = f": {field.description.rstrip('.')}" if field is not None and field.description else ""
        return path, f"missing key{about}"
    # of a list of fixed length pydantic reports every missing item; together they are one fault of the list
    place = path[:-1] if kind == "missing" else path
    given = value_at(place, data)
    n_given = len(given) if isinstance(given, Sequence | Mapping) else 0
    if kind == "too_short":
        n = context["min_length"]
        return place, f"needs at least {n} {'entry' if n == 1 else 'entries'}, it has {n_given}"
    field = field_at(place, data)
    n_wanted = context.get("max_length") or len(get_args(field.annotation if field is not None else None))
    return place, f"needs {n_wanted} entries, it has {n_given}"


def _source(kind: str, path: YamlPath, data: YamlMapping) -> Fault:
    choices = ", ".join(DATA_SOURCES)
    if kind == "union_tag_not_found":
        # a key that is nearly `source` was meant to be it
        keys = value_at(path, data)
        near = get_close_matches("source", list(keys) if isinstance(keys, dict) else [], n=1)
        if near:
            return (*path, near[0]), f"unknown key{did_you_mean(near[0], ['source'])}; it is one of {choices}"
        return (*path, "source"), f"missing key: where the data come from, one of {choices}"
    given = value_at((*path, "source"), data)
    hint = did_you_mean(given, DATA_SOURCES) if isinstance(given, str) else ""
    return (*path, "source"), f"must be one of {choices}; not {_show(given)}{hint}"


def _choice(expected: str, given: object) -> str:
    """`must be a, b or c, not …`, with the nearest choice."""
    # pydantic gives the choices as text: 'a', 'b' or 'c'
    choices = re.findall(r"'((?:[^'\\]|\\.)*)'", expected)
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    return f"must be {expected.replace(chr(39), '')}, not {_show(given)}{hint}"


def _show(value: object) -> str:
    """A value as YAML writes it, short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
