"""Heads first: bottleneck and task head fitted on the features that a backbone has, before it is fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.embed import embed
from mibias_cli.progress import Progress
from mibias_cli.run.assemble import Parts
from mibias_cli.training.model import TaskModel
from mibias_cli.training.step import TASK_OFFSET, TASK_WEIGHT, task_loss

__all__ = ["start_heads"]

MAX_ITERATIONS = 150


def start_heads(model: TaskModel, parts: Parts, weights: Mapping[str, np.ndarray], progress: Progress) -> None:
    """Fit bottleneck and head in place on the training split, where `training.head_first` asks for it.

    Minimised is the task's loss, with what `debias.bias_product` adds to the scores, and half the L2 penalty times the
    squared weights. Fine-tuning an untrained head first moves pretrained features for the worse (Kumar et al.,
    arXiv 2202.10054).

    Args:
        weights: The training split's, as the stage has them: TASK_OFFSET and TASK_WEIGHT count.
    """
    l2 = parts.recipe.training.head_first
    if l2 is None or parts.data.target.kind == "none":
        return
    progress.stage("fitting bottleneck and head on the features as they are")
    model.eval()
    train, bottleneck = parts.data.train, model.extractor.bottleneck
    pooled = torch.from_numpy(embed(model.extractor, train, **parts.reading).backbone_features)
    y, kind = torch.from_numpy(np.asarray(train.y)), parts.data.target.kind
    given = {name: torch.from_numpy(weights[name]) for name in (TASK_OFFSET, TASK_WEIGHT) if name in weights}
    weighted = parts.balance in ("task", "both")
    layers = torch.nn.ModuleList([m for m in (bottleneck, model.head) if m is not None]).cpu()
    parameters = list(layers.parameters())
    pooled = pooled.to(parameters[0].dtype)
    optimizer = torch.optim.LBFGS(parameters, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = model.head(pooled if bottleneck is None else bottleneck(pooled))
        if TASK_OFFSET in given:
            scores = scores + given[TASK_OFFSET].to(scores.dtype)
        total = task_loss(scores, y, given.get(TASK_WEIGHT) if weighted else None, kind)
        # biases are not penalised
        total = total + l2 / 2 * torch.stack([p.square().sum() for p in parameters if p.ndim > 1]).sum()
        total.backward()
        return total

    optimizer.step(loss)
    optimizer.zero_grad()
