"""An exponential moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Averages weights over steps: evens out the swings of a minimax game that a last step alone would show.

    Args:
        model: Whose weights are averaged; buffers are copied, not averaged.
        decay: Weight of the past per step; early on a smaller one, (1 + t) / (10 + t), so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self._state: dict[str, Tensor] = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._averaged = {name for name, _ in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present weights in."""
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        for key, value in model.state_dict().items():
            if key in self._averaged:
                self._state[key].lerp_(value.detach().to(self._state[key].dtype), 1 - decay)
            else:
                self._state[key].copy_(value)

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """A scope in which the model has the averaged weights."""
        kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self._state)
        try:
            yield
        finally:
            model.load_state_dict(kept)

    def state_dict(self) -> dict[str, Any]:
        """The average and how many updates it has seen."""
        return {"state": self._state, "n_updates": self.n_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.n_updates = state["n_updates"]
        for key, value in state["state"].items():
            self._state[key].copy_(value)
