"""The layers behind the pooled features, whose output is the representation: a ReLU layer, or a small MLP."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["BottleneckShape", "StandardFeatures", "make_bottleneck", "width_of"]

_DEAD = 1e-6


@dataclass(frozen=True, kw_only=True)
class BottleneckShape:
    """A small MLP on standardised pooled features; its last layer is linear, so that no narrow feature can die.

    Args:
        width: Width of its output, the representation.
        hidden: Widths of its hidden layers, each followed by ReLU; empty: the bottleneck is linear.
        dropout: Probability of dropping a hidden unit in training.
        input_dropout: Probability of dropping a standardised pooled feature in training.
    """

    width: int = 16
    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.5
    input_dropout: float = 0.0


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


def width_of(shape: int | BottleneckShape) -> int:
    """Width of what a bottleneck gives."""
    return shape if isinstance(shape, int) else shape.width


def make_bottleneck(n_features: int, shape: int | BottleneckShape) -> nn.Sequential:
    """The layers of a bottleneck (n, n_features) → (n, width), drawn from torch's generator.

    A number is the width of a linear layer and ReLU, `0` and `1`. A shape gives `standard`, which is fitted and never
    trained, then `fc1`, `relu1`, …; with dropout, `drop1`, … behind each hidden layer and `drop0` in front of all.

    Example:
        >>> list(make_bottleneck(8, BottleneckShape(width=2, hidden=(4,)))._modules)
        ['standard', 'fc1', 'relu1', 'drop1', 'fc2']
    """
    if isinstance(shape, int):
        return nn.Sequential(nn.Linear(n_features, shape), nn.ReLU())
    # features of pretrained networks differ in scale by orders of magnitude: one learning rate does not suit them raw
    layers: OrderedDict[str, nn.Module] = OrderedDict(standard=StandardFeatures(n_features))
    if shape.input_dropout:
        layers["drop0"] = nn.Dropout(shape.input_dropout)
    widths = (n_features, *shape.hidden, shape.width)
    for i, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        layers[f"fc{i}"] = nn.Linear(n_in, n_out)
        if i <= len(shape.hidden):
            layers[f"relu{i}"] = nn.ReLU()
            if shape.dropout:
                layers[f"drop{i}"] = nn.Dropout(shape.dropout)
    return nn.Sequential(layers)
