"""Extractor and target head as one module, so that a step is one forward and one backward of one module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mibias_cli.backbone.extractor import Extractor, evaluating
from mibias_cli.heads.target import TargetHead

__all__ = ["TaskModel", "z_width"]


class TaskModel(nn.Module):
    """Extractor → target head, and beside it the penalised representation z.

    `layers` says what z is made of: `features`, `output` (probabilities of classes or labels, or numbers), names of
    tapped layers; several are concatenated.
    """

    extractor: Extractor

    def __init__(self, extractor: Extractor, head: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head
        self.layers = tuple(layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`features` (n, d), `z` (n, d_z) and `logits` (n, k) of inputs x (n, …)."""
        representation = self.extractor(x)
        logits = self.head(representation.features)
        parts = []
        for layer in self.layers:
            if layer == "features":
                parts.append(representation.features)
            elif layer == "output":
                assert isinstance(self.head, TargetHead), "without a target there is no output"
                parts.append(self.head.probabilities(logits))
            else:
                parts.append(representation.taps[layer])
        z = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return {"features": representation.features, "z": z, "logits": logits}


@torch.no_grad()
def z_width(model: TaskModel, input_shape: Sequence[int]) -> int:
    """Width of z for inputs of a shape (without the batch); leaves the model as it found it."""
    parameter = next(model.parameters())
    x = torch.zeros(2, *input_shape, device=parameter.device, dtype=parameter.dtype)
    with evaluating(model):
        return int(model(x)["z"].shape[1])
