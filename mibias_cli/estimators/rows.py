"""Which rows of a sample an estimator uses, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.protocol import Sample

__all__ = [
    "apply_by_group",
    "blocks",
    "comparable_rows",
    "group_means",
    "known_rows",
    "mean_over_parts",
    "minibatch_rows",
    "minibatches",
    "no_penalty",
    "permutation",
    "permutation_within",
    "rows_by_group",
    "target_classes",
    "with_target",
]


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
    # as many passes as it takes, end to end; the last one is cut
    needed = steps * batch_size
    passes = [permutation(n, generator, device) for _ in range(-(-needed // n))]
    return torch.cat(passes)[:needed]


def minibatches(sample: Sample, batch_size: int | None, steps: int, generator: Generator) -> Iterator[Sample]:
    """`steps` minibatches of a sample, none of whose rows comes back before all were seen."""
    drawn = minibatch_rows(len(sample), batch_size, steps, generator, sample.z.device)
    if not len(drawn):
        yield from [sample] * steps
        return
    # one gather for all steps: each then takes a slice, which costs nothing
    gathered, size = sample.take(drawn), len(drawn) // steps
    for k in range(steps):
        yield gathered.take(slice(k * size, (k + 1) * size))


def blocks(sample: Sample, most: int, generator: Generator) -> list[Sample]:
    """A sample in random parts of about equal size and at most so many rows; whole, and nothing drawn, if it fits."""
    if len(sample) <= most:
        return [sample]
    order = permutation(len(sample), generator, sample.z.device)
    return [sample.take(chosen) for chosen in torch.tensor_split(order, -(-len(sample) // most))]


def mean_over_parts(
    parts: Sequence[Sample], shares: Sequence[float], measure: Callable[[Sample], Sequence[Tensor]]
) -> list[Tensor]:
    """What `measure` says of each part (scalars, one per channel), averaged by the parts' shares."""
    measured = [[share * value for value in measure(part)] for part, share in zip(parts, shares, strict=True)]
    total = sum(shares)
    return [sum(channel, start=channel[0].new_zeros(())) / total for channel in zip(*measured, strict=True)]


def comparable_rows(sample: Sample, dtype: torch.dtype, n_targets: int | None, least: int = 2) -> Sample:
    """The known rows of positive weight, and with `n_targets` of those the ones whose target class has `least` of them.

    A row that no other row of its class can be compared with tells nothing of I(z; c | y).
    """
    rows = known_rows(sample, dtype)
    # a row of weight 0 would be paired with others for nothing, and its logarithm is −∞
    if rows.weight is not None and not bool((rows.weight > 0).all()):
        rows = rows.take(rows.weight > 0)
    if n_targets is not None and len(rows):
        y = target_classes(rows)
        enough = (functional.one_hot(y, n_targets).sum(dim=0) >= least)[y]
        rows = rows if bool(enough.all()) else rows.take(enough)
    return rows


def permutation_within(group: Tensor, generator: Generator) -> Tensor:
    """A random order of rows that exchanges those of the same group (n,) alone, each with another where there is one.

    Example:
        >>> group = torch.tensor([0, 1, 0, 1, 2])
        >>> order = permutation_within(group, torch.Generator().manual_seed(0))
        >>> bool((group[order] == group).all()), (order == torch.arange(5)).tolist()
        (True, [False, False, False, False, True])
    """
    drawn = permutation(len(group), generator, group.device)
    # the rows in random order, group by group: each takes the place of the one before it, the first of the last
    circle = drawn[torch.argsort(group[drawn], stable=True)]
    # where a group begins in that order, and for each row where its own group began
    starts = torch.ones(len(circle), dtype=torch.bool, device=group.device)
    starts[1:] = group[circle][1:] != group[circle][:-1]
    position = torch.arange(len(circle), device=group.device)
    start_of = torch.cummax(torch.where(starts, position, 0), dim=0).values
    is_last = torch.roll(starts, -1)
    taken = torch.where(is_last, start_of, torch.roll(position, -1))
    order = torch.empty_like(circle)
    order[circle] = circle[taken]
    return order


def no_penalty(z: Tensor) -> Tensor:
    """A zero that hangs on z, so that a batch without known attributes still has a backward pass."""
    return 0.0 * z.sum()


def target_classes(sample: Sample) -> Tensor:
    """The target classes (n,) int64 of a sample, for a conditional estimate; a TrainingError where it has none."""
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


def rows_by_group(group: Tensor, n_groups: int) -> Sequence[Tensor]:
    """The rows (k,) of each group, in order, from the group (n,) of each row; one number is read off the device a call.

    Example:
        >>> [rows.tolist() for rows in rows_by_group(torch.tensor([2, 0, 2]), 3)]
        [[1], [], [0, 2]]
    """
    sizes: list[int] = torch.bincount(group, minlength=n_groups).tolist()
    return torch.argsort(group, stable=True).split(sizes)


def apply_by_group(values: Tensor, maps: Tensor, group: Tensor) -> Tensor:
    """Each row of values (n, p) times the map of its group, from maps (n_groups, p, k): (n, k)."""
    if len(maps) == 1:
        return values @ maps[0]
    # group by group, so that no map is copied for every row; then back into the order of the rows
    chosen = rows_by_group(group, len(maps))
    products = [values[rows] @ maps[k] for k, rows in enumerate(chosen) if len(rows)]
    return torch.cat(products)[torch.argsort(torch.cat(list(chosen)))]


def group_means(values: Tensor, weight: Tensor | None, group: Tensor | None, n_groups: int = 1) -> Tensor:
    """Each row's weighted mean (n, t) of values (n, t) over its group."""
    group = torch.zeros(len(values), dtype=torch.int64, device=values.device) if group is None else group
    given = functional.one_hot(group, n_groups).to(values.dtype)
    weighted = given if weight is None else given * weight[:, None]
    total = weighted.sum(dim=0)
    # a group without weight has no mean, and no row that would ask for it
    means = (weighted.T @ values) / torch.where(total > 0, total, 1.0)[:, None]
    return means[group]
