"""The network through which a table or stored embeddings go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear + ReLU layers from a vector to a representation; the last ReLU may be left out.

    One would choose it for data that are no images: the rows of a table, or embeddings that another model made.
    Modules are called `fc1`, `relu1`, …, one pair per layer; with dropout, `drop1`, … between the layers.

    Args:
        n_inputs: Length of one input vector.
        hidden: Widths of the hidden layers; may be empty.
        features: Width d of the representation.
        dropout: Probability of dropping a hidden unit in training.
        last: Whether the last layer ends in ReLU or is linear: a linear feature cannot die, of few ReLU units some may.

    Returns:
        forward: (n, n_inputs) → (n, features).

    Example:
        >>> import torch
        >>> MLP(5, hidden=[8], features=3)(torch.zeros(2, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        hidden: Sequence[int] = (128,),
        features: int = 16,
        dropout: float = 0.0,
        last: Literal["relu", "linear"] = "relu",
    ) -> None:
        super().__init__()
        if not isinstance(hidden, Sequence) or isinstance(hidden, str):
            raise ValueError(f"hidden is {hidden!r}, it must be a list of widths, such as [{hidden}]")
        widths = [n_inputs, *hidden, features]
        if not all(isinstance(width, int) and not isinstance(width, bool) for width in widths):
            raise ValueError("hidden and features must be whole numbers")
        if min(widths) < 1:
            raise ValueError("n_inputs, hidden and features must be positive")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, it must lie in [0, 1)")
        if last not in ("relu", "linear"):
            raise ValueError(f"last is {last!r}, it must be relu or linear")
        self.num_features = features
        for i, (n_in, n_out) in enumerate(pairwise(widths), start=1):
            self.add_module(f"fc{i}", nn.Linear(n_in, n_out))
            if last == "relu" or i < len(widths) - 1:
                self.add_module(f"relu{i}", nn.ReLU())
            if dropout and i < len(widths) - 1:
                self.add_module(f"drop{i}", nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, features) of vectors (n, n_inputs)."""
        for layer in self.children():
            x = layer(x)
        return x
