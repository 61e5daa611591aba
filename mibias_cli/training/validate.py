"""Figures of the validation split during training: for watching and for choosing a checkpoint, never for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.spectrum import effective_rank
from mibias_cli.data.batch import Batch, Split
from mibias_cli.data.loader import batches
from mibias_cli.data.target import Target, TargetKind
from mibias_cli.estimators.measures.predictive import gain_over_reference
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.original import FrozenOriginal
from mibias_cli.training.queue import sample_of
from mibias_cli.training.step import BIAS_LOG_P, TASK_WEIGHT, task_loss

__all__ = ["GAIN", "GAIN_ERROR", "metric_names", "validate"]

GAIN = "validation/gain_over_bias_bits"
"""Name of what the scores add to the bias: half of what a user without unbiased data chooses by, see `validate`."""
GAIN_ERROR = "validation/gain_over_bias_error_bits"
"""Name of its standard error between models on the same rows."""

MAX_Z_ROWS = 10_000
"""Rows whose z is kept for the attribute heads' bound: enough for ±.01 bits, and bounded in memory."""


_FIGURES: Mapping[TargetKind, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy"),
    "multilabel": ("accuracy", "balanced_accuracy", "exact_match"),
    "regression": ("r2", "mae", "rmse"),
    "none": (),
}
_WEIGHTED: Mapping[TargetKind, tuple[str, ...]] = {
    "classes": ("weighted_accuracy",),
    "multilabel": ("weighted_accuracy",),
    "regression": ("weighted_rmse",),
    "none": (),
}


def metric_names(
    debiaser: Debiaser | None, weights: Mapping[str, np.ndarray], kind: TargetKind = "classes"
) -> list[str]:
    """Names of the figures that `validate` gives, so that a name can be checked before training begins."""
    own = ("loss", *_FIGURES[kind], "effective_rank", *(_WEIGHTED[kind] if TASK_WEIGHT in weights else ()))
    names = [f"validation/{name}" for name in own]
    if BIAS_LOG_P in weights:
        names += [GAIN, GAIN_ERROR]
    for attribute in () if debiaser is None else debiaser.monitors:
        names += [f"validation/{attribute}/leakage_bits", f"validation/{attribute}/head_accuracy"]
        if attribute in weights:
            names.append(f"validation/{attribute}/balanced_leakage_bits")
    return names


@torch.no_grad()
def validate(
    model: Any,
    split: Split,
    *,
    target: Target,
    original: FrozenOriginal | None = None,
    debiaser: Debiaser | None,
    weights: Mapping[str, np.ndarray],
    batch_size: int,
    num_workers: int,
    device: torch.device,
    seed: int,
) -> dict[str, float]:
    """Task and leakage figures of a model in evaluation mode on a split.

    `validation/weighted_accuracy` weights samples by p(y)p(c)/p(y,c): the accuracy to expect where y and c are
    independent, from biased data alone. `validation/gain_over_bias_bits` is what the scores tell of the class beyond
    what the attributes tell of it, see `gain_over_reference`: a model that leans on the bias gains little. Of several
    labels accuracies are means over labels; of numbers `r2`, `mae` and `rmse` are means over columns, errors in the
    user's units. `validation/<attribute>/leakage_bits` is the attribute heads' held-out bound.
    """
    logits: list[Tensor] = []
    wanted: list[Tensor] = []
    features: list[Tensor] = []
    kept: list[tuple[Batch, Tensor]] = []
    n_kept = 0
    stream = batches(
        split, batch_size=batch_size, epoch=0, seed=seed, shuffle=False, num_workers=num_workers, weights=dict(weights)
    )
    for cpu_batch in stream:
        batch = cpu_batch.to(device)
        output = model(batch.x)
        logits.append(output["logits"].float().cpu())
        wanted.append(cpu_batch.y if original is None else original(batch.x).float().cpu())
        if n_kept < MAX_Z_ROWS:
            features.append(output["features"].float().cpu())
        if debiaser is not None and n_kept < MAX_Z_ROWS:
            kept.append((batch, output["z"]))
        n_kept += len(batch.y)
    given = weights.get(TASK_WEIGHT)
    weight = None if given is None else torch.from_numpy(given).double()
    task = _task_figures(torch.cat(logits), torch.cat(wanted), weight, target)
    figures = {f"validation/{name}": value for name, value in task.items()}
    if BIAS_LOG_P in weights:
        reference = torch.from_numpy(weights[BIAS_LOG_P])
        gain, error = gain_over_reference(torch.cat(logits), torch.cat(wanted), reference)
        figures |= {GAIN: float(gain) / math.log(2), GAIN_ERROR: float(error) / math.log(2)}
    figures["validation/effective_rank"] = effective_rank(torch.cat(features).numpy())
    if debiaser is not None:
        figures |= _leakage_figures(debiaser, kept, seed)
    return figures


