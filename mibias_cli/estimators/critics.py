"""The statistics network, and how a bias attribute enters a critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["StatisticsNetwork", "attribute_classes", "attribute_width", "encode_attribute"]

# TensorFlow's default slope, which the statistics networks of the paper's released code rely on.
_SLOPE = 0.2


class StatisticsNetwork(nn.Module):
    """The critic T(z, c): an MLP with leaky ReLU on z and the encoded attribute side by side.

    Args:
        n_features: Width d of the representation.
        c_width: Width of the encoded attribute, see `attribute_width`.
        hidden: Widths of the hidden layers.

    References:
        arXiv 1801.04062, arXiv 2003.06430.

    Example:
        >>> StatisticsNetwork(4, 24, [8])(torch.zeros(5, 4), torch.zeros(5, 24)).shape
        torch.Size([5])
    """

    def __init__(self, n_features: int, c_width: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_features + c_width
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), nn.LeakyReLU(_SLOPE, inplace=True)]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        """Scores (n,) of pairs of z (n, d) and encoded attribute (n, c_width)."""
        scores: Tensor = self.layers(torch.cat([z, c_encoded], dim=1)).squeeze(1)
        return scores


def attribute_width(n_classes: tuple[int, ...] | None, n_channels: int) -> int:
    """Width of what `encode_attribute` gives: all classes of all channels, or one column per continuous channel."""
    return n_channels if n_classes is None else sum(n_classes)


def encode_attribute(c: Tensor, n_classes: tuple[int, ...] | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """An attribute as a critic takes it: one-hot channels side by side, or float columns where it is continuous.

    Args:
        c: Attribute values (n, channels).
        n_classes: Classes per channel, or None for a continuous attribute.
        dtype: Floating type of the result.

    Returns:
        Encoded attribute (n, width).

    Example:
        >>> encode_attribute(torch.tensor([[1, 0]]), (2, 3)).tolist()
        [[0.0, 1.0, 1.0, 0.0, 0.0]]
    """
    if n_classes is None:
        return c.to(dtype)
    columns = [functional.one_hot(c[:, k].long(), classes) for k, classes in enumerate(n_classes)]
    return torch.cat(columns, dim=1).to(dtype)


def attribute_classes(c: Tensor, bin_edges: Sequence[Sequence[float]] | None) -> Tensor:
    """Class indices (n, channels) int64: the values themselves, or the bins of a continuous attribute.

    Args:
        c: Attribute values (n, channels).
        bin_edges: Inner edges per channel, ascending; a value on an edge belongs to the upper bin.

    Example:
        >>> attribute_classes(torch.tensor([[0.1], [0.5], [2.0]]), [(0.5, 1.0)]).flatten().tolist()
        [0, 1, 2]
    """
    if bin_edges is None:
        return c.long()
    # Compared in float64 as Attribute.classes does, so that both put a value on an edge into the same bin.
    values = c.double() if c.device.type != "mps" else c
    columns = [
        torch.bucketize(
            values[:, k].contiguous(), torch.as_tensor(edges, dtype=values.dtype, device=c.device), right=True
        )
        for k, edges in enumerate(bin_edges)
    ]
    return torch.stack(columns, dim=1)
