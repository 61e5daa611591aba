"""ECS + GA: two peers agree on which rows the bias misleads in, and both kinds of rows move the model alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.conflict import scored
from mibias_cli.methods.method import Method, MethodSpec, sample_losses
from mibias_cli.training.model import TaskModel

__all__ = ["ConflictScores", "GradientAlignment"]

_UNLEARN = 1e-4
"""What a row counts, with a minus, for a peer that alone finds it easy: as in the authors' code."""


class GradientAlignment(Method):
    """Scores rows by two peers over many epochs, then balances what conflicting rows and all others do to the model.

    One would choose it where nobody knows the bias and it is easier to learn than the target. Before training, rows
    whose score (see `ConflictScores`) is `threshold` or more are held to be conflicting. In training the others weigh
    Σ_conflicting (1 − p) / (γ Σ_others (1 − p)) times as much as these: 1 − p, with p the probability of the true
    class, is the size of a row's gradient. Weights are divided by their mean over all training rows. The sums go over
    all training rows, by the last p of each, since a small batch may have no conflicting row; the authors draw a fixed
    share of every batch from either kind instead.

    Settings: `epochs` of the peers, `confidence` η, `threshold` τ, `gamma` γ: 50, .1, .8 and 1, what the authors' code
    has where nothing is said. They take γ 1.6 for networks that start from scratch, η .5 for digits, and η .9 for
    pretrained networks.

    References: Zhao et al., Combating Unknown Bias with Effective Bias-Conflicting Scoring and Gradient Alignment,
    arXiv 2111.13108; weights as in the authors' code.
    """

    score: Tensor
    conflicting: Tensor
    gradient: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        n = len(spec.data.train)
        self.register_buffer("score", torch.zeros(n))
        self.register_buffer("conflicting", torch.zeros(n, dtype=torch.bool))
        # 1 − p of each row when it was last seen; before that all are alike
        self.register_buffer("gradient", torch.ones(n))

    def prepare(self) -> str:
        """Train the peers, and part the rows by their scores."""
        settings = self.spec.settings
        peers = self.spec.trained_by(ConflictScores, int(settings["epochs"]))
        assert isinstance(peers, ConflictScores)
        self.score.copy_(peers.score())
        self.conflicting.copy_(self.score >= settings["threshold"])
        n, n_all = int(self.conflicting.sum()), len(self.score)
        alike = "" if 0 < n < n_all else ", so that all weigh alike"
        train = self.spec.data.train
        known = scored(self.score.cpu().numpy(), train.y, self.spec.domains(train)[0])
        return f"ecs_ga: {n} of {n_all} training rows are held to conflict with the bias{alike}{known}"

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The weighted mean of the losses, by weights whose mean over all training rows is 1."""
        losses = sample_losses(output["logits"], batch.y)
        with torch.no_grad():
            weight = self._weight(batch, losses.detach())
        return (weight.to(losses.dtype) * losses).mean()

    def _weight(self, batch: Batch, losses: Tensor) -> Tensor:
        rows, conflicting = batch.index, self.conflicting
        size = -torch.expm1(-losses.to(self.gradient.dtype))
        # a step that is skipped must leave no trace
        self.gradient[rows] = torch.where(torch.isfinite(size), size, self.gradient[rows])
        n = int(conflicting.sum())
        if n in (0, len(conflicting)):
            return torch.ones_like(size)
        tiny = torch.finfo(size.dtype).tiny
        others = self.spec.settings["gamma"] * self.gradient[~conflicting].sum().clamp_min(tiny)
        of_others = self.gradient[conflicting].sum() / others
        mean = (n + of_others * (len(conflicting) - n)) / len(conflicting)
        return torch.where(conflicting[rows], 1.0, of_others) / mean


class ConflictScores(Method):
    """Two peers that follow what is easy, and how sure they are of each row, from epoch to epoch.

    A row counts for both where both find it easy: the probability of its true class is more than η times the largest
    of that class in the batch (peer picking). From the second epoch on, a row that one peer finds easy and the other
    does not counts −.0001 for the former. A row's score is 1 − the mean of that probability over both peers and all
    epochs (epoch ensemble). It is taken from the very steps, before each of them, where the paper reads all rows once
    more after every epoch.

    References: see `GradientAlignment`.
    """

    total: Tensor
    seen: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        n = len(spec.data.train)
        self.network = spec.new_model()
        self.register_buffer("total", torch.zeros(n))
        self.register_buffer("seen", torch.zeros(n, dtype=torch.int64))

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The sum of what the two peers minimise; they share no parameter."""
        x, (_, network) = batch.x, self.models
        if x.is_floating_point():
            x = x.to(next(network.head.parameters()).dtype)
        scores = (output["logits"], self.spec.gather(network(x)["logits"], len(batch)))
        losses = [sample_losses(one, batch.y) for one in scores]
        with torch.no_grad():
            p = torch.stack([one.detach().neg().exp() for one in losses]).to(self.total.dtype)
            weights = self._picked(batch, p)
            finite = torch.isfinite(p).all(dim=0)
            self.total[batch.index] += torch.where(finite, p.mean(dim=0), 0)
            self.seen[batch.index] += finite
        return sum((w.to(one.dtype) * one).mean() for w, one in zip(weights, losses, strict=True))

    def _picked(self, batch: Batch, p: Tensor) -> Tensor:
        """What the rows of a batch count for either peer (2, n), by the probability of their class under both."""
        n_classes = len(self.spec.data.class_names)
        largest = p.new_zeros(2, n_classes).scatter_reduce(1, batch.y.expand(2, -1), p, "amax")
        easy = p > self.spec.settings["confidence"] * largest[:, batch.y]
        unlearn = easy & ~easy.flip(0) & (self.seen[batch.index] > 0)
        return easy.all(dim=0).to(p.dtype) - _UNLEARN * unlearn

    @property
    def models(self) -> tuple[TaskModel, TaskModel]:
        """The two peers."""
        assert self.network is not None, "made in __init__"
        return self.spec.model, self.network

    def score(self) -> Tensor:
        """1 − the mean probability of the true class (n,): near 1 where the peers never learned a row."""
        return 1 - (self.total / self.seen.clamp_min(1)).float().cpu()
