"""A critic's parameters: their optimizer, and holding them fixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import nn

__all__ = ["full_precision", "held_fixed", "make_optimizer"]


def make_optimizer(
    name: Literal["adam", "sgd"], module: nn.Module, learning_rate: float, beta1: float
) -> torch.optim.Optimizer:
    """The critic's optimizer, with fused kernels where the device has them.

    A critic takes many small steps per training step, so that the optimizer's own overhead counts: on one CPU thread
    and an MLP of 3 × 128 a fused Adam step takes 0.12 ms where the default takes 0.30 ms.
    """
    parameters = list(module.parameters())
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, 0.999), fused=fused)
    return torch.optim.SGD(parameters, lr=learning_rate, fused=fused)


@contextmanager
def held_fixed(module: nn.Module) -> Iterator[None]:
    """Within this scope a module's parameters take no gradient, so that a penalty's backward leaves them alone."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A scope without autocast: scores are exponentiated, which half precision does not bear."""
    return torch.autocast(device_type=device.type, enabled=False)
