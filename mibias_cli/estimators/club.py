"""vCLUB: an upper bound on mutual information by a variational model q(c | z)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.critics import AttributeEncoder, attribute_classes, perceptron
from mibias_cli.estimators.measures.bounds import weighted_mean
from mibias_cli.estimators.measures.predictive import cross_entropy
from mibias_cli.estimators.parameters import Learner, OptimizerName, full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import (
    comparable_rows,
    group_means,
    minibatches,
    no_penalty,
    target_classes,
    with_target,
)

__all__ = ["Club", "GaussianModel", "club_of_classes", "club_of_values", "from_spec"]

# Standardised values cannot need a deviation outside e^(±3/2): beyond it a log-likelihood explodes.
_LOG_VARIANCE = 3.0


def club_of_classes(
    log_q: Tensor, c: Tensor, weight: Tensor | None = None, group: Tensor | None = None, n_groups: int = 1
) -> Tensor:
    """E_joint[log q(c | z)] − E_marginals[log q(c | z)] over all pairs of a batch, for classes.

    At least I(z; c) where q is the true p(c | z), and otherwise only if it is near enough to it.

    Args:
        log_q: Log-probabilities (n, K) in nats.
        c: Class indices (n,).
        weight: Sample weights (n,).
        group: Groups (n,) within which samples are compared, for I(z; c | group).
        n_groups: Number of groups.

    References:
        arXiv 2006.12013.

    Example:
        >>> c = torch.tensor([0, 1])
        >>> round(club_of_classes(torch.log_softmax(2 * torch.eye(2), dim=1), c).item(), 4)
        1.0
    """
    one_hot = functional.one_hot(c, log_q.shape[1]).to(log_q.dtype)
    frequencies = group_means(one_hot, weight, group, n_groups)
    return weighted_mean(((one_hot - frequencies) * log_q).sum(dim=1), weight)


def club_of_values(
    mean: Tensor,
    log_variance: Tensor,
    c: Tensor,
    weight: Tensor | None = None,
    group: Tensor | None = None,
    n_groups: int = 1,
) -> Tensor:
    """The same for values under a Gaussian q: mean, log-variance and values (n, t); (t,) nats, one per channel.

    The mean over all c' of a squared distance is that to their mean plus their variance, so that no pairs are formed.
    """
    centre = group_means(c, weight, group, n_groups)
    spread = group_means((c - centre) ** 2, weight, group, n_groups)
    gaps = (mean - centre) ** 2 + spread - (c - mean) ** 2
    halves = 0.5 * gaps * (-log_variance).exp()
    return halves.mean(dim=0) if weight is None else (weight @ halves) / weight.sum()


class GaussianModel(nn.Module):
    """q(c | z) for values: a mean and a bounded log-variance per channel, from one MLP.

    Args:
        n_features: Width of the input.
        n_channels: Channels of the attribute.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, n_features: int, n_channels: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.layers = perceptron(n_features, hidden, 2 * n_channels)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (n, channels) of z (n, d), the latter within ±3."""
        mean, log_variance = self.layers(z).chunk(2, dim=1)
        return mean, _LOG_VARIANCE * torch.tanh(log_variance / _LOG_VARIANCE)


class Club:
    """vCLUB with attribute heads (classes) or a Gaussian model (values) as q(c | z), refitted several times a step.

    The one upper bound here: what is pushed down lies above the information, while q is accurate. Where q lags it is no
    bound, and it can be negative. The penalty is summed over channels.

    Args:
        model: Heads z → list of logits (n, K), or a `GaussianModel`.
        n_classes: Classes per channel; None: values, standardised by the first fit.
        n_targets: Target classes to condition on (q sees them one-hot beside z); None: the marginal I(z; c).
        learning_rate, optimizer, beta1: Of the model.
        steps: Optimizer steps per fit.
        batch_size: Rows per step; None: the whole sample.

    References:
        Cheng et al., CLUB, arXiv 2006.12013.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "upper"

    def __init__(
        self,
        model: nn.Module,
        *,
        n_classes: tuple[int, ...] | None,
        n_targets: int | None = None,
        learning_rate: float = 2e-3,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 15,
        batch_size: int | None = None,
    ) -> None:
        self.critic = model
        self.n_classes = n_classes
        self.n_targets = n_targets
        self.steps = steps
        self.batch_size = batch_size
        self._learner = Learner(model, learning_rate=learning_rate, optimizer=optimizer, beta1=beta1)
        self._encode = AttributeEncoder(n_classes)

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Take `steps` steps of maximum likelihood; z is detached, and fewer than two known rows change nothing."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return
        self._encode.see(rows.c, rows.z.dtype)
        with torch.enable_grad(), full_precision(rows.z.device):
            for part in minibatches(rows, self.batch_size, self.steps, generator):
                self._learner.descend(self._loss(part))

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Sum over channels of the bound in nats with the model held fixed, differentiable in sample.z."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return no_penalty(sample.z)
        with held_fixed(self.critic), full_precision(rows.z.device):
            return torch.stack(self._bounds(rows)).sum()

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The largest channel's bound in nats; nan where fewer than two rows can be compared."""
        rows = self._rows(sample)
        if len(rows) < 2:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return max(float(bound) for bound in self._bounds(rows))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Club:
        """Move model, optimizer state and statistics; returns itself."""
        self._learner.to(device, dtype)
        self._encode.to(device, dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of model, optimizer state and the statistics of a continuous attribute."""
        return {"critic": self._learner.state_dict(), "c_statistics": self._encode.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._learner.load_state_dict(state["critic"])
        self._encode.load_state_dict(state["c_statistics"], next(self.critic.parameters()))

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self._learner.dtype, self.n_targets)

    def _loss(self, rows: Sample) -> Tensor:
        """Negative log-likelihood, summed over channels."""
        q = self.critic(with_target(rows, self.n_targets))
        if self.n_classes is not None:
            classes = attribute_classes(rows.c, None)
            return torch.stack([cross_entropy(one, classes[:, k], rows.weight) for k, one in enumerate(q)]).sum()
        mean, log_variance = q
        c = self._encode(rows.c, rows.z.dtype)
        square = (c - mean) ** 2 * (-log_variance).exp()
        losses = 0.5 * (square + log_variance).sum(dim=1)
        return losses.mean() if rows.weight is None else (rows.weight @ losses) / rows.weight.sum()

    def _bounds(self, rows: Sample) -> list[Tensor]:
        q = self.critic(with_target(rows, self.n_targets))
        n_groups = self.n_targets or 1
        group = None if self.n_targets is None else target_classes(rows)
        if self.n_classes is None:
            c = self._encode(rows.c, rows.z.dtype)
            mean, log_variance = q
            return list(club_of_values(mean, log_variance, c, rows.weight, group, n_groups))
        classes = attribute_classes(rows.c, None)
        log_q = [torch.log_softmax(logits, dim=1) for logits in q]
        return [club_of_classes(one, classes[:, k], rows.weight, group, n_groups) for k, one in enumerate(log_q)]


def from_spec(spec: EstimatorSpec) -> Club:
    """vCLUB as a recipe asks for it: heads for classes, a Gaussian model for a continuous attribute."""
    n_inputs = spec.n_features + (spec.targets_seen or 0)
    values = spec.bin_edges is not None
    model = GaussianModel(n_inputs, len(spec.n_classes), spec.hidden) if values else spec.make_heads(n_inputs)
    return Club(
        model,
        n_classes=None if values else spec.n_classes,
        n_targets=spec.targets_seen,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
    )
