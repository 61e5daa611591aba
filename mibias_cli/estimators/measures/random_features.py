"""Random ReLU features of z: a basis in which a linear solution sees what is not linear."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["draw_random_weights", "random_features", "standardisation"]

# A wider z is first projected at random to so many dimensions.
_WIDEST = 512
# Deviations below this share of the typical one count as that much: features of small deviation may hide c, but what
# hardly ever moves in the queue must not dwarf all else when it moves in the next batch.
_LEAST_DEVIATION = 0.05


def standardisation(z: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Weighted mean of z (n, d) and the factor that brings it to unit deviation, for weights (n,) that sum to 1."""
    mean = weight @ z
    variance = weight @ (z - mean) ** 2
    typical = variance.mean()
    factor = 1 / torch.maximum(variance.sqrt(), _LEAST_DEVIATION * typical.sqrt() + 1e-30)
    # A unit that is dead in the queue is left out: no solution knows what it means once it wakes.
    return {"z_mean": mean, "z_factor": torch.where(variance > 1e-10 * typical, factor, torch.zeros_like(factor))}


def draw_random_weights(
    n_features: int, n_random_features: int, generator: Generator, like: Tensor
) -> dict[str, Tensor]:
    """Weights and offsets of random features, drawn on the generator's device and moved to where `like` is.

    A projection comes first where z has more than 512 dimensions.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)

    # deviations of 1/√fan-in keep projections and pre-activations of unit scale, whatever the width
    width = min(n_features, _WIDEST)
    drawn: dict[str, Tensor] = {}
    if n_features > _WIDEST:
        drawn["projection"] = normal(n_features, width) / math.sqrt(n_features)
    drawn["random_weights"] = normal(width, n_random_features) / math.sqrt(width)
    drawn["random_offsets"] = normal(n_random_features)
    return drawn


def random_features(z: Tensor, held: dict[str, Tensor]) -> Tensor:
    """z standardised (and projected) beside its random ReLU features, (n, width + n_random_features)."""
    x = (z - held["z_mean"]) * held["z_factor"]
    if "projection" in held:
        x = x @ held["projection"]
    return torch.cat([x, torch.relu(x @ held["random_weights"] + held["random_offsets"])], dim=1)
