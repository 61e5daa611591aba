"""The bias-attribute head: it reads the attribute from a representation, one set of logits per channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["AttributeHead"]

# TensorFlow's default slope, which the statistics networks of the paper's released code rely on.
_SLOPE = 0.2


class AttributeHead(nn.Module):
    """An MLP that classifies every channel of one bias attribute from a representation.

    The trunk is shared, so that a colour of three channels costs one network; a single linear output is split per
    channel.

    Example:
        >>> import torch
        >>> [tuple(logits.shape) for logits in AttributeHead(4, (2, 5), hidden=[8])(torch.zeros(3, 4))]
        [(3, 2), (3, 5)]
    """

    def __init__(self, n_features: int, n_classes: tuple[int, ...], hidden: Sequence[int] = (128, 128, 128)) -> None:
        super().__init__()
        self.n_classes = tuple(n_classes)
        layers: list[nn.Module] = []
        width = n_features
        for next_width in hidden:
            # in place on the linear layer's output, which nothing else reads; z itself is left alone
            layers += [nn.Linear(width, next_width), nn.LeakyReLU(_SLOPE, inplace=True)]
            width = next_width
        self.trunk = nn.Sequential(*layers)
        self.output = nn.Linear(width, sum(self.n_classes))

    def forward(self, z: Tensor) -> list[Tensor]:
        """One logit tensor (n, K) per channel of representations z (n, d)."""
        return list(self.output(self.trunk(z)).split(self.n_classes, dim=1))
