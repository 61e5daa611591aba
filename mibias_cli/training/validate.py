"""Figures of the validation split during training: for watching and for choosing a checkpoint, never for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.backbone.spectrum import effective_rank
from mibias_cli.data.batch import Batch, Split
from mibias_cli.data.loader import batches
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.queue import sample_of
from mibias_cli.training.step import TASK_WEIGHT

__all__ = ["metric_names", "validate"]

MAX_Z_ROWS = 10_000
"""Rows whose z is kept for the attribute heads' bound: enough for ±.01 bits, and bounded in memory."""


def metric_names(debiaser: Debiaser | None, weights: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the figures that `validate` gives, so that a name can be checked before training begins."""
    names = ["validation/loss", "validation/accuracy", "validation/balanced_accuracy", "validation/effective_rank"]
    if TASK_WEIGHT in weights:
        names.append("validation/weighted_accuracy")
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
    debiaser: Debiaser | None,
    weights: Mapping[str, np.ndarray],
    batch_size: int,
    num_workers: int,
    device: torch.device,
    seed: int,
) -> dict[str, float]:
    """Task and leakage figures of a model in evaluation mode on a split.

    `validation/weighted_accuracy` weights samples by p(y)p(c)/p(y,c): the accuracy to expect where y and c are
    independent, from biased data alone. `validation/<attribute>/leakage_bits` is the attribute heads' held-out bound.
    """
    logits: list[Tensor] = []
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
        if n_kept < MAX_Z_ROWS:
            features.append(output["features"].float().cpu())
        if debiaser is not None and n_kept < MAX_Z_ROWS:
            kept.append((batch, output["z"]))
        n_kept += len(batch.y)
    figures = _task_figures(torch.cat(logits), torch.from_numpy(split.y), weights.get(TASK_WEIGHT))
    figures["validation/effective_rank"] = effective_rank(torch.cat(features).numpy())
    if debiaser is not None:
        figures |= _leakage_figures(debiaser, kept, seed)
    return figures


def _task_figures(logits: Tensor, y: Tensor, weight: np.ndarray | None) -> dict[str, float]:
    right = (logits.argmax(dim=1) == y).double()
    recalls = [float(right[y == k].mean()) for k in torch.unique(y)]
    figures = {
        "validation/loss": float(functional.cross_entropy(logits, y)),
        "validation/accuracy": float(right.mean()),
        "validation/balanced_accuracy": float(np.mean(recalls)),
    }
    if weight is not None:
        w = torch.from_numpy(weight).double()
        figures["validation/weighted_accuracy"] = float((w * right).sum() / w.sum())
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
    )
