"""The recipe of a run, beside the one that the run was begun with, and which settings may differ between the two."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from mibias_cli.errors import RunError
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.values import BEGUN
from mibias_cli.run_folder import RECIPE_FILE, RunFolder, is_run, refuse_devices

__all__ = [
    "MAY_CHANGE",
    "Beginning",
    "begun_recipe",
    "differing_settings",
    "load_run_recipe",
    "plain_settings",
    "read_beginning",
]

MAY_CHANGE = (
    "training.num_workers",
    "training.device",
    "training.devices",
    "training.num_nodes",
    "training.checkpoint_every_steps",
    "backbone.cache",
    "export.formats",
    "gates",
    "logging",
    "name",
)
"""Keys that a resumed run may set otherwise; with them `training.epochs` upward, and where data and weights lie."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """start.json: what a run was begun with. `data` names parts of the data, each with its size or its sha256."""

    recipe: dict[str, JsonValue]
    data: dict[str, str]
    weights: str


def load_run_recipe(run: Path, overrides: Sequence[str] = (), *, resumes: bool = False) -> Recipe:
    """The resolved recipe of a run, with `--set` overrides.

    Args:
        resumes: Whether the run is to be resumed, which compares the recipe with its beginning itself, overrides too.

    Raises:
        RunError: The folder is no run, or its recipe was edited or cut since the run was begun.
        RecipeError: The recipe cannot be read.
    """
    refuse_devices(run)
    if not is_run(run):
        raise RunError(f"{run}: is not a run (it has no {RECIPE_FILE})")
    folder = RunFolder(run)
    recipe = load_recipe(folder.recipe, overrides, begun=True)
    if not resumes:
        own = load_recipe(folder.recipe, begun=True) if overrides else recipe
        faults = [text for _, text, may in differing_settings(begun_recipe(folder), own) if not may]
        if faults:
            first = f"{folder.recipe}: is not what the run was begun with, as {folder.start.name} beside it says:"
            raise RunError("\n  ".join([first, *faults]) + "\nundo that; for one command alone use --set")
    return recipe


def read_beginning(run: RunFolder) -> Beginning | None:
    """What a run was begun with, or None where it has no record of it, as those of older versions."""
    if not run.start.is_file():
        return None
    try:
        return TypeAdapter(Beginning).validate_json(run.start.read_bytes())
    except ValidationError as error:
        raise RunError(f"{run.start}: damaged; remove it to go on without knowing whether anything changed") from error


def begun_recipe(run: RunFolder) -> Recipe:
    """The recipe that a run was begun with: that of its record, or of its folder where there is no record.

    Keys that are newer than the record get their defaults.
    """
    found = read_beginning(run)
    if found is None:
        return load_recipe(run.recipe, begun=True)
    try:
        return Recipe.model_validate(found.recipe, context=BEGUN)
    except ValidationError as error:
        raise RunError(
            f"{run.start}: holds a recipe that this version cannot read; take the older one for this run"
        ) from error


def differing_settings(begun: Recipe, recipe: Recipe) -> Iterator[tuple[str, str, bool]]:
    """Keys in which a recipe differs from the one that a run was begun with: each in words, and whether it may."""
    for key, old, new in _differences(plain_settings(begun), plain_settings(recipe)):
        yield key, f"{key}: {_written(old)} → {_written(new)}", key in MAY_CHANGE or _is_place(key, begun, recipe)


def plain_settings(recipe: Recipe) -> dict[str, JsonValue]:
    """A recipe as it is recorded, every key with its value."""
    values: dict[str, JsonValue] = recipe.model_dump(mode="json")
    return values


def _differences(
    old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], prefix: str = ""
) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    """Dotted keys whose values differ, with both values; lists are values."""
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, a, b


def _written(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_place(key: str, begun: Recipe, recipe: Recipe) -> bool:
    """Whether a key says where data or weights lie: whether these are the same, their fingerprints tell."""
    section, _, name = key.partition(".")
    if section == "data":
        return any(isinstance(getattr(one.data, name, None), Path) for one in (begun, recipe))
    return key == "backbone.weights"
