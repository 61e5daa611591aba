"""What a run would do: cells of the data, one step forward and backward, and what the whole would cost."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import numpy as np
import torch

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.data.groups import cells
from mibias_cli.data.loader import n_batches
from mibias_cli.methods.erasers.linear_eraser import require_leace
from mibias_cli.methods.method import Method
from mibias_cli.progress import Progress, Silent
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.tables import METHODS
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.audit import validation_leakage
from mibias_cli.run.before.checks import check_start
from mibias_cli.run.before.files import tell
from mibias_cli.run.cached import stand_in_parts
from mibias_cli.run.heads.fit_time import seconds_of_fits
from mibias_cli.run.methods.build import build_method, method_settings
from mibias_cli.run.methods.early import early_trainer
from mibias_cli.run.stages import Run, StageName, make_stage, stage_debiaser
from mibias_cli.run.weights import forewarnings
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.loop import StageTrainer
from mibias_cli.training.model import TaskModel

__all__ = ["DryRun", "dry_run"]

N_STEPS = 3
"""Steps that are taken at least; the first warms caches up and is not timed."""
MOST_STEPS, MOST_SECONDS = 64, 10.0
"""Further ones are taken up to so many, or for so long."""
_FILTER_ROWS = 256
"""Rows on which a filter of images is trained, to know how long it takes."""
MOST_VALIDATED = 2048
"""Validation rows that are gone through; the time of more of them is in proportion."""
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


def dry_run(recipe: Recipe, *, offline: bool, progress: Progress, check_files: bool = False) -> DryRun:
    """Load and check everything, take some steps on a throwaway copy, write nothing that stays.

    Args:
        recipe: What would be trained.
        offline: Whether to refuse downloads.
        progress: Told of what happens, and of what the user should know of data and weights.
        check_files: Whether all images are read, and not some of those that are audited.

    Raises:
        MibiasError: Whatever would stop training, the audit or the export.
    """
    if recipe.debias.erase == "leace":
        require_leace()
    progress.stage("loading data and backbone")
    parts = assemble(recipe, offline=offline)
    tell(parts, progress)
    progress.stage("looking for what would stop the run")
    check_start(parts, all_files=check_files)
    # of an attribute that is still to be discovered nothing is known
    for text in forewarnings(parts) if parts.debias.estimator != "none" and recipe.discover is None else ():
        progress.warn(text)
    data, splits = parts.data, (parts.data.train, parts.data.validation, parts.data.audit)
    n_ranks = recipe.training.devices * recipe.training.num_nodes
    if n_ranks > 1:
        progress.note(f"one process takes the whole batch here; in training {n_ranks} share it")
    progress.stage("taking some steps")
    training, seconds = stand_in_parts(parts)
    n_steps, debias = n_batches(data.train, recipe.training.batch_size), _time_stage(training, progress, "debias")
    n_original = 0 if recipe.original is None else recipe.original.epochs or 0
    original = _time_stage(training, progress, "original") if n_original else debias
    seconds += recipe.training.epochs * debias.epoch(n_steps) + n_original * original.epoch(n_steps)
    return {
        "splits": {split.name: len(split) for split in splits},
        "cells": {split.name: _cells(split, data) for split in splits},
        "n_parameters": debias.n_parameters,
        "n_trainable": debias.n_trainable,
        "steps": recipe.training.epochs * n_steps,
        "step_seconds": debias.step,
        "estimated_training_seconds": seconds + debias.once + (original.once if n_original else 0.0),
        "peak_memory_bytes": _peak_memory_bytes(parts.fabric.device),
    }


@dataclass(frozen=True, kw_only=True)
class _StageTime:
    """Seconds of a step, of what follows an epoch, and of what a stage does once; and the sizes of its model."""

    step: float
    epoch_end: float
    once: float
    n_parameters: int
    n_trainable: int

    def epoch(self, n_steps: int) -> float:
        """Seconds of an epoch."""
        return n_steps * self.step + self.epoch_end


def _time_stage(parts: Parts, progress: Progress, name: StageName) -> _StageTime:
    """A stage's first steps, the end of an epoch, and the measurement at its end, on a throwaway model."""
    model, split = parts.new_model(), parts.data.validation
    rows = spread_rows(len(split), MOST_VALIDATED)
    if len(rows) < len(split):
        parts = replace(parts, data=replace(parts.data, validation=split.at(rows)))
    with TemporaryDirectory() as folder:
        run = Run(folder=RunFolder(Path(folder)), progress=Silent())
        with run.log() as log:
            # an attribute that is still to be discovered has no values yet: steps are those of plain training
            plain = name == "original" or parts.recipe.discover is not None
            method = None if plain else build_method(parts, model, progress)
            trainer = make_stage(parts, run, log, model, name=name, method=method)
            step, epoch_end = _time_epoch(trainer, parts)
    once = 0.0 if method is None else _time_before(parts, model, progress)
    once += seconds_of_fits(model, parts, partial(stage_debiaser, parts, model, last_fit=True), last=name == "debias")
    if name == "debias":
        progress.stage("measuring validation rows, as at the end")
        began = time.monotonic()
        validation_leakage(model, parts)
        once += time.monotonic() - began
    return _StageTime(
        step=step,
        epoch_end=epoch_end * (len(split) / len(rows) if len(rows) else 1.0),
        once=once,
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
    )


