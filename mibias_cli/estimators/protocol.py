"""What an MI estimator is: it is fitted on detached features and gives a penalty that is differentiable in z."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypedDict

import torch
from torch import Generator, Tensor, nn

__all__ = ["Estimator", "EstimatorSpec", "EstimatorState", "Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What an estimator sees of a batch or of the queue.

    Args:
        z: Representation (n, d).
        c: One bias attribute (n, channels): int64 class indices, or float values where it is continuous.
        y: Targets (n,) or None.
        weight: Balancing weights (n,) with mean about 1, or None for equal weights.
        known: (n,) bool, False where the attribute is missing: such rows are ignored.
    """

    z: Tensor
    c: Tensor
    y: Tensor | None
    weight: Tensor | None
    known: Tensor

    def __len__(self) -> int:
        return int(self.z.shape[0])

    def take(self, rows: Tensor | slice) -> Sample:
        """The rows of this sample that an index, a mask or a slice names."""
        return Sample(
            z=self.z[rows],
            c=self.c[rows],
            y=None if self.y is None else self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
            known=self.known[rows],
        )


class EstimatorState(TypedDict):
    """What a checkpoint keeps of an estimator."""

    tensors: dict[str, Tensor]
    """Weights of the critic under `critic.…`, and everything else that is held, under its own name."""
    optimizer: dict[str, object] | None
    """State of the critic's optimizer; None where there is no critic."""


class Estimator(Protocol):
    """An estimator of dependence, in nats where `unit` says so; it knows nothing of ranks, queues or schedules."""

    direction: Literal["lower", "upper", "none"]
    """What the value bounds at the optimum of its critic."""
    unit: Literal["nats", "own"]
    """nats, or a scale of its own (kernels and correlations), on which 0 is independence."""

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Improve the critic on detached features: some optimizer steps, a closed-form solve, or nothing."""

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """What training minimises: a scalar, differentiable in sample.z, with the critic held fixed."""

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The current estimate on this sample (the largest over channels), in `unit`; never clamped."""

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Self:
        """Move everything the estimator holds; returns itself."""

    def state_dict(self) -> EstimatorState:
        """Everything that a resumed run needs, optimizer state included; tensors and plain values only."""

    def load_state_dict(self, state: EstimatorState) -> None:
        """Restore what `state_dict` gave."""


@dataclass(frozen=True, kw_only=True)
class EstimatorSpec:
    """All settings of an estimator: every estimator is made from one and uses what concerns it.

    Args:
        n_features: Width d of z.
        n_classes: Classes (or bins) per channel of the attribute.
        bin_edges: Inner bin edges per channel where the attribute is continuous, else None.
        hidden: Widths of the critic's hidden layers.
        learning_rate, optimizer, beta1: Of the critic.
        steps: Critic steps per `fit`.
        batch_size: Rows per critic step; None: the whole sample.
        moving_average: MINE's decay, or None for plain Donsker–Varadhan.
        n_random_features, ridge: Of the closed-form critic.
        make_heads: Given a width, makes fresh bias-attribute heads: inputs (n, width) → one logit tensor (n, K) per
            channel.
        architecture: Critics of all pairs: concatenated (z beside c in one MLP), separable (an inner product), or auto:
            concatenated for one channel of few classes.
        tau: SMILE's clipping.
        entropy_weight: Of the entropy term of gradient reversal, relative to its cross-entropy.
        smoothing: Share of the class frequencies that the classifier bound's penalty mixes into the prediction.
        given_target: Whether I(z; c | y) is estimated in place of I(z; c): critics and heads then see y beside z.
        n_targets: Number of target classes, which `given_target` needs.
    """

    n_features: int
    n_classes: tuple[int, ...]
    bin_edges: tuple[tuple[float, ...], ...] | None
    hidden: tuple[int, ...]
    learning_rate: float
    optimizer: Literal["adam", "sgd"]
    beta1: float
    steps: int
    batch_size: int | None
    moving_average: float | None
    n_random_features: int
    ridge: float
    make_heads: Callable[[int], nn.Module]
    architecture: Literal["auto", "concatenated", "separable"] = "auto"
    tau: float = 5.0
    entropy_weight: float = 0.1
    smoothing: float = 0.0
    given_target: bool = False
    n_targets: int | None = None

    @property
    def targets_seen(self) -> int | None:
        """Number of target classes where the estimate is conditional on them, else None."""
        if self.given_target and self.n_targets is None:
            raise ValueError("given_target needs n_targets")
        return self.n_targets if self.given_target else None

    @property
    def n_inputs(self) -> int:
        """Width of what a critic or head sees of z: z itself, and one-hot targets where it is conditional."""
        return self.n_features + (self.targets_seen or 0)

    @property
    def value_classes(self) -> tuple[int, ...] | None:
        """Classes per channel for critics that take a continuous attribute as values; None where it is one."""
        return None if self.bin_edges is not None else self.n_classes

    @property
    def c_width(self) -> int:
        """Width of the attribute as `encode_attribute` gives it: all classes of all channels, or one per value."""
        return len(self.n_classes) if self.value_classes is None else sum(self.n_classes)
