"""Cross-sample estimation: what two samples' representations tell of whether they share the attribute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.critics import attribute_classes, perceptron
from mibias_cli.estimators.parameters import Learner, OptimizerName, full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import comparable_rows, minibatches, no_penalty, permutation

__all__ = ["CrossSample", "PairCritic", "from_spec", "sharing_bound"]

# All pairs of so many rows are compared at a time.
_BLOCK = 512


def sharing_bound(logits: Tensor, shared: Tensor, pair_weight: Tensor) -> Tensor:
    """H(S) − cross-entropy of S, whether two samples share c, over pairs: what z, z' tell of it, from below.

    Args:
        logits: Log-odds (m,) that a pair shares c.
        shared: S (m,) in {0, 1}.
        pair_weight: Weights (m,), not all 0; normalised here.

    Returns:
        Nats, at most log 2 (and at most H(S)), differentiable in the logits.
    """
    w = pair_weight / pair_weight.sum()
    p = (w @ shared).clamp(0, 1)  # rounding may pass 1
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return entropy - w @ functional.binary_cross_entropy_with_logits(logits, shared, reduction="none")


class PairCritic(nn.Module):
    """Log-odds that two samples share c: a signed inner product of embeddings of z, per channel.

    Pairs that share the target have signs and an offset of their own: there what z says of y cannot help.

    Args:
        n_features: Width d of z.
        n_channels: Channels of the attribute.
        hidden: Widths of the hidden layers.
        width: Width of the embedding per channel.
    """

    def __init__(self, n_features: int, n_channels: int, hidden: Sequence[int] = (64, 64), width: int = 16) -> None:
        super().__init__()
        self.layers = perceptron(n_features, hidden, n_channels * width)
        self.signs = nn.Parameter(torch.full((2, n_channels, width), 1 / math.sqrt(width)))
        self.offsets = nn.Parameter(torch.zeros(2, n_channels))
        self.width = width

    def forward(self, z: Tensor, same_target: Tensor) -> Tensor:
        """Log-odds (channels, n, n) for z (n, d), and whether pairs share the target (n, n) bool."""
        embedded = self.layers(z).view(len(z), -1, self.width).transpose(0, 1)
        with_sign = embedded[None] * self.signs[:, :, None, :]
        odds = with_sign @ embedded.transpose(1, 2) + self.offsets[:, :, None, None]
        return torch.where(same_target, odds[1], odds[0])


class CrossSample:
    """Pairs of samples that share or differ in y and in c feed the estimator (after CSAD).

    A critic sees the representations of two samples and says whether they share c; pairs that share y and pairs that do
    not are scored apart, so that agreement in y is no hint. The value, H(S) − cross-entropy averaged over both kinds of
    pair, bounds from below what a pair tells of S, which is at most 2 I(z; c). A batch of n gives n(n − 1)/2 pairs, and
    any number of classes makes one yes-or-no question: useful where c has many classes and few samples of each. The
    penalty is summed over channels; a continuous attribute is shared where its bin is.

    Args:
        critic: A `PairCritic`.
        n_channels: Channels of the attribute.
        bin_edges: Continuous attributes: inner edges per channel.
        given_target: Compare pairs of one target class alone, for I(z; c | y).
        n_targets: Target classes; needed where `given_target`.
        learning_rate, optimizer, beta1: Of the critic.
        steps: Optimizer steps per fit.
        batch_size: Rows per step; None: the whole sample. At most 512.

    References:
        Zhu et al., Learning bias-invariant representation by cross-sample mutual information minimization,
        arXiv 2108.05449. Theirs compares features of two networks by a neural bound; the stratified yes-or-no question
        is ours.
    """

    unit: Literal["nats", "own"] = "own"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(
        self,
        critic: PairCritic,
        *,
        n_channels: int,
        bin_edges: Sequence[Sequence[float]] | None = None,
        n_targets: int | None = None,
        learning_rate: float = 2e-3,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 15,
        batch_size: int | None = None,
    ) -> None:
        self.critic = critic
        self.n_channels = n_channels
        self.bin_edges = bin_edges
        self.n_targets = n_targets
        self.steps = steps
        self.batch_size = batch_size
        self._learner = Learner(critic, learning_rate=learning_rate, optimizer=optimizer, beta1=beta1)

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` optimizer steps; z is detached, and fewer than two known rows change nothing."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return
        size = min(self.batch_size or _BLOCK, _BLOCK)
        with torch.enable_grad(), full_precision(rows.z.device):
            for part in minibatches(rows, size, self.steps, generator):
                part = comparable_rows(part, part.z.dtype, self.n_targets)
                if len(part) >= 2:
                    self._learner.descend(-torch.stack(self._bounds(part)).sum())

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Sum over channels of the value with the critic held fixed, differentiable in sample.z."""
        with held_fixed(self.critic):
            return torch.stack(self._channels(sample, generator)).sum()

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The largest channel's value in nats per pair; nan where fewer than two rows can be compared."""
        if len(self._rows(sample)) < 2:
            return math.nan
        with torch.no_grad():
            return max(float(value) for value in self._channels(sample, generator))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> CrossSample:
        """Move critic and optimizer state; returns itself."""
        self._learner.to(device, dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of critic and optimizer state."""
        return self._learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._learner.load_state_dict(state)

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self._learner.dtype, self.n_targets)

    def _channels(self, sample: Sample, generator: Generator) -> list[Tensor]:
        """The value per channel, averaged over blocks of a long sample."""
        rows = self._rows(sample)
        sums, total = [no_penalty(sample.z).to(self._learner.dtype)] * self.n_channels, 0
        blocks: Sequence[Tensor] = [torch.arange(len(rows), device=rows.z.device)]
        if len(rows) > _BLOCK:
            blocks = torch.tensor_split(permutation(len(rows), generator, rows.z.device), -(-len(rows) // _BLOCK))
        with full_precision(rows.z.device):
            for block in blocks:
                part = comparable_rows(rows.take(block), rows.z.dtype, self.n_targets)
                if len(part) >= 2:
                    sums = [s + len(part) * bound for s, bound in zip(sums, self._bounds(part), strict=True)]
                    total += len(part)
        return [s / (total or 1) for s in sums]

    def _bounds(self, rows: Sample) -> list[Tensor]:
        """Per channel, the value over pairs that share the target and over those that do not, by their weight."""
        n = len(rows)
        w = rows.z.new_ones(n) if rows.weight is None else rows.weight
        i, j = torch.triu_indices(n, n, offset=1, device=rows.z.device)
        pair_weight = w[i] * w[j]
        one_target = rows.y is None or rows.y.dim() != 1
        same = torch.zeros(n, n, dtype=torch.bool, device=rows.z.device)
        if not one_target:
            assert rows.y is not None, "a target was seen"
            same = rows.y[:, None] == rows.y[None, :]
        logits = self.critic(rows.z, same)[:, i, j]
        classes = attribute_classes(rows.c, self.bin_edges)
        shared = (classes[i] == classes[j]).to(logits.dtype)
        kinds = [same[i, j]] if self.n_targets is not None else [same[i, j], ~same[i, j]]
        weights = [torch.where(kind, pair_weight, 0.0) for kind in kinds]
        weights = [one for one in weights if bool(one.sum() > 0)]
        total = torch.stack(weights).sum()
        return [
            torch.stack([one.sum() / total * sharing_bound(logits[k], shared[:, k], one) for one in weights]).sum()
            for k in range(self.n_channels)
        ]


def from_spec(spec: EstimatorSpec) -> CrossSample:
    """Cross-sample estimation as a recipe asks for it."""
    return CrossSample(
        PairCritic(spec.n_features, len(spec.n_classes), spec.hidden),
        n_channels=len(spec.n_classes),
        bin_edges=spec.bin_edges,
        n_targets=spec.targets_seen,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
    )
