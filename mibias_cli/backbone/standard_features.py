"""Features less their mean, over their standard deviation: in front of a bottleneck, and for comparing extractors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StandardFeatures"]

_DEAD = 1e-6


class StandardFeatures(nn.Module):
    """Features less a mean, over a standard deviation; both are fitted once, nothing of it trains.

    Every feature then counts alike, whatever its unit: for a bottleneck that learns from pooled features, and where
    there is no target for distances between the features of two extractors. A feature that was constant takes the mean
    deviation of the others, by which it stays about constant.

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
        """Take mean and deviation from features (n, d)."""
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
