"""Relative paths of a recipe made absolute, so that the resolved recipe works from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mibias_cli.recipe.checks import WEIGHT_FILES
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.yaml_source import YamlPath

__all__ = ["make_paths_absolute"]

_LOCAL = "local-dir:"


def make_paths_absolute(recipe: Recipe, base_of: Callable[[YamlPath], Path]) -> Recipe:
    """The same recipe with every path absolute and `~` expanded.

    Args:
        recipe: A validated recipe.
        base_of: The folder that a relative path at a place of the recipe starts from.
    """
    recipe = _absolute(recipe, (), base_of)
    place: YamlPath = ("backbone", "weights")
    weights = _weights(recipe.backbone.weights, base_of(place))
    return recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"weights": weights})})


def _absolute(value: Any, place: YamlPath, base_of: Callable[[YamlPath], Path]) -> Any:
    if isinstance(value, Path):
        return _join(base_of(place), value)
    if isinstance(value, BaseModel):
        old = {name: getattr(value, name) for name in type(value).model_fields}
        new = {name: _absolute(item, (*place, name), base_of) for name, item in old.items()}
        return value.model_copy(update={name: item for name, item in new.items() if item is not old[name]})
    if isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
        return {name: _absolute(item, (*place, name), base_of) for name, item in value.items()}
    return value


def _weights(text: str, base: Path) -> str:
    """Paths among the forms of backbone.weights made absolute; the other forms as they are."""
    if text.startswith(_LOCAL):
        return _LOCAL + str(_join(base, Path(text.removeprefix(_LOCAL))))
    if text.endswith(WEIGHT_FILES) and not text.startswith("hf-hub:"):
        return str(_join(base, Path(text)))
    return text


def _join(base: Path, path: Path) -> Path:
    """Absolute and without `..`, links left as they are."""
    try:
        path = path.expanduser()
    except RuntimeError:
        return path  # a `~user` that this machine does not know: opening it will say so
    return Path(os.path.abspath(base / path))
