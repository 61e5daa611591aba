"""What a run would do: cells of the data, one step forward and backward, and what the whole would cost."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.data.loader import batches, n_batches
from mibias_cli.methods.linear_eraser import require_leace
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import build
from mibias_cli.run.workflow import make_stage
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.run_log import RunLog

__all__ = ["dry_run"]

N_STEPS = 3
"""Steps that are taken; the first warms caches up and is not timed."""


def dry_run(recipe: Recipe, *, offline: bool, progress: Progress) -> dict[str, Any]:
    """Load everything, take a few steps on a throwaway copy, write nothing that stays.

    Returns:
        `splits` (samples per split), `cells` (per split and attribute channel: counts per target × class),
        `n_parameters`, `n_trainable`, `step_seconds`, `estimated_training_seconds`, `peak_memory_bytes`.
    """
    if recipe.debias.erase != "none":
        require_leace()
    progress.stage("loading data and backbone")
    fabric = make_fabric(recipe.training.device, recipe.training.precision, deterministic=recipe.training.deterministic)
    assembly = build.assemble(recipe, offline=offline)
    data = assembly.data
    progress.stage("taking one step forward and backward")
    model = build.build_model(recipe, assembly)
    with TemporaryDirectory() as folder, RunLog(Path(folder)) as run_log:
        trainer = make_stage(recipe, assembly, Path(folder), fabric, model, run_log, progress, name="debias")
        seconds = _time_steps(trainer, data, recipe, fabric.device)
    steps = recipe.training.epochs * n_batches(data.train, recipe.training.batch_size)
    original = recipe.original.epochs if recipe.original else 0
    return {
        "splits": {s.name: len(s) for s in (data.train, data.validation, data.audit)},
        "cells": {s.name: _cells(s, data) for s in (data.train, data.validation, data.audit)},
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "n_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": steps,
        "step_seconds": seconds,
        "estimated_training_seconds": seconds * steps * (1 + original / recipe.training.epochs),
        "peak_memory_bytes": _peak_memory_bytes(fabric.device),
    }


def _time_steps(trainer: Any, data: BiasedData, recipe: Recipe, device: torch.device) -> float:
    stream = batches(
        data.train,
        batch_size=recipe.training.batch_size,
        epoch=0,
        seed=recipe.seed,
        shuffle=True,
        num_workers=0,
        weights=dict(trainer.weights["train"]),
    )
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


def _cells(split: Split, data: BiasedData) -> dict[str, dict[str, dict[str, int]]]:
    """Counts per attribute channel: target class → attribute class → n, cells of 0 included."""
    result: dict[str, dict[str, dict[str, int]]] = {}
    for name, attribute in data.attributes.items():
        known = split.known[name]
        classes = attribute.classes(split.c[name][known])
        for k, channel in enumerate(attribute.channels):
            counts = np.zeros((len(data.class_names), attribute.n_classes[k]), dtype=np.int64)
            np.add.at(counts, (split.strata[known], classes[:, k]), 1)
            key = name if channel == name else f"{name}/{channel}"
            result[key] = {
                target: dict(zip(attribute.class_names[k], map(int, row), strict=True))
                for target, row in zip(data.class_names, counts, strict=True)
            }
    return result


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
