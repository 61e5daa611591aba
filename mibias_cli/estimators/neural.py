"""Neural bounds: one critic of pairs (z, c), under the bound of one's choice on all pairs of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.critics import (
    AttributeEncoder,
    Critic,
    DualCritic,
    SeparableCritic,
    StatisticsNetwork,
    attribute_width,
)
from mibias_cli.estimators.measures import bounds
from mibias_cli.estimators.parameters import Learner, OptimizerName, full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import (
    comparable_rows,
    minibatches,
    no_penalty,
    permutation,
    target_classes,
    with_target,
)

__all__ = ["Bound", "Neural", "dv", "flo", "infonce", "js", "nwj", "score_matrix", "smile"]

# All pairs of so many rows are scored at a time; longer samples are cut into blocks at random.
_BLOCK = 512
# So many classes of one channel are few.
_FEW = 32


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bound on a score matrix, as `bounds` has them.

    Args:
        value: (scores, weight=, group=) → nats; with `dual` (scores, u, weight=, group=).
        objective: What the critic is trained on where that is not the value itself.
        dual: Whether the bound has a second critic.
        limit: Scores are bent smoothly into (−limit, limit), for bounds that exponentiate without a logarithm after it.
            A critic of bounded range is a critic too, so that the bound holds; None: as they are.
    """

    value: Callable[..., Tensor]
    objective: Callable[..., Tensor] | None = None
    dual: bool = False
    limit: float | None = None


