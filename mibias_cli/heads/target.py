"""The task head: what turns a representation into class scores."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["TargetHead"]


class TargetHead(nn.Module):
    """A linear classifier of the target, so that whatever the task needs must already be in the representation.

    Args:
        n_features: Width d of the representation.
        n_classes: Number of target classes.

    Example:
        >>> import torch
        >>> TargetHead(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, n_classes) of features (n, d)."""
        logits: Tensor = self.linear(features)
        return logits
