"""Units that die under the penalty are started afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mibias_cli.errors import TrainingError

__all__ = ["Recycler"]

_ACTIVE = 0.01
"""A unit counts as dead if it is positive in less than this share of a batch (and of its places)."""


class Recycler:
    """Looks now and then for dead ReLU units of penalised layers and gives them new incoming weights.

    The cheapest way to leak nothing is to be silent: under a penalty many units of the penalised layer die early on,
    and a dead ReLU has no gradient by which the task could revive it. A unit that is started afresh has the incoming
    weights of a new layer, outgoing weights of zero, so that nothing changes at once, and a fresh optimizer state.

    Args:
        backbone: A network whose `recyclable` says, for each layer that may be recycled, the names of the layers before
            and after it.
        layers: The penalised layers.
        every_steps: Steps between two looks.

    Raises:
        TrainingError: None of the layers is one that the network can recycle.

    References:
        Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, arXiv 2302.12902.
    """

    def __init__(self, backbone: nn.Module, layers: Sequence[str], *, every_steps: int) -> None:
        recyclable: Mapping[str, tuple[str, str]] = getattr(backbone, "recyclable", {})
        chosen = [layer for layer in layers if layer in recyclable]
        if not chosen:
            able = ", ".join(recyclable) or "none of this backbone's"
            raise TrainingError(
                f"debias.recycle_every_steps: no penalised layer can be recycled ({able} can); set it to null, or name "
                "such a layer in representation.layers"
            )
        self.every_steps = every_steps
        self._pairs = {
            layer: (backbone.get_submodule(recyclable[layer][0]), backbone.get_submodule(recyclable[layer][1]))
            for layer in chosen
        }
        self._active: dict[str, Tensor] = {}
        for layer in chosen:
            backbone.get_submodule(layer).register_forward_hook(self._note(layer))

    def _note(self, layer: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            if module.training:
                self._active[layer] = (output.detach() > 0).float().transpose(0, 1).flatten(1).mean(dim=1)

        return hook

    @torch.no_grad()
    def look(self, optimizer: Any, step: int) -> dict[str, float]:
        """Recycle what is dead, at every so many-th step; how many units that were, by layer."""
        if (step + 1) % self.every_steps:
            return {}
        counts = {}
        for layer, (before, after) in self._pairs.items():
            dead = self._active[layer] < _ACTIVE
            counts[f"recycled/{layer}"] = float(dead.sum())
            if bool(dead.any()):
                _restart(before, after, dead, getattr(optimizer, "optimizer", optimizer))
        return counts


def _restart(before: Any, after: Any, dead: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """New incoming weights and a positive bias, no outgoing weights, the optimizer's second moment at its mean."""
    weight, bias = torch.empty_like(before.weight), torch.empty_like(before.bias)
    nn.init.kaiming_uniform_(weight, a=5**0.5)
    bound = before.weight[0].numel() ** -0.5
    nn.init.uniform_(bias, 0.0, bound)
    before.weight[dead], before.bias[dead] = weight[dead], bias[dead]
    # a flattened map has its channel's places side by side
    after.weight.view(len(after.weight), len(dead), -1)[:, dead] = 0.0
    for parameter in (before.weight, before.bias):
        state = optimizer.state.get(parameter, {})
        for key, fresh in (("exp_avg", 0.0), ("momentum_buffer", 0.0), ("exp_avg_sq", None)):
            if isinstance(state.get(key), Tensor):
                state[key][dead] = state[key].mean() if fresh is None else fresh