class Neural:
    """A critic T(z, c) that learns by steps, under a bound on all pairs of a minibatch.

    All channels enter one critic, so the value bounds I(z; c) of the attribute as a whole. Sample weights weigh the
    joint pairs, and the product of the weighted marginals its pairs. With `n_targets` the critic sees one-hot targets
    beside z and only pairs of one target class are compared, which bounds I(z; c | y).

    Args:
        critic: Has matrix(z, c_encoded) → scores (n, m); `DualCritic` where the bound has a second critic.
        bound: Which bound.
        n_classes: Classes per channel; None: continuous, standardised by the first fit.
        n_targets: Target classes to condition on; None: the marginal I(z; c).
        learning_rate, optimizer, beta1: Of the critic.
        steps: Optimizer steps per fit, K.
        batch_size: Rows per step; None: the whole sample. At most 512.

    References:
        arXiv 1905.06922.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(
        self,
        critic: Critic,
        bound: Bound,
        *,
        n_classes: tuple[int, ...] | None,
        n_targets: int | None = None,
        learning_rate: float = 2e-3,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 15,
        batch_size: int | None = None,
    ) -> None:
        self.critic = critic
        self.bound = bound
        self.n_targets = n_targets
        self.steps = steps
        self.batch_size = batch_size
        self._learner = Learner(critic, learning_rate=learning_rate, optimizer=optimizer, beta1=beta1)
        self._encode = AttributeEncoder(n_classes)

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` optimizer steps; z is detached, and rows that cannot be compared change nothing."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return
        self._encode.see(rows.c, rows.z.dtype)
        objective = self.bound.objective or self.bound.value
        size = min(self.batch_size or _BLOCK, _BLOCK)
        with torch.enable_grad(), full_precision(rows.z.device):
            for part in minibatches(rows, size, self.steps, generator):
                part = comparable_rows(part, part.z.dtype, self.n_targets)
                if len(part) >= 2:
                    self._learner.descend(-self._apply(objective, part))

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """The bound in nats with the critic held fixed, differentiable in sample.z."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return no_penalty(sample.z)
        with held_fixed(self.critic), full_precision(rows.z.device):
            return self._value(rows, generator, sample.z)

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The bound in nats; nan where fewer than two rows can be compared."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return float(self._value(rows, generator, sample.z))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Neural:
        """Move critic, optimizer state and statistics; returns itself."""
        self._learner.to(device, dtype)
        self._encode.to(device, dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of critic, optimizer state and the statistics of a continuous attribute."""
        return {"critic": self._learner.state_dict(), "c_statistics": self._encode.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._learner.load_state_dict(state["critic"])
        self._encode.load_state_dict(state["c_statistics"], next(self.critic.parameters()))

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self._learner.dtype, self.n_targets)

    def _value(self, rows: Sample, generator: Generator, z: Tensor) -> Tensor:
        """The bound, averaged over blocks by their weight where the sample is long."""
        if len(rows) <= _BLOCK:
            return self._apply(self.bound.value, rows)
        total, summed = 0.0, no_penalty(z)
        order = permutation(len(rows), generator, rows.z.device)
        for chosen in torch.tensor_split(order, -(-len(rows) // _BLOCK)):
            part = comparable_rows(rows.take(chosen), rows.z.dtype, self.n_targets)
            if len(part) >= 2:
                share = float(len(part)) if part.weight is None else float(part.weight.sum())
                summed, total = summed + share * self._apply(self.bound.value, part), total + share
        return summed / (total or 1.0)

    def _apply(self, function: Callable[..., Tensor], rows: Sample) -> Tensor:
        seen, c = with_target(rows, self.n_targets), self._encode(rows.c, rows.z.dtype)
        scores = score_matrix(self.critic, seen, c)
        if self.bound.limit is not None:
            scores = self.bound.limit * torch.tanh(scores / self.bound.limit)
        group = None if self.n_targets is None else target_classes(rows)
        if not self.bound.dual:
            return function(scores, weight=rows.weight, group=group)
        assert isinstance(self.critic, DualCritic), "a bound with two critics has a critic of two parts"
        dual: Tensor = self.critic.dual(seen, c)
        if self.bound.limit is not None:
            dual = self.bound.limit * torch.tanh(dual / self.bound.limit)
        return function(scores, dual, weight=rows.weight, group=group)


def score_matrix(critic: Critic, z: Tensor, c_encoded: Tensor) -> Tensor:
    """Scores (n, n) of all pairs of z (n, d) and c_encoded (n, c_width), the joint ones on the diagonal.

    Every distinct c is scored once, so that an attribute of K classes costs n × K passes of a concatenated critic.
    """
    distinct, index = torch.unique(c_encoded, dim=0, return_inverse=True)
    return critic.matrix(z, distinct)[:, index]


def _neural(spec: EstimatorSpec, bound: Bound) -> Neural:
    n_classes = None if spec.bin_edges is not None else spec.n_classes
    width = attribute_width(n_classes, len(spec.n_classes))
    n_inputs = spec.n_features + (spec.targets_seen or 0)
    # a concatenated critic costs a pass per distinct c: hundreds where c has several channels or values
    concatenated = spec.architecture == "concatenated" or (
        spec.architecture == "auto" and n_classes is not None and len(n_classes) == 1 and n_classes[0] <= _FEW
    )
    kind = StatisticsNetwork if concatenated else SeparableCritic
    critic: Critic = kind(n_inputs, width, spec.hidden)
    if bound.dual:
        critic = DualCritic(critic, StatisticsNetwork(n_inputs, width, spec.hidden))
    return Neural(
        critic,
        bound,
        n_classes=n_classes,
        n_targets=spec.targets_seen,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
    )


def dv(spec: EstimatorSpec) -> Neural:
    """Donsker–Varadhan on all pairs of a batch; the value is biased upwards by the logarithm of a batch mean."""
    return _neural(spec, Bound(value=bounds.dv))


def nwj(spec: EstimatorSpec) -> Neural:
    """Nguyen–Wainwright–Jordan: no logarithm and no bias of it, more variance."""
    return _neural(spec, Bound(value=bounds.nwj, limit=20.0))


def js(spec: EstimatorSpec) -> Neural:
    """A critic trained on the Jensen–Shannon objective, which is steady, read out by the matching NWJ value."""
    return _neural(spec, Bound(value=bounds.js, objective=bounds.js_objective, limit=20.0))


def infonce(spec: EstimatorSpec) -> Neural:
    """InfoNCE: least variance; it cannot exceed the log of the batch."""
    return _neural(spec, Bound(value=bounds.infonce))


def smile(spec: EstimatorSpec) -> Neural:
    """SMILE: Jensen–Shannon training, DV value with its exponentials clipped at τ."""
    return _neural(spec, Bound(value=partial(bounds.smile, tau=spec.tau), objective=bounds.js_objective))


def flo(spec: EstimatorSpec) -> Neural:
    """Fenchel–Legendre: a second critic takes the place of DV's logarithm; tight, of low variance."""
    return _neural(spec, Bound(value=bounds.flo, dual=True, limit=20.0))
