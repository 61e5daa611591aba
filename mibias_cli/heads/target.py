"""The task head: what turns a representation into class scores, label scores or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["HeadKind", "TargetHead"]

HeadKind = Literal["classes", "multilabel", "regression"]


class TargetHead(nn.Module):
    """A linear map to the target, so that whatever the task needs must already be in the representation.

    Args:
        n_outputs: Number of target classes, labels or columns of numbers.
        kind: What the outputs are: logits of classes, a logit per label, or standardised numbers.
        mean, scale: Regression only: by column, what takes standardised numbers to the user's units.

    Example:
        >>> import torch
        >>> TargetHead(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
        >>> head = TargetHead(4, 1, kind="regression", mean=[40.0], scale=[10.0])
        >>> head.in_units(torch.ones(1, 1)).item()
        50.0
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        kind: HeadKind = "classes",
        mean: Sequence[float] = (),
        scale: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(n_features, n_outputs)
        # buffers: saved and moved with the weights, so that a model file alone gives numbers in the user's units
        if kind == "regression":
            self.register_buffer("mean", torch.tensor(mean or [0.0] * n_outputs, dtype=torch.float32))
            self.register_buffer("scale", torch.tensor(scale or [1.0] * n_outputs, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """What the loss takes (n, n_outputs) of features (n, d): logits, or standardised numbers."""
        logits: Tensor = self.linear(features)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of classes or labels; numbers as they are."""
        if self.kind == "classes":
            return torch.softmax(logits, dim=1)
        return torch.sigmoid(logits) if self.kind == "multilabel" else logits

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Probabilities, or numbers in the user's units, (n, n_outputs) float64 of features (n, d)."""
        outputs = self(features.to(self.linear.weight.dtype)).double()
        return self.in_units(outputs) if self.kind == "regression" else self.probabilities(outputs)

    def in_units(self, numbers: Tensor) -> Tensor:
        """Standardised numbers (n, k) in the user's units."""
        return numbers * self.scale + self.mean
