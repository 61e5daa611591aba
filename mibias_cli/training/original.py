"""The original extractor, frozen: without a target, what the features are to stay close to."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from mibias_cli.backbone.bottleneck import StandardFeatures
from mibias_cli.backbone.embed import embed, spread_rows
from mibias_cli.data.batch import Split
from mibias_cli.training.model import TaskModel

__all__ = ["FrozenOriginal", "freeze_original"]

FrozenOriginal = Callable[[Tensor], Tensor]
"""From inputs (n, …) to the original's standardised features (n, d), which are the targets of distillation."""


def freeze_original(
    model: TaskModel, split: Split, *, batch_size: int, num_workers: int, device: torch.device, precision: str = "32"
) -> FrozenOriginal:
    """Freeze a copy of a model's extractor as it is now, and give the model's head the scale of its features.

    The copy is no part of the model that trains, so it is neither trained nor saved: a resumed run makes it anew from
    the weights that training began with.

    The model's head is a `StandardFeatures`, `split` the training split. The original's features are computed in double
    precision where `precision` is 64, else in single.

    References: Hinton et al., "Distilling the knowledge in a neural network", arXiv 1503.02531; of features: Romero et
    al., "FitNets", arXiv 1412.6550.
    """
    head = model.head
    assert isinstance(head, StandardFeatures), "without a target the head is the original's scale"
    rows = spread_rows(len(split))
    found = embed(model.extractor, split, batch_size=batch_size, num_workers=num_workers, device=device, rows=rows)
    head.fit(torch.from_numpy(found.features).to(head.mean.device))
    dtype = torch.float64 if precision == "64" else torch.float32
    extractor = copy.deepcopy(model.extractor).to(dtype).eval().requires_grad_(False)
    scaled = copy.deepcopy(head).to(dtype)

    @torch.no_grad()
    def targets(x: Tensor) -> Tensor:
        features: Tensor = scaled(extractor(x.to(dtype)).features)
        return features

    return targets
