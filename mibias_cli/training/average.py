"""An exponential moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypedDict

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["AverageState", "WeightAverage"]

_Tensors = tuple[Tensor, ...] | list[Tensor]


class AverageState(TypedDict):
    """What a checkpoint stores of an average."""

    state: dict[str, Tensor]
    n_updates: int


class WeightAverage:
    """Averages weights over steps, which evens out the swings of a minimax game that a last step alone would show.

    Args:
        model: Whose weights are averaged; buffers are copied, not averaged.
        decay: Weight of the past per step; early on a smaller one, (1 + t) / (10 + t), so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def mix(averages: _Tensors, weights: _Tensors, n: Tensor | int) -> None:
            t = int(n)
            get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))(averages, weights, t)

        self._averaged = AveragedModel(model, multi_avg_fn=mix)
        # from 1 on: at 0 the first weights would replace the initial ones in place of being mixed with them
        self._averaged.n_averaged += 1
        self.update = self._averaged.update_parameters

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """A scope in which the model has the averaged weights."""
        kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self._averaged.module.state_dict())
        try:
            yield
        finally:
            model.load_state_dict(kept)

    def state_dict(self) -> AverageState:
        """The average and how many updates it has seen."""
        return {"state": self._averaged.module.state_dict(), "n_updates": int(self._averaged.n_averaged) - 1}

    def load_state_dict(self, state: AverageState) -> None:
        """Restore what `state_dict` gave."""
        self._averaged.n_averaged.fill_(state["n_updates"] + 1)
        self._averaged.module.load_state_dict(state["state"])
