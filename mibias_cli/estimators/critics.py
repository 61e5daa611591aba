"""Critics T(z, c), concatenated and separable, and how a bias attribute enters one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Critic",
    "DualCritic",
    "SeparableCritic",
    "StatisticsNetwork",
    "attribute_classes",
    "encode_attribute",
    "perceptron",
]

# TensorFlow's default slope, which the statistics networks of the paper's released code rely on.
_SLOPE = 0.2


def perceptron(n_inputs: int, hidden: Sequence[int], n_outputs: int) -> nn.Sequential:
    """An MLP with leaky ReLU; no hidden layer: a linear map."""
    layers: list[nn.Module] = []
    width = n_inputs
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.LeakyReLU(_SLOPE, inplace=True)]
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, n_outputs))


class Critic(nn.Module):
    """A critic that can score every z with every c."""

    def matrix(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        """Scores (n, m) of every z (n, d) with every encoded attribute (m, c_width)."""
        raise NotImplementedError


class StatisticsNetwork(Critic):
    """The critic T(z, c): an MLP with leaky ReLU on z and the encoded attribute side by side.

    References: Belghazi et al., arXiv 1801.04062, Section 3.1; Ragonesi et al., arXiv 2003.06430.

    Example:
        >>> StatisticsNetwork(4, 24, [8])(torch.zeros(5, 4), torch.zeros(5, 24)).shape
        torch.Size([5])
    """

    def __init__(self, n_features: int, c_width: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__()
        self.layers = perceptron(n_features + c_width, hidden, 1)

    def forward(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        """Scores (n,) of pairs of z (n, d) and encoded attribute (n, c_width)."""
        scores: Tensor = self.layers(torch.cat([z, c_encoded], dim=1)).squeeze(1)
        return scores

    def matrix(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        """Scores (n, m) of every z (n, d) with every encoded attribute (m, c_width).

        The first layer is applied to each side once and added, so that a wide z costs n rows and not n × m.
        """
        # W [z, c] = W_z z + W_c c: only what comes after the first layer sees pairs
        first = self.layers[0]
        assert isinstance(first, nn.Linear), "a perceptron begins with a linear layer"
        of_z, of_c = first.weight.split([z.shape[1], c_encoded.shape[1]], dim=1)
        sums = functional.linear(z, of_z)[:, None] + functional.linear(c_encoded, of_c, first.bias)[None]
        scores: Tensor = self.layers[1:](sums.flatten(0, 1))
        return scores.view(len(z), len(c_encoded))


class SeparableCritic(Critic):
    """The critic T(z, c) = ⟨f(z), g(c)⟩ / √width: all n² pairs of a batch for n passes of each side.

    The choice where c has many distinct values (continuous, several channels), for which a concatenated critic pays one
    pass per pair.

    References: Poole et al., arXiv 1905.06922 (separable critics).

    Example:
        >>> SeparableCritic(4, 24, [8]).matrix(torch.zeros(5, 4), torch.zeros(3, 24)).shape
        torch.Size([5, 3])
    """

    def __init__(self, n_features: int, c_width: int, hidden: Sequence[int] = (64, 64, 64), width: int = 32) -> None:
        super().__init__()
        self.of_z = perceptron(n_features, hidden, width)
        self.of_c = perceptron(c_width, hidden, width)
        self._scale = 1 / math.sqrt(width)

    def forward(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        """Scores (n,) of pairs of z (n, d) and encoded attribute (n, c_width)."""
        scores: Tensor = (self.of_z(z) * self.of_c(c_encoded)).sum(dim=1) * self._scale
        return scores

    def matrix(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        scores: Tensor = self.of_z(z) @ self.of_c(c_encoded).T * self._scale
        return scores


class DualCritic(Critic):
    """A critic T and a second one, u, that is called on joint pairs alone, for `bounds.flo`."""

    def __init__(self, critic: Critic, dual: nn.Module) -> None:
        super().__init__()
        self.critic = critic
        self.dual = dual

    def matrix(self, z: Tensor, c_encoded: Tensor) -> Tensor:
        return self.critic.matrix(z, c_encoded)


def encode_attribute(c: Tensor, n_classes: tuple[int, ...] | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """An attribute c (n, channels) as a critic takes it (n, width): one-hot channels side by side, or float columns.

    `n_classes` are those of each channel; None: a continuous attribute, whose values are taken as they are.

    Example:
        >>> encode_attribute(torch.tensor([[1, 0]]), (2, 3)).tolist()
        [[0.0, 1.0, 1.0, 0.0, 0.0]]
    """
    if n_classes is None:
        return c.to(dtype)
    # channel by channel, each as wide as it has classes
    columns = [functional.one_hot(c[:, k].long(), classes) for k, classes in enumerate(n_classes)]
    return torch.cat(columns, dim=1).to(dtype)


def attribute_classes(c: Tensor, bin_edges: Sequence[Sequence[float]] | None) -> Tensor:
    """Class indices (n, channels) int64: the values themselves, or the bins of a continuous attribute.

    `bin_edges` are the inner edges per channel, ascending; a value on an edge belongs to the upper bin.

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
