"""A run on several ranks: what they must have in common, and where they are not exactly as one process."""

from __future__ import annotations

import os

import torch

from mibias_cli.backbone.trainable import choose_trainable, trains_batchnorm
from mibias_cli.errors import RunError
from mibias_cli.ranks.place import Place, find_place, undivided
from mibias_cli.recipe.begun import begun_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.model import TaskModel

__all__ = ["BY_RANK", "check_ranks", "on_its_ranks", "splits_batchnorm"]

BY_RANK = (
    "BatchNorm takes its statistics over the samples of each rank, since torch has no synchronised one for CPUs; "
    "backbone.freeze_batchnorm: true keeps the loaded statistics"
)


def on_its_ranks(recipe: Recipe) -> tuple[Recipe, Place | None]:
    """The recipe with the number of ranks that were started, and this process's place among them.

    Raises:
        RunError: The recipe asks for several ranks and this is a process alone, or they cannot share a batch.
    """
    place, section = find_place(os.environ), recipe.training
    if place is None:
        n = section.devices * section.num_nodes
        if n > 1:
            raise RunError(
                f"training.devices asks for {n} ranks, but this is one process: run `mibias train`, which starts them, "
                f"or start this program with `torchrun --nproc-per-node {section.devices}`"
            )
        return recipe, None
    reason = undivided(section.batch_size, place.devices, place.nodes)
    if reason is not None:
        raise RunError(f"training.batch_size {reason}")
    training = section.model_copy(update={"devices": place.devices, "num_nodes": place.nodes})
    return recipe.model_copy(update={"training": training}), place


def splits_batchnorm(parts: Parts) -> bool:
    """Whether BatchNorm trains by the statistics of each rank's samples alone."""
    return parts.fabric.device.type == "cpu" and trains_batchnorm(_as_it_trains(parts))


def _draws(parts: Parts) -> bool:
    """Whether a forward pass in training draws random numbers, as dropout does."""
    model = _as_it_trains(parts)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        model(torch.zeros(2, *parts.data.input_shape))
        return not torch.equal(before, torch.get_rng_state())


def _as_it_trains(parts: Parts) -> TaskModel:
    model, section = parts.new_model(), parts.recipe.backbone
    choose_trainable(model.extractor, train=section.train, batchnorm_frozen=section.freeze_batchnorm)
    return model.train()


def check_ranks(run: RunFolder, parts: Parts) -> None:
    """Refuse (RunError) to resume on another number of ranks where that does not go on with the same figures."""
    begun, now = begun_recipe(run).training, parts.recipe.training
    old, new = begun.devices * begun.num_nodes, now.devices * now.num_nodes
    if old == new:
        return
    reason = BY_RANK if splits_batchnorm(parts) else "dropout draws anew on each rank" if _draws(parts) else None
    if reason is not None:
        raise RunError(
            f"{run.path}: was trained on {old} rank{'s' * (old > 1)} and cannot go on exactly on {new}: {reason}. "
            f"Resume it on {old}, or train anew with another --out"
        )