def _time_before(parts: Parts, model: TaskModel, progress: Progress) -> float:
    """Seconds of what a method does before its first step and before each epoch, tried in small.

    Of first models some steps are taken, and few rows are scored by them; critics take as few steps.
    """
    recipe, train = parts.recipe, parts.data.train
    settings, seconds = method_settings(recipe.method, recipe.method_settings), 0.0
    n_steps, batch_size = n_batches(train, recipe.training.batch_size), recipe.training.batch_size
    if METHODS[recipe.method].filters:
        return _time_filter(parts, settings["epochs"], progress)

    def some_steps(parts: Parts, method: Method, epochs: int) -> None:
        nonlocal seconds
        with early_trainer(parts, method.spec.model, epochs=epochs, progress=Silent(), method=method) as trainer:
            step, epoch_end = _time_epoch(trainer, parts)
        seconds += epochs * (n_steps * step + epoch_end)

    if "epochs" in settings:
        few_rows = train.at(spread_rows(len(train), N_STEPS * batch_size))
        few = replace(parts, data=replace(parts.data, train=few_rows))
        method = build_method(few, few.new_model(), progress, train=some_steps)
        assert method is not None, "the recipe has one"
        method.prepare()
    if "critic_steps" in settings:
        small = recipe.method_settings | {"warmup_steps": N_STEPS, "critic_steps": N_STEPS}
        some = replace(parts, recipe=recipe.model_copy(update={"method_settings": small}))
        method = build_method(some, model, progress)
        assert method is not None, "the recipe has one"
        start = time.monotonic()
        method.begin_epoch(0)
        whole = settings["warmup_steps"] + (recipe.training.epochs - 1) * settings["critic_steps"]
        seconds += (time.monotonic() - start) / N_STEPS * whole
    return seconds


def _time_filter(parts: Parts, epochs: float, progress: Progress) -> float:
    """Seconds of training a filter of images for so many epochs, by one epoch of few rows."""
    train = parts.data.train
    few = train.at(spread_rows(len(train), _FILTER_ROWS))
    settings = parts.recipe.method_settings | {"epochs": 1}
    recipe = parts.recipe.model_copy(update={"method_settings": settings})
    some = replace(parts, recipe=recipe, data=replace(parts.data, train=few))
    method = build_method(some, some.new_model(), progress)
    assert method is not None, "the recipe has one"
    start = time.monotonic()
    method.prepare()
    return (time.monotonic() - start) * epochs * len(train) / len(few)


def _time_epoch(trainer: StageTrainer, parts: Parts) -> tuple[float, float]:
    """Seconds of a step, and of what follows the last one of an epoch."""
    step, start = _time_steps(trainer, parts), time.monotonic()
    trainer.try_epoch_end()
    return step, time.monotonic() - start


def _time_steps(trainer: StageTrainer, parts: Parts) -> float:
    """Mean seconds of the last of some training steps: with a full queue where that is soon so."""
    section, device = parts.recipe.training, parts.fabric.device
    n_steps = n_batches(parts.data.train, section.batch_size)
    warm = round(parts.recipe.debias.warmup_epochs * n_steps)
    began, times = time.monotonic(), list[float]()
    # several epochs where these are short: a step costs more once the queue is full
    for epoch in range(section.epochs):
        start = time.monotonic()
        for batch in trainer.train_batches(epoch, 0, alone=True):
            # reading its samples belongs to a step; past the warm-up, where the penalty has all its weight
            trainer.try_step(batch, min(warm + len(times), section.epochs * n_steps - 1))
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # a step is done when the GPU is
            times.append(time.monotonic() - start)
            start = time.monotonic()
            spent = start - began
            if len(times) >= N_STEPS and (spent > MOST_SECONDS or len(times) >= MOST_STEPS):
                return float(np.mean(times[-max(1, len(times) // 2) :]))
    # the first step pays for caches and kernels
    return float(np.mean(times[len(times) // 2 :] or times))


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
