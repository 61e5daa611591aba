"""The paper's digit network."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["DigitCNN"]

SMALLEST_SIDE = 16  # 16 → 12 → 6 → 2 → 1: the last map keeps one pixel


class DigitCNN(nn.Module):
    """Two 5 × 5 convolutions and two linear layers: the extractor of the paper's coloured-digit experiments.

    One would choose it to repeat the published figures, or where a digit-sized image needs no larger network. The
    module `pool2` gives the whole last conv map, (n, width, 4, 4) at 28 pixels, which is the layer where a penalty on
    colour works best.

    Args:
        channels: Channels of the input.
        width: Channels of both convolutions.
        hidden: Width of the first linear layer.
        features: Width d of the representation.
        size: Side of the square input in pixels, at least 16.
        dropout: Share of the first linear layer's outputs that training drops.

    Returns:
        forward: (n, channels, size, size) → (n, features).

    References:
        Ragonesi et al., Learning Unbiased Representations via Mutual Information Backpropagation, arXiv 2003.06430.

    Example:
        >>> network = DigitCNN(width=8, hidden=32, features=16)
        >>> network(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 16])
    """

    recyclable: ClassVar[dict[str, tuple[str, str]]] = {"pool1": ("conv1", "conv2"), "pool2": ("conv2", "fc1")}
    """Layers whose dead units may be started afresh, with the layers before and after them."""

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 64,
        hidden: int = 512,
        features: int = 64,
        size: int = 28,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if size < SMALLEST_SIDE:
            raise ValueError(f"size is {size}, digit_cnn needs at least {SMALLEST_SIDE} pixels a side")
        if min(channels, width, hidden, features) < 1:
            raise ValueError("channels, width, hidden and features must be positive")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, it must lie in [0, 1)")
        side = ((size - 4) // 2 - 4) // 2
        self.size = size
        self.num_features = features
        self.conv1 = nn.Conv2d(channels, width, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(width, width, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(width * side * side, hidden)
        self.relu3 = nn.ReLU()
        self.drop3 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, features)
        self.relu4 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, features) of images (n, channels, size, size)."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.drop3(self.relu3(self.fc1(torch.flatten(x, 1))))
        return self.relu4(self.fc2(x))
