"""How long the fits of bottleneck and head take, from a few samples and steps of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mibias_cli.progress import Silent
from mibias_cli.run.assemble import Parts
from mibias_cli.run.heads import fitted
from mibias_cli.run.heads.fitted import fit_unpenalised, penalise
from mibias_cli.run.heads.passes import Pass, n_passes, of_held_samples, one_pass
from mibias_cli.run.heads.weight_path import N_FOLDS, PATH, PATH_STEPS
from mibias_cli.seeds import derived_generator, scoped_torch_rng
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.model import TaskModel

__all__ = ["seconds_of_fits"]

_TIMED_STEPS = 6
_FITS = 0xF175
_SOME_WEIGHT = 0.1


def seconds_of_fits(
    model: TaskModel, parts: Parts, make_debiaser: Callable[[], Debiaser | None], *, last: bool
) -> float:
    """Seconds that `training.head_first` and, in the last stage, `training.head_last` take in a run.

    Features are computed of two batches, and stand for those of all samples; a fit is done once, and steps of the
    penalty a few times. The model is changed: it is one to throw away.
    """
    training = parts.recipe.training
    first_fit = training.head_first is not None and parts.data.target.kind != "none"
    last_fit = last and parts.head_last is not None
    if not first_fit and not last_fit:
        return 0.0
    debiaser = make_debiaser() if last_fit else None
    parts = of_held_samples(parts)
    n = len(parts.data.train)
    some = derived_generator(parts.recipe.seed, _FITS).permutation(n)[: 2 * training.batch_size]
    model.to(parts.fabric.device).eval()
    with scoped_torch_rng(parts.fabric.device):
        plainly, _ = _read(model, parts, some, None)
        per_sample, one = _read(model, parts, some, debiaser)
        whole = _repeated(one, n)
        start = time.monotonic()
        fit_unpenalised(model, parts, [whole])
        fit = time.monotonic() - start
        seconds = n * plainly + fit if first_fit else 0.0
        if last_fit:
            seconds += n_passes(parts) * (n * per_sample + fit)
            seconds += _seconds_of_penalty(model, parts, whole, debiaser, fit * n_passes(parts))
    return seconds


def _seconds_of_penalty(model: TaskModel, parts: Parts, whole: Pass, debiaser: Debiaser | None, fit: float) -> float:
    """Seconds of the last fit's steps with the penalty, and of the path of λ on folds where λ is to be found."""
    if debiaser is None:
        return 0.0
    auto = parts.recipe.debias.weight == "auto"
    if not auto and not debiaser.settings.weight:
        return 0.0
    debiaser.settings = replace(debiaser.settings, weight=_SOME_WEIGHT)
    seconds = fitted.N_STEPS * _step(model, parts, whole, debiaser)
    if auto:
        # a fold is fitted on what the others hold
        inside = whole.at(torch.from_numpy(np.arange(len(parts.data.train)) % N_FOLDS != 0))
        steps = N_FOLDS * (len(PATH) - 1) * PATH_STEPS
        seconds += steps * _step(model, parts, inside, debiaser) + (N_FOLDS - 1) * fit
    return seconds


@torch.no_grad()
def _read(model: TaskModel, parts: Parts, some: NDArray[np.int64], debiaser: Debiaser | None) -> tuple[float, Pass]:
    """Seconds that a pass takes a sample, and the pass."""
    start = time.monotonic()
    one = one_pass(model, parts, some, debiaser, 0)
    return (time.monotonic() - start) / len(some), one


def _step(model: TaskModel, parts: Parts, rows: Pass, debiaser: Debiaser) -> float:
    start = time.monotonic()
    penalise(model, parts, [rows], debiaser, None, Silent(), n_steps=_TIMED_STEPS)
    # after the last step critics are fitted once more
    return (time.monotonic() - start) / (_TIMED_STEPS + 1)


def _repeated(one: Pass, n: int) -> Pass:
    """A pass over n samples that has those of this one over and over."""
    rows = torch.from_numpy(np.resize(np.arange(len(one.samples)), n))
    return one.take(rows, np.arange(n))
