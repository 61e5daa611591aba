"""Weights that count in place of the last step's: their moving average, or a point on the way from the start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypedDict

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["AverageState", "WeightAverage", "WeightInterpolation"]

_Tensors = tuple[Tensor, ...] | list[Tensor]


class AverageState(TypedDict):
    """What a checkpoint stores of an average, or of the weights at the start, which are never updated."""

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
        with _exchanged(model, self._averaged.module.state_dict()):
            yield

    def state_dict(self) -> AverageState:
        """The average and how many updates it has seen."""
        return {"state": self._averaged.module.state_dict(), "n_updates": int(self._averaged.n_averaged) - 1}

    def load_state_dict(self, state: AverageState) -> None:
        """Restore what `state_dict` gave."""
        self._averaged.n_averaged.fill_(state["n_updates"] + 1)
        self._averaged.module.load_state_dict(state["state"])


class WeightInterpolation:
    """Weights on the line from those that a stage starts from to those that it has trained.

    Fine-tuning on biased images gains accuracy and loses some of what pretrained features know of other images; between
    the two ends both are often had. `update` and the state are those of `WeightAverage`.

    Args:
        model: As the stage starts; with `training.head_first`, its heads are fitted already.
        share: How far on the way, 0 to 1; buffers are the trained ones.

    References: Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903, section 3 (their α).
    """

    def __init__(self, model: nn.Module, share: float) -> None:
        self._share = share
        self._start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def update(self, model: nn.Module) -> None:
        """Nothing: both ends of the line are known without the steps between them."""

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """A scope in which the model has the weights between."""
        end = dict(model.state_dict())
        between = {name: start.to(end[name].device).lerp(end[name], self._share) for name, start in self._start.items()}
        with _exchanged(model, end | between):
            yield

    def state_dict(self) -> AverageState:
        """The weights at the start."""
        return {"state": self._start, "n_updates": 0}

    def load_state_dict(self, state: AverageState) -> None:
        """Restore what `state_dict` gave."""
        self._start = dict(state["state"])


@contextlib.contextmanager
def _exchanged(model: nn.Module, state: dict[str, Tensor]) -> Iterator[None]:
    kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    try:
        yield
    finally:
        model.load_state_dict(kept)
