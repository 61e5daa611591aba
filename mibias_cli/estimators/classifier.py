"""The classifier bound: H(c) − cross-entropy of a bias-attribute head."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.critics import attribute_classes
from mibias_cli.estimators.measures.predictive import (
    cross_entropy,
    cross_entropy_bound,
    cross_entropy_gain,
    frequencies_given,
    smoothed,
)
from mibias_cli.estimators.parameters import (
    OptimizerName,
    full_precision,
    held_fixed,
    make_optimizer,
    module_dtype,
    move,
)
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import known_rows, minibatch_rows, no_penalty, target_classes, with_target

__all__ = ["ClassifierBound", "from_spec"]


class ClassifierBound:
    """The bound H(c) − CE(c | z) on bias-attribute heads, per channel; steadier than MINE where c has classes.

    A continuous attribute is seen through bins, and the value then bounds the information about the bin, which is at
    most that about the value. Sample weights enter both the entropy and the cross-entropy.

    With `n_targets` it is conditional, an estimate of I(z; c | y): the head sees one-hot targets beside z, and the
    reference is the cross-entropy of p(c | y) as counted in the last fit's sample.

    Args:
        head: Called as head(z) → one logit tensor (n, K) per channel; with `n_targets` its input is (n, d + n_targets).
        n_classes: Classes (or bins) per channel.
        bin_edges: Continuous attributes only: inner bin edges per channel.
        learning_rate: Learning rate of the head.
        optimizer: adam or sgd.
        beta1: Adam's decay of the mean gradient; below 0.9 where the critic chases moving features.
        steps: Optimizer steps per fit, K.
        batch_size: Rows per step, none twice before all were seen; None: the whole sample.
        n_targets: Target classes to condition on; None: the marginal I(z; c).
        smoothing: Share s of the frequencies p(c), or p(c | y), that the penalty mixes into the head's prediction:
            (1 − s) q(c | z) + s p(c). It still bounds from below, but a head that is confidently wrong then has a
            gradient that fades, where −log q(c | z) rewards moving features to where the head errs.

    References:
        arXiv 1905.06922, arXiv 2003.06430.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(
        self,
        head: nn.Module,
        *,
        n_classes: tuple[int, ...],
        bin_edges: Sequence[Sequence[float]] | None = None,
        learning_rate: float = 2e-3,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 15,
        batch_size: int | None = None,
        n_targets: int | None = None,
        smoothing: float = 0.0,
    ) -> None:
        self.head = head
        self.n_classes = tuple(n_classes)
        self.bin_edges = bin_edges
        self.learning_rate = learning_rate
        self.optimizer_name: OptimizerName = optimizer
        self.steps = steps
        self.batch_size = batch_size
        self.n_targets = n_targets
        self.smoothing = smoothing
        self._frequencies: list[Tensor] = []  # p(c), or p(c | y), of the last fit's sample, per channel
        self.optimizer = make_optimizer(optimizer, head, learning_rate, beta1)

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` optimizer steps on this sample; z is detached, and no known row changes nothing."""
        rows, classes = self._classes(sample)
        if len(rows) == 0:
            return
        if self._refers_to_frequencies:
            with full_precision(rows.z.device):
                self._frequencies = self._count(rows, classes)
        z, weight = with_target(rows, self.n_targets).detach(), rows.weight
        drawn = minibatch_rows(len(rows), self.batch_size, self.steps, generator, z.device)
        size = len(rows)
        if len(drawn):
            # One gather for all steps: a step then takes slices, which cost nothing.
            z, classes = z.index_select(0, drawn), classes.index_select(0, drawn)
            weight = None if weight is None else weight.index_select(0, drawn)
            size = len(drawn) // self.steps
        with torch.enable_grad(), full_precision(z.device):
            for k in range(self.steps):
                part = slice(k * size, (k + 1) * size) if len(drawn) else slice(None)
                loss = self._loss(self.head(z[part]), classes[part], None if weight is None else weight[part])
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Sum over channels of the bound in nats with the head held fixed, differentiable in sample.z."""
        rows, classes = self._classes(sample)
        if len(rows) == 0:
            return no_penalty(sample.z)
        with held_fixed(self.head), full_precision(rows.z.device):
            return torch.stack(self._bounds(rows, classes, self.smoothing)).sum()

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The largest channel's bound in nats (sums over channels bound nothing); nan where no row is known."""
        return max(self.channel_estimates(sample))

    def channel_estimates(self, sample: Sample) -> list[float]:
        """The bound of each channel in nats; nan where no row is known."""
        rows, classes = self._classes(sample)
        if len(rows) == 0:
            return [math.nan] * len(self.n_classes)
        with torch.no_grad(), full_precision(rows.z.device):
            return [float(bound) for bound in self._bounds(rows, classes)]

    def accuracy(self, sample: Sample) -> float:
        """Share of known rows whose class the head names, mean over channels and unweighted; nan where none is."""
        rows, classes = self._classes(sample)
        if len(rows) == 0:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            predicted = torch.stack([logits.argmax(dim=1) for logits in self.logits(rows)], dim=1)
        return float((predicted == classes).double().mean())

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> ClassifierBound:
        """Move head and optimizer state; returns itself."""
        self.optimizer = move(self.head, self.optimizer, self.optimizer_name, self.learning_rate, device, dtype)
        self._frequencies = [p.to(device=device, dtype=dtype) for p in self._frequencies]
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of head, optimizer state and the frequencies of c given y."""
        state = {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}
        return copy.deepcopy(state | {"frequencies": self._frequencies})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        state = copy.deepcopy(state)
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        like = next(self.head.parameters())
        self._frequencies = [p.to(like) for p in state["frequencies"]]

    def rows(self, sample: Sample) -> Sample:
        """The known rows of a sample, in the head's floating type."""
        return known_rows(sample, module_dtype(self.head))

    def logits(self, rows: Sample) -> list[Tensor]:
        """What the head says of each row, per channel; conditional heads see the target too."""
        logits: list[Tensor] = self.head(with_target(rows, self.n_targets))
        return logits

    def _classes(self, sample: Sample) -> tuple[Sample, Tensor]:
        rows = self.rows(sample)
        return rows, attribute_classes(rows.c, self.bin_edges)

    @property
    def _refers_to_frequencies(self) -> bool:
        return self.n_targets is not None or self.smoothing > 0

    def _given(self, rows: Sample) -> Tensor:
        """Which row of the frequencies belongs to each sample: its target, or the only one."""
        if self.n_targets is not None:
            return target_classes(rows)
        return torch.zeros(len(rows), dtype=torch.int64, device=rows.z.device)

    def _count(self, rows: Sample, classes: Tensor) -> list[Tensor]:
        """p(c), or p(c | y), per channel."""
        given, dtype = self._given(rows), rows.z.dtype
        return [
            frequencies_given(classes[:, k], given, n, self.n_targets or 1, rows.weight, dtype)
            for k, n in enumerate(self.n_classes)
        ]

    def _bounds(self, rows: Sample, classes: Tensor, smoothing: float = 0.0) -> list[Tensor]:
        logits = self.logits(rows)
        if not self._refers_to_frequencies:
            return [cross_entropy_bound(one, classes[:, k], rows.weight) for k, one in enumerate(logits)]
        given = self._given(rows)
        frequencies = self._frequencies or self._count(rows, classes)  # before the first fit: this sample's own
        if smoothing > 0:
            logits = [smoothed(one, p[given], smoothing) for one, p in zip(logits, frequencies, strict=True)]
        if self.n_targets is None:
            return [cross_entropy_bound(one, classes[:, k], rows.weight) for k, one in enumerate(logits)]
        return [
            cross_entropy_gain(one, classes[:, k], given, frequencies[k], rows.weight) for k, one in enumerate(logits)
        ]

    def _loss(self, logits: list[Tensor], classes: Tensor, weight: Tensor | None) -> Tensor:
        """Sum over channels of the weighted cross-entropy; one call where all channels have equally many classes."""
        n, channels = classes.shape
        if len(set(self.n_classes)) > 1:
            return torch.stack([cross_entropy(one, classes[:, k], weight) for k, one in enumerate(logits)]).sum()
        flat = (logits[0] if channels == 1 else torch.cat(logits, dim=1)).reshape(n * channels, -1)
        if weight is None:
            return channels * functional.cross_entropy(flat, classes.reshape(-1))
        losses = functional.cross_entropy(flat, classes.reshape(-1), reduction="none").view(n, channels)
        return (weight @ losses).sum() / weight.sum()


def from_spec(spec: EstimatorSpec) -> ClassifierBound:
    """The classifier bound on fresh bias-attribute heads, as a recipe asks for it."""
    return ClassifierBound(
        spec.make_heads(spec.n_features + (spec.targets_seen or 0)),
        n_classes=spec.n_classes,
        bin_edges=spec.bin_edges,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
        n_targets=spec.targets_seen,
        smoothing=spec.smoothing,
    )
