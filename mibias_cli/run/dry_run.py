"""What a run would do: cells of the data, one step forward and backward, and what the whole would cost."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import torch

from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.data.groups import cells
from mibias_cli.data.loader import batches, n_batches
from mibias_cli.methods.linear_eraser import require_leace
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.debiaser import build_method
from mibias_cli.run.stages import Run, make_stage
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.loop import StageTrainer

__all__ = ["DryRun", "dry_run"]

N_STEPS = 3
"""Steps that are taken; the first warms caches up and is not timed."""
Cells = dict[str, dict[str, dict[str, int]]]
"""By attribute channel: target class → attribute class → number of samples."""


class DryRun(TypedDict):
    """What a dry run finds: samples and cells by split, and what training would take."""

    splits: dict[str, int]
    cells: dict[str, Cells]
    n_parameters: int
    n_trainable: int
    steps: int
    step_seconds: float
    estimated_training_seconds: float
    peak_memory_bytes: int


def dry_run(recipe: Recipe, *, offline: bool, progress: Progress) -> DryRun:
    """Load everything, take a few steps on a throwaway copy, write nothing that stays."""
    if recipe.debias.erase == "leace":
        require_leace()
    progress.stage("loading data and backbone")
    parts = assemble(recipe, offline=offline)
    data, splits = parts.data, (parts.data.train, parts.data.validation, parts.data.audit)
    n_ranks = recipe.training.devices * recipe.training.num_nodes
    if n_ranks > 1:
        progress.note(f"one process takes the whole batch here; in training {n_ranks} share it")
    progress.stage("taking one step forward and backward")
    model = parts.new_model()
    with TemporaryDirectory() as folder:
        run = Run(folder=RunFolder(Path(folder)), progress=progress)
        with run.log() as log:
            # an attribute that is still to be discovered has no values yet: steps are those of plain training
            method = None if recipe.discover is not None else build_method(parts, model, progress)
            seconds = _time_steps(make_stage(parts, run, log, model, name="debias", method=method), parts)
    # an epoch of the original stage is taken to cost as much as one of debiasing: at most it does
    steps = recipe.training.epochs * n_batches(data.train, recipe.training.batch_size)
    original = recipe.original.epochs if recipe.original else 0
    return {
        "splits": {split.name: len(split) for split in splits},
        "cells": {split.name: _cells(split, data) for split in splits},
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "n_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": steps,
        "step_seconds": seconds,
        "estimated_training_seconds": seconds * steps * (1 + original / recipe.training.epochs),
        "peak_memory_bytes": _peak_memory_bytes(parts.fabric.device),
    }


def _time_steps(trainer: StageTrainer, parts: Parts) -> float:
    """Mean seconds of a training step, but for the first."""
    stream = batches(
        parts.data.train,
        batch_size=parts.recipe.training.batch_size,
        epoch=0,
        seed=parts.recipe.seed,
        shuffle=True,
        num_workers=0,
        weights=dict(trainer.weights["train"]),
    )
    device = parts.fabric.device
    # the clock starts anew after the first step, which pays for caches and kernels
    start = time.monotonic()
    n_timed = 0
    for i, batch in zip(range(N_STEPS), stream, strict=False):
        if i == 1:
            start = time.monotonic()
        n_timed = max(i, 1)
        trainer.try_step(batch, i)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # a step is done when the GPU is
    return (time.monotonic() - start) / n_timed


def _cells(split: Split, data: BiasedData) -> Cells:
    """Counts per attribute channel, cells of 0 included."""
    result: Cells = {}
    for name, attribute in data.attributes.items():
        known = split.known[name]
        classes = attribute.classes(split.c[name][known])
        for k, channel in enumerate(attribute.channels):
            counts = cells(split.strata[known], classes[:, k], len(data.class_names), attribute.n_classes[k])
            key = name if channel == name else f"{name}/{channel}"
            result[key] = {
                target: dict(zip(attribute.class_names[k], map(int, row), strict=True))
                for target, row in zip(data.class_names, counts, strict=True)
            }
    return result


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