def _task_figures(logits: Tensor, y: Tensor, weight: Tensor | None, target: Target) -> dict[str, float]:
    figures = {"loss": float(task_loss(logits, y, None, target.kind))}
    if target.kind == "none":
        return figures
    if target.kind == "regression":
        return figures | _number_figures(logits, y, weight, target)
    columns = [(logits.argmax(dim=1), y)]
    if target.kind == "multilabel":
        columns = list(zip((logits > 0).long().T, y.long().T, strict=True))
    right = torch.stack([predicted == true for predicted, true in columns], dim=1).double()
    recalls = [np.mean([float((p[t == k] == k).double().mean()) for k in torch.unique(t)]) for p, t in columns]
    figures |= {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
    if target.kind == "multilabel":
        figures["exact_match"] = float(right.prod(dim=1).mean())
    if weight is not None:
        figures["weighted_accuracy"] = float((weight * right.mean(dim=1)).sum() / weight.sum())
    return figures


def _number_figures(numbers: Tensor, y: Tensor, weight: Tensor | None, target: Target) -> dict[str, float]:
    scale = torch.tensor(target.scale, dtype=torch.float64)
    error, spread = (numbers - y).double(), (y - y.mean(dim=0)).double().square().mean(dim=0)
    square = error.square()
    figures = {
        "r2": float((1 - square.mean(dim=0) / spread).mean()),
        "mae": float((error.abs().mean(dim=0) * scale).mean()),
        "rmse": float((square.mean(dim=0).sqrt() * scale).mean()),
    }
    if weight is not None:
        weighted = (weight[:, None] * square).sum(dim=0) / weight.sum()
        figures["weighted_rmse"] = float((weighted.sqrt() * scale).mean())
    return figures


def _leakage_figures(debiaser: Debiaser, kept: list[tuple[Batch, Tensor]], seed: int) -> dict[str, float]:
    whole = _joined(kept)
    z = torch.cat([z for _, z in kept])
    generator = torch.Generator().manual_seed(seed)
    figures: dict[str, float] = {}
    for name, monitor in debiaser.monitors.items():
        sample = sample_of(whole, z, name, weighted=False)
        figures[f"validation/{name}/leakage_bits"] = monitor.estimate(sample, generator) / math.log(2)
        figures[f"validation/{name}/head_accuracy"] = monitor.accuracy(sample)
        if name in whole.weight:
            balanced = sample_of(whole, z, name, weighted=True)
            figures[f"validation/{name}/balanced_leakage_bits"] = monitor.estimate(balanced, generator) / math.log(2)
    return figures


def _joined(kept: list[tuple[Batch, Tensor]]) -> Batch:
    parts = [batch for batch, _ in kept]

    def join(field: str) -> dict[str, Tensor]:
        return {k: torch.cat([getattr(p, field)[k] for p in parts]) for k in getattr(parts[0], field)}

    return Batch(
        x=parts[0].x[:0],
        y=torch.cat([p.y for p in parts]),
        c=join("c"),
        known=join("known"),
        index=torch.cat([p.index for p in parts]),
        weight=join("weight"),
        stratum=torch.cat([p.strata for p in parts]),
    )
