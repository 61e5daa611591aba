"""Penalties without a critic: HSIC, its normalised form (CKA), distance correlation, and MMD between groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mibias_cli.estimators.critics import attribute_classes
from mibias_cli.estimators.measures import dependence
from mibias_cli.estimators.parameters import full_precision
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import comparable_rows, no_penalty, permutation, target_classes

__all__ = ["NoCritic", "cka", "dcor", "hsic", "mmd"]

# The sums over distinct samples take four of them.
_LEAST = 4
# Matrices of n² entries: longer samples are measured in blocks of at most so many rows.
_BLOCK = 2048

Statistic = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class NoCritic:
    """A measure of dependence between z and c in the batch itself: nothing to train, nothing that lags.

    Steady and cheap, at a price: kernels with few widths see little of a fine structure in a wide z, and the batch is
    all that the measure sees. Values are on the measure's own scale, where 0 is independence, so that λ must be chosen
    anew. The penalty is summed over channels. With `n_targets` it is the mean over target classes by their weight,
    classes of fewer than four rows left out.

    Args:
        measure: (z (n, d), c of one channel (n, width), weight) → scalar.
        n_classes: Classes per channel, given to `measure` one-hot; None: a continuous attribute, given as values.
        bin_edges: Continuous attributes seen through bins: inner edges per channel.
        n_targets: Target classes to condition on; None: the marginal dependence.
    """

    unit: Literal["nats", "own"] = "own"
    direction: Literal["lower", "upper", "none"] = "none"

    def __init__(
        self,
        measure: Statistic,
        *,
        n_classes: tuple[int, ...] | None,
        bin_edges: Sequence[Sequence[float]] | None = None,
        n_targets: int | None = None,
    ) -> None:
        self.measure = measure
        self.n_classes = n_classes
        self.bin_edges = bin_edges
        self.n_targets = n_targets
        self._dtype = torch.float32

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Nothing: there is no critic."""

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Sum over channels of the measure, differentiable in sample.z."""
        return torch.stack(self._channels(sample, generator)).sum()

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The largest channel's value on the measure's own scale; nan where fewer than four rows can be compared."""
        if len(self._rows(sample)) < _LEAST:
            return math.nan
        with torch.no_grad():
            return max(float(value) for value in self._channels(sample, generator))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> NoCritic:
        """Take a floating type; there is nothing to move. Returns itself."""
        self._dtype = dtype or self._dtype
        return self

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self._dtype, self.n_targets, _LEAST)

    def _channels(self, sample: Sample, generator: Generator) -> list[Tensor]:
        """The measure per channel: over target classes and over blocks of a long sample, the mean by weight."""
        rows = self._rows(sample)
        encoded = self._encode(rows)
        sums, total = [no_penalty(sample.z).to(self._dtype) for _ in encoded], 0.0
        with full_precision(rows.z.device):
            for part in self._parts(rows, generator):
                weight = None if rows.weight is None else rows.weight[part]
                share = float(len(part)) if weight is None else float(weight.sum())
                z = rows.z[part]
                sums = [s + share * self.measure(z, c[part], weight) for s, c in zip(sums, encoded, strict=True)]
                total += share
        return [s / (total or 1.0) for s in sums]

    def _parts(self, rows: Sample, generator: Generator) -> list[Tensor]:
        """Row indices of what is measured together."""
        everything = torch.arange(len(rows), device=rows.z.device)
        groups = [everything]
        if self.n_targets is not None:
            y = target_classes(rows)
            groups = [everything[y == k] for k in range(self.n_targets)]
        parts: list[Tensor] = []
        for group in groups:
            if len(group) > _BLOCK:
                group = group[permutation(len(group), generator, group.device)]
            parts += torch.tensor_split(group, max(1, -(-len(group) // _BLOCK)))
        return [part for part in parts if len(part) >= _LEAST]

    def _encode(self, rows: Sample) -> list[Tensor]:
        """Each channel (n, width): one-hot, or the values."""
        if self.n_classes is None:
            return list(rows.c.to(self._dtype).split(1, dim=1))
        classes = attribute_classes(rows.c, self.bin_edges)
        return [functional.one_hot(classes[:, k], n).to(self._dtype) for k, n in enumerate(self.n_classes)]


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


def _no_critic(spec: EstimatorSpec, measure: Statistic, *, bins: bool = False) -> NoCritic:
    values = spec.bin_edges is not None and not bins
    return NoCritic(
        measure,
        n_classes=None if values else spec.n_classes,
        bin_edges=None if values else spec.bin_edges,
        n_targets=spec.targets_seen,
    )


def hsic(spec: EstimatorSpec) -> NoCritic:
    """HSIC with Gaussian kernels of z and of values, and agreement of classes."""
    return _no_critic(spec, _hsic)


def cka(spec: EstimatorSpec) -> NoCritic:
    """HSIC normalised to a correlation (CKA), so that λ means much the same on any data."""
    return _no_critic(spec, _cka)


def dcor(spec: EstimatorSpec) -> NoCritic:
    """Squared distance correlation: no kernel width to choose."""
    return _no_critic(spec, _dcor)


def mmd(spec: EstimatorSpec) -> NoCritic:
    """MMD between the attribute's groups; a continuous attribute is seen through its bins."""
    return _no_critic(spec, _mmd, bins=True)
