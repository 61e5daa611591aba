"""Units that die under the penalty are started afresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mibias_cli.errors import TrainingError

__all__ = ["Recycler"]

_Layer = nn.Linear | nn.Conv2d
_ACTIVE = 0.01
"""A unit counts as dead if it is positive in less than this share of a batch (and of its places)."""


class Recycler:
    """Looks now and then for dead ReLU units of penalised layers and gives them new incoming weights.

    The cheapest way to leak nothing is to be silent: under a penalty many units of the penalised layer die early on,
    and a dead ReLU has no gradient by which the task could revive it.

    The network's `recyclable` maps a layer to the names of the layers before and after it.

    Raises:
        TrainingError: None of the layers is one that the network can recycle.

    References: Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, arXiv 2302.12902.
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
        self._pairs = {layer: tuple(_layer(backbone, name) for name in recyclable[layer]) for layer in chosen}
        self._active: dict[str, Tensor] = {}
        for layer in chosen:
            backbone.get_submodule(layer).register_forward_hook(self._note(layer))

    def _note(self, layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, _: object, output: Tensor) -> None:
            if module.training:
                # by unit: the share of the batch's rows (and of a map's places) where it is positive
                self._active[layer] = (output.detach() > 0).float().transpose(0, 1).flatten(1).mean(dim=1)

        return hook

    @torch.no_grad()
    def look(
        self, optimizer: torch.optim.Optimizer, step: int, joined: Callable[[Tensor], Tensor] | None = None
    ) -> dict[str, float]:
        """Recycle dead units every `every_steps` steps; returns how many they were, by layer.

        `joined`, on several ranks: from a mean over this rank's rows of the batch to that over all.
        """
        if (step + 1) % self.every_steps:
            return {}
        counts = {}
        for layer, (before, after) in self._pairs.items():
            active = self._active[layer]
            dead = (active if joined is None else joined(active)) < _ACTIVE
            counts[f"recycled/{layer}"] = float(dead.sum())
            if bool(dead.any()):
                _restart(before, after, dead, getattr(optimizer, "optimizer", optimizer))
        return counts


def _layer(backbone: nn.Module, name: str) -> _Layer:
    found = backbone.get_submodule(name)
    assert isinstance(found, _Layer), "only linear and convolutional layers are recyclable"
    return found


def _restart(before: _Layer, after: _Layer, dead: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Give dead units the incoming weights of a new layer, outgoing weights of 0 and a fresh optimizer state."""
    assert before.bias is not None, "a layer without bias cannot be woken by one"
    weight, bias = torch.empty_like(before.weight), torch.empty_like(before.bias)
    # as a new torch layer begins, but for the bias: it is positive, so that the unit fires at once
    nn.init.kaiming_uniform_(weight, a=5**0.5)
    bound = before.weight[0].numel() ** -0.5
    nn.init.uniform_(bias, 0.0, bound)
    before.weight[dead], before.bias[dead] = weight[dead], bias[dead]
    # outgoing weights of 0: the network's output is as it was. A flattened map has its channel's places side by side
    after.weight.view(len(after.weight), len(dead), -1)[:, dead] = 0.0
    # momentum of the dead unit is forgotten; a second moment of 0 would make the first new steps huge
    for parameter in (before.weight, before.bias):
        for key, moment in optimizer.state.get(parameter, {}).items():
            if key in ("exp_avg", "momentum_buffer", "exp_avg_sq") and isinstance(moment, Tensor):
                moment[dead] = moment.mean() if key == "exp_avg_sq" else 0.0
