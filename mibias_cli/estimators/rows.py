"""Which rows of a sample an estimator uses, and in which order."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.protocol import Sample

__all__ = ["known_rows", "minibatch_rows", "no_penalty", "permutation", "target_classes", "with_target"]


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


def target_classes(sample: Sample) -> Tensor:
    """The target classes (n,) int64 of a sample, for an estimate that is conditional on them.

    Raises:
        TrainingError: There are no target classes.
    """
    y = sample.y
    if y is None or y.dim() != 1 or y.is_floating_point():
        raise TrainingError(
            "the conditional objective estimates I(z; c | y), which needs one target class per sample; these data have "
            "none: choose the marginal objective"
        )
    return y.long()


def with_target(sample: Sample, n_targets: int | None) -> Tensor:
    """What a head or critic sees of each row: z (n, d), and with `n_targets` one-hot targets beside it."""
    if n_targets is None:
        return sample.z
    one_hot = functional.one_hot(target_classes(sample), n_targets).to(sample.z.dtype)
    return torch.cat([sample.z, one_hot], dim=1)
