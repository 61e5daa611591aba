"""The classifier bound: H(c) − cross-entropy of a bias-attribute head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import attribute_classes
from mibias_cli.estimators.measures.predictive import (
    cross_entropy,
    cross_entropy_bound,
    cross_entropy_gain,
    frequencies_given,
    smoothed,
)
from mibias_cli.estimators.parameters import full_precision
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import known_rows, with_target

__all__ = ["ClassifierBound"]


class ClassifierBound(BaseEstimator):
    """The bound H(c) − CE(c | z) on bias-attribute heads, per channel; steadier than MINE where c has classes.

    A continuous attribute is seen through bins, and the value then bounds the information about the bin, which is at
    most that about the value. Sample weights enter both the entropy and the cross-entropy.

    Given the target it is an estimate of I(z; c | y): the head sees one-hot targets beside z, and the reference is the
    cross-entropy of p(c | y) as counted in the last fit's sample.

    `spec.smoothing` is the share s of the frequencies p(c), or p(c | y), that the penalty mixes into the head's
    prediction: (1 − s) q(c | z) + s p(c). It still bounds from below, but a head that is confidently wrong then has a
    gradient that fades, where −log q(c | z) rewards moving features to where the head errs. What is reported is not
    smoothed.

    References: Barber and Agakov (2003); Poole et al., arXiv 1905.06922, Section 2.1.
    """

    least = 1
    frequencies: Tensor | None

    def __init__(self, spec: EstimatorSpec) -> None:
        super().__init__(spec, spec.make_heads(spec.n_inputs))
        # p(c), or p(c | y), of the last fit's sample: (targets or 1, classes of all channels side by side)
        self.register_buffer("frequencies", None)

    def rows(self, sample: Sample) -> Sample:
        """All known rows: a head predicts each on its own, without others to compare it with."""
        return known_rows(sample, self.like.dtype)

    def prepare(self, rows: Sample, generator: Generator) -> None:
        if self._refers_to_frequencies:
            self.frequencies = self._count(rows)

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        """Sum over channels of the weighted cross-entropy; one call where all channels have equally many classes."""
        logits, classes, weight = self.logits(rows), self._classes(rows), rows.weight
        n, channels = classes.shape
        if len(set(self.spec.n_classes)) > 1:
            return torch.stack([cross_entropy(one, classes[:, k], weight) for k, one in enumerate(logits)]).sum()
        # (n, channels · K) → (n · channels, K): row i, channel k stands at i · channels + k, as in `classes`
        flat = (logits[0] if channels == 1 else torch.cat(logits, dim=1)).reshape(n * channels, -1)
        if weight is None:
            return channels * functional.cross_entropy(flat, classes.reshape(-1))
        losses = functional.cross_entropy(flat, classes.reshape(-1), reduction="none").view(n, channels)
        return (weight @ losses).sum() / weight.sum()

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        return self._bounds(rows, self.spec.smoothing)

    def reported(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        return self._bounds(rows, 0.0)

    def accuracy(self, sample: Sample) -> float:
        """Share of known rows whose class the head names, mean over channels and unweighted; nan where none is."""
        rows = self.rows(sample)
        if len(rows) == 0:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            predicted = torch.stack([logits.argmax(dim=1) for logits in self.logits(rows)], dim=1)
        return float((predicted == self._classes(rows)).double().mean())

    def logits(self, rows: Sample) -> list[Tensor]:
        """What the head says of each row, (n, K) per channel; conditional heads see the target too."""
        logits: list[Tensor] = self.critic(with_target(rows, self.n_targets))
        return logits

    def _classes(self, rows: Sample) -> Tensor:
        return attribute_classes(rows.c, self.spec.bin_edges)

    @property
    def _refers_to_frequencies(self) -> bool:
        return self.n_targets is not None or self.spec.smoothing > 0

    def _count(self, rows: Sample) -> Tensor:
        """p(c), or p(c | y), of all channels side by side."""
        classes, group, dtype = self._classes(rows), self.group(rows), rows.z.dtype
        counted = [
            frequencies_given(classes[:, k], group, n, self.n_targets or 1, rows.weight, dtype)
            for k, n in enumerate(self.spec.n_classes)
        ]
        return torch.cat(counted, dim=1)

    def _bounds(self, rows: Sample, smoothing: float) -> list[Tensor]:
        """The bound of each channel in nats: H(c) − CE(c | z), or its gain over p(c | y)."""
        logits, classes = self.logits(rows), self._classes(rows).unbind(dim=1)
        if not self._refers_to_frequencies:
            return [cross_entropy_bound(one, c, rows.weight) for one, c in zip(logits, classes, strict=True)]
        group = self.group(rows)
        # before the first fit: this sample's own
        counted = self._count(rows) if self.frequencies is None else self.frequencies
        frequencies = counted.split(self.spec.n_classes, dim=1)
        if smoothing > 0:
            logits = [smoothed(one, p[group], smoothing) for one, p in zip(logits, frequencies, strict=True)]
        if self.n_targets is None:
            return [cross_entropy_bound(one, c, rows.weight) for one, c in zip(logits, classes, strict=True)]
        return [
            cross_entropy_gain(one, c, group, p, rows.weight)
            for one, c, p in zip(logits, classes, frequencies, strict=True)
        ]
