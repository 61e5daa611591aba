"""vCLUB: an upper bound on mutual information by a variational model q(c | z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import attribute_classes, perceptron
from mibias_cli.estimators.measures.bounds import weighted_mean
from mibias_cli.estimators.measures.predictive import cross_entropy
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import group_means, target_classes, with_target

__all__ = ["Club", "GaussianModel", "club_of_classes", "club_of_values"]

# Standardised values cannot need a deviation outside e^(±3/2): beyond it a log-likelihood explodes.
_LOG_VARIANCE = 3.0


def club_of_classes(
    log_q: Tensor, c: Tensor, weight: Tensor | None = None, group: Tensor | None = None, n_groups: int = 1
) -> Tensor:
    """E_joint[log q(c | z)] − E_marginals[log q(c | z)] over all pairs of a batch, for classes.

    At least I(z; c) where q is the true p(c | z), and otherwise only if it is near enough to it.

    log_q (n, K) is in nats; with a group (n,) samples are compared within groups alone, for I(z; c | group).

    References:
        Cheng et al., arXiv 2006.12013, Section 3.1, with p(c | z) of the model in place of the truth (Section 3.2).

    Example:
        >>> c = torch.tensor([0, 1])
        >>> round(club_of_classes(torch.log_softmax(2 * torch.eye(2), dim=1), c).item(), 4)
        1.0
    """
    one_hot = functional.one_hot(c, log_q.shape[1]).to(log_q.dtype)
    # log q(c_i | z_i) less its mean over all c_j: the second is a product with the frequencies of the classes
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
    # E_c'[(c' − mean)²] − (c − mean)²: normalising constants cancel between joint and marginals
    gaps = (mean - centre) ** 2 + spread - (c - mean) ** 2
    halves = 0.5 * gaps * (-log_variance).exp()
    return halves.mean(dim=0) if weight is None else (weight @ halves) / weight.sum()


class GaussianModel(nn.Module):
    """q(c | z) for values: a mean and a bounded log-variance per channel, from one MLP."""

    def __init__(self, n_features: int, n_channels: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.layers = perceptron(n_features, hidden, 2 * n_channels)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (n, channels) of z (n, d), the latter within ±3."""
        mean, log_variance = self.layers(z).chunk(2, dim=1)
        return mean, _LOG_VARIANCE * torch.tanh(log_variance / _LOG_VARIANCE)


class Club(BaseEstimator):
    """vCLUB with attribute heads (classes) or a Gaussian model (values) as q(c | z), refitted several times a step.

    The one upper bound here: what is pushed down lies above the information, while q is accurate. Where q lags it is no
    bound, and it can be negative. Channels are modelled one by one; values are standardised by the first fit.

    References: Cheng et al., CLUB, arXiv 2006.12013: the variational bound of Section 3.2.
    """

    direction = "upper"

    def __init__(self, spec: EstimatorSpec) -> None:
        values = spec.value_classes is None
        n_channels = len(spec.n_classes)
        model = GaussianModel(spec.n_inputs, n_channels, spec.hidden) if values else spec.make_heads(spec.n_inputs)
        super().__init__(spec, model)

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        """Negative log-likelihood of q, summed over channels."""
        q = self.critic(with_target(rows, self.n_targets))
        if self.spec.value_classes is not None:
            classes = attribute_classes(rows.c, None)
            return torch.stack([cross_entropy(one, classes[:, k], rows.weight) for k, one in enumerate(q)]).sum()
        mean, log_variance = q
        # the Gaussian's constant ½ log 2π moves nothing
        square = (self.encoded(rows.c) - mean) ** 2 * (-log_variance).exp()
        losses = 0.5 * (square + log_variance).sum(dim=1)
        return losses.mean() if rows.weight is None else (rows.weight @ losses) / rows.weight.sum()

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        q = self.critic(with_target(rows, self.n_targets))
        n_groups = self.n_targets or 1
        # given y, a row is set against the others of its target class
        group = None if self.n_targets is None else target_classes(rows)
        if self.spec.value_classes is None:
            mean, log_variance = q
            return list(club_of_values(mean, log_variance, self.encoded(rows.c), rows.weight, group, n_groups))
        classes = attribute_classes(rows.c, None)
        log_q = [torch.log_softmax(logits, dim=1) for logits in q]
        return [club_of_classes(one, classes[:, k], rows.weight, group, n_groups) for k, one in enumerate(log_q)]
