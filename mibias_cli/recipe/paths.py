"""Relative paths of a recipe made absolute, so that the resolved recipe works from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

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
    # paths stand among the keys of `data`, and in one of the forms of backbone.weights
    given = {name: getattr(recipe.data, name) for name in type(recipe.data).model_fields}
    data = {name: _join(base_of(("data", name)), path) for name, path in given.items() if isinstance(path, Path)}
    weights = _weights(recipe.backbone.weights, base_of(("backbone", "weights")))
    backbone = recipe.backbone.model_copy(update={"weights": weights})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=data), "backbone": backbone})


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
    return Path(os.path.abspath(base / path))  # Path.resolve would follow links
