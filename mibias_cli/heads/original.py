"""What replaces the target head where there is no target: features on the scale of the original's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StandardFeatures"]

_DEAD = 1e-6


class StandardFeatures(nn.Module):
    """Features less the original's mean, over its standard deviation; it learns nothing.

    Distances between the features of two extractors then count every feature alike, whatever its unit. A feature that
    is constant in the original takes the mean deviation of the others: it must stay about constant.

    Example:
        >>> scaled = StandardFeatures(2)
        >>> scaled.fit(torch.tensor([[0.0, 1.0], [4.0, 1.0]]))
        >>> scaled(torch.tensor([[4.0, 1.0]])).tolist()
        [[1.0, 0.0]]
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def fit(self, features: Tensor) -> None:
        """Take mean and deviation from the original's features (n, d)."""
        values = features.to(torch.float64)
        spread = values.std(dim=0, correction=0)
        alive = spread > _DEAD * spread.max().clamp_min(torch.finfo(torch.float64).tiny)
        # relative to the largest: features of any unit, and float32 rounding is no variance
        spread = torch.where(alive, spread, spread[alive].mean() if alive.any() else 1.0)
        self.mean.copy_(values.mean(dim=0))
        self.scale.copy_(spread)

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features (n, d)."""
        return (features - self.mean) / self.scale
