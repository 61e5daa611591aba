"""Which rows of a sample an estimator uses, and in which order."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.protocol import Sample

__all__ = ["known_rows", "minibatch_rows", "no_penalty", "permutation"]


def known_rows(sample: Sample, dtype: torch.dtype) -> Sample:
    """The rows whose attribute is known, with z and weights in the critic's floating type; differentiable in z."""
    rows = sample if bool(sample.known.all()) else sample.take(sample.known)
    weight = None if rows.weight is None else rows.weight.to(dtype)
    return Sample(z=rows.z.to(dtype), c=rows.c, y=rows.y, weight=weight, known=rows.known)


def permutation(n: int, generator: Generator, device: torch.device) -> Tensor:
    """A random order of n rows, drawn on the generator's device (it may live on the CPU) and moved."""
    return torch.randperm(n, generator=generator, device=generator.device).to(device)


def minibatch_rows(n: int, batch_size: int | None, steps: int, generator: Generator, device: torch.device) -> Tensor:
    """Rows of `steps` minibatches end to end, a tensor of steps × batch_size indices.

    The rows are visited in random order and none comes back before all were seen, which costs one draw per pass
    over the sample instead of one per step. Where the batch is not smaller than the sample the result is empty: every
    step takes all rows.
    """
    if batch_size is None or batch_size >= n:
        return torch.empty(0, dtype=torch.int64, device=device)
    needed = steps * batch_size
    passes = [permutation(n, generator, device) for _ in range(-(-needed // n))]
    return torch.cat(passes)[:needed]


def no_penalty(z: Tensor) -> Tensor:
    """A zero that hangs on z, so that a batch without known attributes still has a backward pass."""
    return 0.0 * z.sum()
