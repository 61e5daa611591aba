"""Penalties without a critic: HSIC, its normalised form (CKA), distance correlation, and MMD between groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import attribute_classes
from mibias_cli.estimators.measures import dependence
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import blocks, comparable_rows, mean_over_parts, target_classes

__all__ = ["NoCritic", "cka", "dcor", "hsic", "mmd"]

# Matrices of n² entries: longer samples are measured in blocks of at most so many rows.
_BLOCK = 2048

Statistic = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class NoCritic(BaseEstimator):
    """A measure of dependence between z and c in the batch itself: nothing to train, nothing that lags.

    Steady and cheap, at a price: kernels with few widths see little of a fine structure in a wide z, and the batch is
    all that the measure sees. Values are on the measure's own scale, where 0 is independence, so that λ must be chosen
    anew. Given the target it is the mean over target classes by their weight, classes of fewer than four rows left out.

    Args:
        measure: (z (n, d), c of one channel (n, width), weight) → scalar; classes are one-hot.
        bins: Whether the measure compares groups: a continuous attribute is then seen through its bins.
    """

    unit = "own"
    direction = "none"
    # the sums over distinct samples take four of them
    least = 4

    def __init__(self, spec: EstimatorSpec, measure: Statistic, *, bins: bool = False) -> None:
        super().__init__(spec)
        self.measure = measure
        self.bins = bins

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Nothing: there is no critic."""

    def rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self.like.dtype, self.n_targets, self.least)

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        """The measure per channel: over target classes and over blocks of a long sample, the mean by weight."""

        def measure(part: Sample) -> list[Tensor]:
            return [self.measure(part.z, c, part.weight) for c in self._channels(part)]

        groups = [rows]
        if self.n_targets is not None:
            y = target_classes(rows)
            groups = [rows.take(y == k) for k in range(self.n_targets)]
        # four samples at least, each target class apart, and no matrix larger than a block
        parts = [part for group in groups for part in blocks(group, _BLOCK, generator) if len(part) >= self.least]
        shares = [float(len(part)) if part.weight is None else float(part.weight.sum()) for part in parts]
        return mean_over_parts(parts, shares, measure)

    def _channels(self, rows: Sample) -> list[Tensor]:
        """Each channel (n, width): one-hot, or the values."""
        if self.spec.value_classes is None and not self.bins:
            return list(rows.c.to(self.like.dtype).split(1, dim=1))
        classes = attribute_classes(rows.c, self.spec.bin_edges)
        return [functional.one_hot(classes[:, k], n).to(self.like.dtype) for k, n in enumerate(self.spec.n_classes)]


def _attribute_kernel(c: Tensor, weight: Tensor | None) -> Tensor:
    """Whether classes agree, or a Gaussian kernel of values."""
    return c @ c.T if c.shape[1] > 1 else dependence.gaussian_kernel(c, weight)


def _distances(a: Tensor) -> Tensor:
    """Euclidean distances; by differences, because those by products lose half the digits near 0."""
    return torch.cdist(a, a, compute_mode="donot_use_mm_for_euclid_dist")


def _hsic(z: Tensor, c: Tensor, weight: Tensor | None) -> Tensor:
    return dependence.hsic(dependence.gaussian_kernel(z, weight), _attribute_kernel(c, weight), weight)


def _cka(z: Tensor, c: Tensor, weight: Tensor | None) -> Tensor:
    return dependence.normalised(dependence.gaussian_kernel(z, weight), _attribute_kernel(c, weight), weight)


def _dcor(z: Tensor, c: Tensor, weight: Tensor | None) -> Tensor:
    return dependence.normalised(_distances(z), _distances(c), weight)


def _mmd(z: Tensor, c: Tensor, weight: Tensor | None) -> Tensor:
    return dependence.mmd(dependence.gaussian_kernel(z, weight), c, weight)


hsic = partial(NoCritic, measure=_hsic)
"""HSIC with Gaussian kernels of z and of values, and agreement of classes."""
cka = partial(NoCritic, measure=_cka)
"""HSIC normalised to a correlation (CKA), so that λ means much the same on any data."""
dcor = partial(NoCritic, measure=_dcor)
"""Squared distance correlation: no kernel width to choose."""
mmd = partial(NoCritic, measure=_mmd, bins=True)
"""MMD between the attribute's groups; a continuous attribute is seen through its bins."""
