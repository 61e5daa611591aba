"""Whether a resumed run is the one that was begun: what its recipe, data and weights were, and what may differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.errors import RunError
from mibias_cli.output.whole_files import write_atomically
from mibias_cli.recipe.begun import (
    MAY_CHANGE,
    Beginning,
    begun_recipe,
    differing_settings,
    plain_settings,
    read_beginning,
)
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run.resume.data_parts import TIMES, WHOLE, data_parts, part_difference
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.checkpoint import load_checkpoint

__all__ = ["changed_settings", "check_same", "data_faults", "write_beginning"]

_FOR_MORE_EPOCHS = (
    "epochs may only grow, with training.schedule: constant and without debias.recycle_every_steps, for both go by "
    "the number of epochs, and before the run has ended"
)


def write_beginning(run: RunFolder, parts: Parts) -> None:
    """Write down what a run is begun with, or goes on with where it has no record or what may change has changed."""
    beginning = Beginning(
        recipe=plain_settings(parts.recipe),
        data=data_parts(parts.data),
        weights=weights_fingerprint(parts.backbone.module),
    )
    write_atomically(run.start, json.dumps(asdict(beginning), indent=2) + "\n")


def changed_settings(run: RunFolder, recipe: Recipe) -> list[str]:
    """The settings, all of which may change, in which a recipe differs from the one that a run was begun with.

    Runs of older versions have no record of it: for them that is the recipe in their folder.

    Raises:
        RunError: Others differ too; it names them all.
    """
    begun = begun_recipe(run)
    allowed, refused = [], []
    for key, text, may in differing_settings(begun, recipe):
        if key == "training.epochs" and not _may_lengthen(run, begun, recipe):
            refused.append(f"{text} ({_FOR_MORE_EPOCHS})")
        elif key == "training.epochs" or may:
            allowed.append(text)
        else:
            refused.append(text)
    if refused:
        raise _not_the_same(run, refused)
    return allowed


def data_faults(begun: Beginning, new: Mapping[str, str]) -> list[str]:
    """How data, as `data_parts` has them, are other than those that a run was begun with, in words."""
    old = begun.data
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    # times alone change where data are copied to another machine
    faults = [f"data: {part_difference(name, old, new)}" for name in differing if name != TIMES]
    # the general is said only where nothing special explains it
    if len(faults) > 1:
        faults = [fault for fault in faults if not fault.startswith(f"data: {WHOLE}")]
    return faults


def check_same(run: RunFolder, parts: Parts) -> str | None:
    """Compare data and starting weights with those that a run was begun with.

    Returns:
        What the user should know of the comparison, or None.

    Raises:
        RunError: They differ; it names what does.
    """
    begun = read_beginning(run)
    if begun is None:
        return "this run was begun by an older version: whether its data and weights are still the same cannot be told"
    new = data_parts(parts.data)
    faults = data_faults(begun, new)
    weights = weights_fingerprint(parts.backbone.module)
    if weights != begun.weights:
        faults.append(f"the backbone's starting weights: sha256 {begun.weights[:12]}… → {weights[:12]}…")
    if faults:
        raise _not_the_same(run, faults)
    if begun.data != new:
        return (
            "image files have other times of change than when the run was begun, but the same sizes, and the same "
            "contents as far as these were read"
        )
    return None


def _may_lengthen(run: RunFolder, begun: Recipe, recipe: Recipe) -> bool:
    state = load_checkpoint(run.last) if run.last.is_file() else None
    ended = state is not None and state["stage"] == "debias" and bool(state["position"]["finished"])
    steady = recipe.training.schedule == "constant" and recipe.debias.recycle_every_steps is None
    return recipe.training.epochs > begun.training.epochs and steady and not ended


def _not_the_same(run: RunFolder, faults: list[str]) -> RunError:
    what = "to resume is to go on with the same run, but this is not what it was begun with:"
    may = f"What may change: training.epochs upward, where data and weights lie, {', '.join(MAY_CHANGE)}"
    return RunError(
        "\n  ".join([f"{run.path}: {what}", *faults]) + f"\nundo that, or train anew with another --out. {may}"
    )
