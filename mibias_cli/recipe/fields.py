"""What the schema knows of a place in a recipe: which section stands there, its keys, its defaults."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.yaml_source import Yaml, YamlMapping, YamlPath

__all__ = ["default_list", "field_at", "places_of_key", "section_at", "value_at"]


def section_at(path: YamlPath, data: YamlMapping) -> type[BaseModel] | None:
    """The model of the section at a path, or None where the schema has no section; `data` tells which data source.

    Example:
        >>> section_at(("debias", "critic"), {}).__name__
        'CriticSection'
        >>> section_at(("data",), {"data": {"source": "mnist"}}).__name__
        'MnistData'
    """
    # walk down from the whole recipe, choosing the data section by its source on the way
    annotation: object = Recipe
    for depth, key in enumerate(path):
        annotation = _step(_section(annotation, path[:depth], data) or annotation, key)
    return _section(annotation, path, data)


def field_at(path: YamlPath, data: YamlMapping) -> FieldInfo | None:
    """The schema's field at a path, or None."""
    section = section_at(path[:-1], data) if path else None
    return None if section is None else section.model_fields.get(str(path[-1]))


def default_list(path: YamlPath, data: YamlMapping) -> list[Yaml] | None:
    """A copy of the default of the field at a path where that is a list, else None."""
    field = field_at(path, data)
    default = None if field is None else field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, list | tuple) else None


def value_at(path: YamlPath, data: YamlMapping) -> Yaml:
    """The value in a parsed recipe at a path, or None."""
    value: Yaml = dict(data)
    for key in path:
        if isinstance(key, str) and isinstance(value, dict):
            value = value.get(key)
        elif isinstance(key, int) and isinstance(value, list):
            value = value[key] if 0 <= key < len(value) else None
        else:
            return None
    return value


def places_of_key(key: str, data: YamlMapping) -> list[str]:
    """Sections elsewhere in the recipe that do have this key: what a key in the wrong section probably means.

    Example:
        >>> places_of_key("queue_batches", {})
        ['debias']
    """
    paths = [path for path, section in _sections((), data) if key in section.model_fields]
    return [".".join(map(str, path)) or "the top level" for path in paths]


def _sections(path: YamlPath, data: YamlMapping) -> Iterator[tuple[YamlPath, type[BaseModel]]]:
    section = section_at(path, data)
    if section is None:
        return
    yield path, section
    for name in section.model_fields:
        yield from _sections((*path, name), data)


def _members(annotation: object) -> tuple[object, ...]:
    """The members of a union, of unions in it too, or the annotation itself; each without what annotates it."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return (annotation,)
    return tuple(found for member in get_args(annotation) for found in _members(member))


def _section(annotation: object, path: YamlPath, data: YamlMapping) -> type[BaseModel] | None:
    """The model among an annotation's members; of several, the one whose `source` the data name."""
    models = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    if len(models) <= 1:
        return models[0] if models else None
    # only `data` is a union of sections, told apart by its source
    source = value_at((*path, "source"), data)
    return next((m for m in models if source in get_args(m.model_fields["source"].annotation)), None)


def _step(annotation: object, key: str | int) -> object:
    """The annotation of a key or an item below another annotation, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return None if field is None else field.annotation
    # no section: what stands below is a value of a dict, or an item of a list
    for member in _members(annotation):
        if get_origin(member) is dict:
            return get_args(member)[1]
        if get_origin(member) in (list, tuple):
            return get_args(member)[0]
    return None
