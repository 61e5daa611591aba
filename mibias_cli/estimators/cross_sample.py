"""Cross-sample estimation: what two samples' representations tell of whether they share the attribute."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import attribute_classes, perceptron
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import mean_over_parts, no_penalty

__all__ = ["CrossSample", "PairCritic", "sharing_bound"]


def sharing_bound(logits: Tensor, shared: Tensor, pair_weight: Tensor) -> Tensor:
    """H(S) − cross-entropy of S, whether two samples share c, over pairs: what z, z' tell of it, from below.

    In nats, at most log 2 (and at most H(S)). `logits` (m,) are the log-odds that a pair shares c, `shared` (m,) is S
    in {0, 1}; weights (m,) are not all 0.
    """
    w = pair_weight / pair_weight.sum()
    p = (w @ shared).clamp(0, 1)  # rounding may pass 1
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return entropy - w @ functional.binary_cross_entropy_with_logits(logits, shared, reduction="none")


class PairCritic(nn.Module):
    """Log-odds that two samples share c: a signed inner product of embeddings of z, per channel.

    Pairs that share the target have signs and an offset of their own: there what z says of y cannot help.
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
        # Σ_k s_k e_k(z) e_k(z'): signs let a pair be unlike in some directions, one set of signs per kind of pair
        with_sign = embedded[None] * self.signs[:, :, None, :]
        odds = with_sign @ embedded.transpose(1, 2) + self.offsets[:, :, None, None]
        return torch.where(same_target, odds[1], odds[0])


class CrossSample(BaseEstimator):
    """Pairs of samples that share or differ in y and in c feed the estimator (after CSAD).

    A critic sees the representations of two samples and says whether they share c; pairs that share y and pairs that do
    not are scored apart, so that agreement in y is no hint. The value, H(S) − cross-entropy averaged over both kinds of
    pair, bounds from below what a pair tells of S, which is at most 2 I(z; c). A batch of n gives n(n − 1)/2 pairs, and
    any number of classes makes one yes-or-no question: useful where c has many classes and few samples of each. The
    penalty is summed over channels; a continuous attribute is shared where its bin is. Given the target only pairs of
    one target class are compared, for I(z; c | y). A minibatch has 512 rows at most.

    References: Zhu et al., Learning bias-invariant representation by cross-sample mutual information minimization,
    arXiv 2108.05449. Theirs compares features of two networks by a neural bound; the stratified yes-or-no question is
    ours.
    """

    unit = "own"
    reads_values = False
    block = 512

    def __init__(self, spec: EstimatorSpec) -> None:
        # the critic sees no target beside z: whether a pair shares it is told by signs and offsets of its own
        super().__init__(spec, PairCritic(spec.n_features, len(spec.n_classes), spec.hidden))

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        return -torch.stack(self._bounds(rows)).sum()

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        parts = self.parts(rows, generator)
        return mean_over_parts(parts, [len(part) for part in parts], self._bounds) or [no_penalty(rows.z)]

    def _bounds(self, rows: Sample) -> list[Tensor]:
        """Per channel, the value over pairs that share the target and over those that do not, by their weight."""
        n = len(rows)
        w = rows.z.new_ones(n) if rows.weight is None else rows.weight
        # every unordered pair once: the critic is symmetric in its two samples
        i, j = torch.triu_indices(n, n, offset=1, device=rows.z.device)
        pair_weight = w[i] * w[j]
        # numbers and several labels have no target to share: all pairs are then of one kind
        same = torch.zeros(n, n, dtype=torch.bool, device=rows.z.device)
        if rows.y is not None and rows.y.dim() == 1:
            same = rows.y[:, None] == rows.y[None, :]
        logits = self.critic(rows.z, same)[:, i, j]
        classes = attribute_classes(rows.c, self.spec.bin_edges)
        shared = (classes[i] == classes[j]).to(logits.dtype)
        # given y only pairs of one target class count
        kinds = [same[i, j]] if self.n_targets is not None else [same[i, j], ~same[i, j]]
        weights = [torch.where(kind, pair_weight, 0.0) for kind in kinds]
        weights = [one for one in weights if bool(one.sum() > 0)]
        total = torch.stack(weights).sum()
        return [
            torch.stack([one.sum() / total * sharing_bound(logits[k], shared[:, k], one) for one in weights]).sum()
            for k in range(len(self.spec.n_classes))
        ]
