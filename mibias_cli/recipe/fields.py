"""What the schema knows of a place in a recipe: which section stands there, its keys, its defaults."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.yaml_source import YamlPath

__all__ = ["default_at", "field_at", "places_of_key", "section_at", "value_at"]


def section_at(path: YamlPath, data: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model of the section at a path, or None where the schema has no section; `data` tells which data source.

    Example:
        >>> section_at(("debias", "critic"), {}).__name__
        'CriticSection'
        >>> section_at(("data",), {"data": {"source": "mnist"}}).__name__
        'MnistData'
    """
    annotation: Any = Recipe
    for depth, key in enumerate(path):
        annotation = _step(_section(annotation, path[:depth], data) or annotation, key)
        if annotation is None:
            return None
    return _section(annotation, path, data)


def field_at(path: YamlPath, data: Mapping[str, Any]) -> FieldInfo | None:
    """The schema's field at a path, or None."""
    section = section_at(path[:-1], data) if path else None
    return None if section is None else section.model_fields.get(str(path[-1]))


def default_at(path: YamlPath, data: Mapping[str, Any]) -> Any:
    """The default of the field at a path as plain lists and values, or None."""
    field = field_at(path, data)
    if field is None or field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, list | tuple) else default


def value_at(path: YamlPath, data: Any) -> Any:
    """The value in parsed YAML at a path, or None."""
    for key in path:
        if isinstance(key, str) and isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(key, int) and isinstance(data, Sequence) and not isinstance(data, str):
            data = data[key] if 0 <= key < len(data) else None
        else:
            return None
    return data


def places_of_key(key: str, data: Mapping[str, Any]) -> list[str]:
    """Sections elsewhere in the recipe that do have this key: what a key in the wrong section probably means.

    Example:
        >>> places_of_key("queue_batches", {})
        ['debias']
    """
    paths = [path for path, section in _sections((), data) if key in section.model_fields]
    return [".".join(map(str, path)) or "the top level" for path in paths]


def _sections(path: YamlPath, data: Mapping[str, Any]) -> Iterator[tuple[YamlPath, type[BaseModel]]]:
    section = section_at(path, data)
    if section is None:
        return
    yield path, section
    for name in section.model_fields:
        yield from _sections((*path, name), data)


def _members(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation itself, without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for member in get_args(annotation) if member is not types.NoneType for m in _members(member)]
    return [annotation]


def _section(annotation: Any, path: YamlPath, data: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model among an annotation's members; of several, the one whose `source` the data name."""
    models = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    if len(models) <= 1:
        return models[0] if models else None
    source = value_at((*path, "source"), data)
    return next((m for m in models if source in _literals(m.model_fields["source"].annotation)), None)


def _step(annotation: Any, key: str | int) -> Any:
    """The annotation of a key or an item below another annotation, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return None if field is None else field.annotation
    for member in _members(annotation):
        if get_origin(member) is dict:
            return get_args(member)[1]
        if get_origin(member) in (list, tuple):
            return get_args(member)[0]
    return None


def _literals(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()
