"""MINE: the Donsker–Varadhan bound with a statistics network that learns by gradient steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import StatisticsNetwork
from mibias_cli.estimators.measures.bounds import donsker_varadhan, mine_surrogate
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import permutation, permutation_within, target_classes, with_target

__all__ = ["Mine"]


class Mine(BaseEstimator):
    """The paper's estimator: a critic T(z, c) under the Donsker–Varadhan bound, for any kind of attribute.

    Pairs of the product of marginals are made by shuffling c within the batch. All channels enter one critic, so the
    value bounds I(z; c) of the attribute as a whole. With sample weights w the joint is weighted by w and a shuffled
    pair (z_i, c_j) by w_i · w_j, the product of the weighted marginals.

    Given the target the value bounds I(z; c | y): the critic sees one-hot targets beside z, and c is shuffled among
    rows of the same target class, whose pairs weigh w_i · w_j over the class's mean weight.

    Random draws, in order: in `fit`, per step, one permutation of the known rows whose first `batch_size` are the
    minibatch (none where the minibatch is the whole sample), then one permutation of the minibatch that shuffles c; in
    `penalty` and `estimate`, one permutation.

    A critic of one's own is called as critic(z, c_encoded) → scores (n,).

    References: Belghazi et al., MINE, arXiv 1801.04062, Algorithm 1; Ragonesi et al., arXiv 2003.06430, where the
    extractor descends what the critic ascends.
    """

    log_average: Tensor

    def __init__(self, spec: EstimatorSpec, critic: nn.Module | None = None) -> None:
        super().__init__(spec, critic or StatisticsNetwork(spec.n_inputs, spec.c_width, spec.hidden))
        # log of the moving average of E[exp T]; there is none before the first step
        self.register_buffer("log_average", torch.full_like(self.like, -math.inf))

    def batches(self, rows: Sample, generator: Generator) -> Iterator[Sample]:
        """Each minibatch is drawn afresh, as in the paper's Algorithm 1, not from passes over the sample."""
        size, n = self.spec.batch_size or len(rows), len(rows)
        for _ in range(self.steps):
            yield rows if size >= n else rows.take(permutation(n, generator, rows.z.device)[:size])

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        decay = self.spec.moving_average
        joint, marginal, marginal_weight = self._scores(rows, generator)
        if decay is None:
            return -donsker_varadhan(joint, marginal, rows.weight, marginal_weight)
        surrogate, self.log_average = mine_surrogate(
            joint, marginal, self.log_average, decay, rows.weight, marginal_weight
        )
        return -surrogate

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        joint, marginal, marginal_weight = self._scores(rows, generator)
        return [donsker_varadhan(joint, marginal, rows.weight, marginal_weight)]

    def _scores(self, rows: Sample, generator: Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of the pairs as they occur and shuffled, in one pass of the critic, and the weights of the latter."""
        n, c = len(rows), self.encoded(rows.c)
        seen, weight = with_target(rows, self.n_targets), rows.weight
        if self.n_targets is None:
            order = permutation(n, generator, seen.device)
        else:
            # p(z | y) p(c | y): partners come from the same target class
            order = permutation_within(target_classes(rows), generator)
        scores = self.critic(torch.cat([seen, seen]), torch.cat([c, c[order]])).reshape(-1)
        if weight is None:
            return scores[:n], scores[n:], None
        paired = weight * weight[order]
        if self.n_targets is not None:
            # over the class's mean weight, so that a class counts with its weight and not with the square of it
            given = functional.one_hot(target_classes(rows), self.n_targets).to(weight.dtype)
            paired = paired / (given @ ((weight @ given) / given.sum(dim=0).clamp_min(1)))
        return scores[:n], scores[n:], paired
