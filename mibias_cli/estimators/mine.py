"""MINE: the Donsker–Varadhan bound with a statistics network that learns by gradient steps."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from mibias_cli.estimators.bounds import donsker_varadhan, mine_surrogate
from mibias_cli.estimators.critics import StatisticsNetwork, attribute_width, encode_attribute
from mibias_cli.estimators.parameters import (
    OptimizerName,
    full_precision,
    held_fixed,
    make_optimizer,
    module_dtype,
    move,
)
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import known_rows, no_penalty, permutation

__all__ = ["Mine", "from_spec"]


class Mine:
    """The paper's estimator: a critic T(z, c) under the Donsker–Varadhan bound, for any kind of attribute.

    Pairs of the product of marginals are made by shuffling c within the batch. All channels enter one critic, so the
    value bounds I(z; c) of the attribute as a whole. With sample weights w the joint is weighted by w and a shuffled
    pair (z_i, c_j) by w_i · w_j, the product of the weighted marginals.

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

    References:
        arXiv 1801.04062, arXiv 2003.06430.
    """

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
    ) -> None:
        self.critic = critic
        self.n_classes = n_classes
        self.learning_rate = learning_rate
        self.optimizer_name: OptimizerName = optimizer
        self.steps = steps
        self.batch_size = batch_size
        self.moving_average = moving_average
        self.optimizer = make_optimizer(optimizer, critic, learning_rate, beta1)
        device = next(critic.parameters()).device
        self._log_average = torch.tensor(-math.inf, dtype=module_dtype(critic), device=device)
        self._c_mean: Tensor | None = None
        self._c_scale: Tensor | None = None

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` optimizer steps on this sample; z is detached, and fewer than two known rows change nothing."""
        rows = known_rows(sample, module_dtype(self.critic))
        if len(rows) < 2:
            return
        self._see(rows.c)
        z, c = rows.z.detach(), self._encode(rows.c)
        with torch.enable_grad(), full_precision(z.device):
            for _ in range(self.steps):
                if self.batch_size is None or self.batch_size >= len(rows):
                    self._step(z, c, rows.weight, generator)
                    continue
                drawn = permutation(len(rows), generator, z.device)[: self.batch_size]
                self._step(z[drawn], c[drawn], None if rows.weight is None else rows.weight[drawn], generator)

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """The Donsker–Varadhan estimate in nats with the critic held fixed, differentiable in sample.z."""
        rows = known_rows(sample, module_dtype(self.critic))
        if len(rows) < 2:
            return no_penalty(sample.z)
        with held_fixed(self.critic), full_precision(rows.z.device):
            return self._bound(rows, generator)

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The Donsker–Varadhan estimate in nats; nan where fewer than two rows are known."""
        rows = known_rows(sample, module_dtype(self.critic))
        if len(rows) < 2:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return float(self._bound(rows, generator))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Mine:
        """Move critic, optimizer state and statistics; returns itself."""
        self.optimizer = move(self.critic, self.optimizer, self.optimizer_name, self.learning_rate, device, dtype)
        self._log_average = self._log_average.to(device=device, dtype=dtype)
        if self._c_mean is not None and self._c_scale is not None:
            self._c_mean = self._c_mean.to(device=device, dtype=dtype)
            self._c_scale = self._c_scale.to(device=device, dtype=dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of critic, optimizer state, moving average and the statistics of a continuous attribute."""
        return copy.deepcopy(
            {
                "critic": self.critic.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "log_average": self._log_average,
                "c_mean": self._c_mean,
                "c_scale": self._c_scale,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, onto the device and floating type that this estimator has now."""
        state = copy.deepcopy(state)
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        like = self._log_average
        self._log_average = state["log_average"].to(like)
        self._c_mean = None if state["c_mean"] is None else state["c_mean"].to(like)
        self._c_scale = None if state["c_scale"] is None else state["c_scale"].to(like)

    def _step(self, z: Tensor, c: Tensor, weight: Tensor | None, generator: Generator) -> None:
        joint, marginal, marginal_weight = self._scores(z, c, weight, generator)
        if self.moving_average is None:
            objective = donsker_varadhan(joint, marginal, weight, marginal_weight)
        else:
            objective, self._log_average = mine_surrogate(
                joint, marginal, self._log_average, self.moving_average, weight, marginal_weight
            )
        self.optimizer.zero_grad(set_to_none=True)
        (-objective).backward()
        self.optimizer.step()

    def _bound(self, rows: Sample, generator: Generator) -> Tensor:
        joint, marginal, marginal_weight = self._scores(rows.z, self._encode(rows.c), rows.weight, generator)
        return donsker_varadhan(joint, marginal, rows.weight, marginal_weight)

    def _scores(
        self, z: Tensor, c: Tensor, weight: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of the pairs as they occur and shuffled, in one pass of the critic, and the weights of the latter."""
        n = z.shape[0]
        order = permutation(n, generator, z.device)
        scores = self.critic(torch.cat([z, z]), torch.cat([c, c[order]])).reshape(-1)
        return scores[:n], scores[n:], None if weight is None else weight * weight[order]

    def _see(self, c: Tensor) -> None:
        """Keep the first fit's mean and deviation of a continuous attribute, so that its encoding never moves."""
        if self.n_classes is not None or self._c_mean is not None:
            return
        values = c.to(self._log_average.dtype)
        deviation = values.std(dim=0, unbiased=False)
        self._c_mean = values.mean(dim=0)
        self._c_scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def _encode(self, c: Tensor) -> Tensor:
        encoded = encode_attribute(c, self.n_classes, self._log_average.dtype)
        if self._c_mean is None or self._c_scale is None:
            return encoded
        return (encoded - self._c_mean) / self._c_scale


def from_spec(spec: EstimatorSpec) -> Mine:
    """MINE with a fresh statistics network, as a recipe asks for it."""
    n_classes = None if spec.bin_edges is not None else spec.n_classes
    width = attribute_width(n_classes, len(spec.n_classes))
    return Mine(
        StatisticsNetwork(spec.n_features, width, spec.hidden),
        n_classes=n_classes,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
        moving_average=spec.moving_average,
    )
