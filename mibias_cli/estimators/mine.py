"""MINE: the Donsker–Varadhan bound with a statistics network that learns by gradient steps."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.critics import AttributeEncoder, StatisticsNetwork, attribute_width
from mibias_cli.estimators.measures.bounds import donsker_varadhan, mine_surrogate
from mibias_cli.estimators.parameters import (
    OptimizerName,
    full_precision,
    held_fixed,
    make_optimizer,
    module_dtype,
    move,
)
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import (
    comparable_rows,
    no_penalty,
    permutation,
    permutation_within,
    target_classes,
    with_target,
)

__all__ = ["Mine", "from_spec"]


class Mine:
    """The paper's estimator: a critic T(z, c) under the Donsker–Varadhan bound, for any kind of attribute.

    Pairs of the product of marginals are made by shuffling c within the batch. All channels enter one critic, so the
    value bounds I(z; c) of the attribute as a whole. With sample weights w the joint is weighted by w and a shuffled
    pair (z_i, c_j) by w_i · w_j, the product of the weighted marginals.

    With `n_targets` the value bounds I(z; c | y): the critic sees one-hot targets beside z, and c is shuffled among
    rows of the same target class, whose pairs weigh w_i · w_j over the class's mean weight.

    Random draws, in order: in `fit`, per step, one permutation of the known rows whose first `batch_size` are the
    minibatch (none where the minibatch is the whole sample), then one permutation of the minibatch that shuffles c; in
    `penalty` and `estimate`, one permutation.

    Args:
        critic: Called as critic(z, c_encoded) → scores (n,), see `StatisticsNetwork`.
        n_classes: Classes per channel; None: continuous, standardised by the mean and deviation of the first fit.
        learning_rate: Learning rate of the critic.
        optimizer: adam or sgd.
        beta1: Adam's decay of the mean gradient; below 0.9 where the critic chases moving features.
        steps: Optimizer steps per fit, the paper's K.
        batch_size: Rows per step, drawn without replacement; None: the whole sample.
        moving_average: Decay of MINE's correction of the gradient's denominator; None: the plain bound's gradient.
        n_targets: Target classes to condition on; None: the marginal I(z; c).

    References:
        arXiv 1801.04062, arXiv 2003.06430.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(
        self,
        critic: nn.Module,
        *,
        n_classes: tuple[int, ...] | None,
        learning_rate: float = 1e-4,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 40,
        batch_size: int | None = None,
        moving_average: float | None = None,
        n_targets: int | None = None,
    ) -> None:
        self.critic = critic
        self.n_classes = n_classes
        self.learning_rate = learning_rate
        self.optimizer_name: OptimizerName = optimizer
        self.steps = steps
        self.batch_size = batch_size
        self.moving_average = moving_average
        self.n_targets = n_targets
        self.optimizer = make_optimizer(optimizer, critic, learning_rate, beta1)
        device = next(critic.parameters()).device
        self._log_average = torch.tensor(-math.inf, dtype=module_dtype(critic), device=device)
        self._encode = AttributeEncoder(n_classes)

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` optimizer steps on this sample; z is detached, and fewer than two known rows change nothing."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return
        self._encode.see(rows.c, rows.z.dtype)
        rows = replace(rows, z=rows.z.detach())
        with torch.enable_grad(), full_precision(rows.z.device):
            for _ in range(self.steps):
                if self.batch_size is None or self.batch_size >= len(rows):
                    self._step(rows, generator)
                    continue
                self._step(rows.take(permutation(len(rows), generator, rows.z.device)[: self.batch_size]), generator)

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """The Donsker–Varadhan estimate in nats with the critic held fixed, differentiable in sample.z."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return no_penalty(sample.z)
        with held_fixed(self.critic), full_precision(rows.z.device):
            return self._bound(rows, generator)

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The Donsker–Varadhan estimate in nats; nan where fewer than two rows are known."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return float(self._bound(rows, generator))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Mine:
        """Move critic, optimizer state and statistics; returns itself."""
        self.optimizer = move(self.critic, self.optimizer, self.optimizer_name, self.learning_rate, device, dtype)
        self._log_average = self._log_average.to(device=device, dtype=dtype)
        self._encode.to(device, dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of critic, optimizer state, moving average and the statistics of a continuous attribute."""
        return copy.deepcopy(
            {
                "critic": self.critic.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "log_average": self._log_average,
                "c_statistics": self._encode.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, onto the device and floating type that this estimator has now."""
        state = copy.deepcopy(state)
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._log_average = state["log_average"].to(self._log_average)
        self._encode.load_state_dict(state["c_statistics"], self._log_average)

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, module_dtype(self.critic), self.n_targets)

    def _step(self, rows: Sample, generator: Generator) -> None:
        joint, marginal, marginal_weight = self._scores(rows, generator)
        if self.moving_average is None:
            objective = donsker_varadhan(joint, marginal, rows.weight, marginal_weight)
        else:
            objective, self._log_average = mine_surrogate(
                joint, marginal, self._log_average, self.moving_average, rows.weight, marginal_weight
            )
        self.optimizer.zero_grad(set_to_none=True)
        (-objective).backward()
        self.optimizer.step()

    def _bound(self, rows: Sample, generator: Generator) -> Tensor:
        joint, marginal, marginal_weight = self._scores(rows, generator)
        return donsker_varadhan(joint, marginal, rows.weight, marginal_weight)

    def _scores(self, rows: Sample, generator: Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of the pairs as they occur and shuffled, in one pass of the critic, and the weights of the latter."""
        n, c = len(rows), self._encode(rows.c, rows.z.dtype)
        seen, weight = with_target(rows, self.n_targets), rows.weight
        if self.n_targets is None:
            order = permutation(n, generator, seen.device)
        else:
            order = permutation_within(target_classes(rows), generator)
        scores = self.critic(torch.cat([seen, seen]), torch.cat([c, c[order]])).reshape(-1)
        if weight is None:
            return scores[:n], scores[n:], None
        paired = weight * weight[order]
        if self.n_targets is not None:
            given = functional.one_hot(target_classes(rows), self.n_targets).to(weight.dtype)
            paired = paired / (given @ ((weight @ given) / given.sum(dim=0).clamp_min(1)))
        return scores[:n], scores[n:], paired


def from_spec(spec: EstimatorSpec) -> Mine:
    """MINE with a fresh statistics network, as a recipe asks for it."""
    n_classes = None if spec.bin_edges is not None else spec.n_classes
    width = attribute_width(n_classes, len(spec.n_classes))
    return Mine(
        StatisticsNetwork(spec.n_features + (spec.targets_seen or 0), width, spec.hidden),
        n_classes=n_classes,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
        moving_average=spec.moving_average,
        n_targets=spec.targets_seen,
    )
