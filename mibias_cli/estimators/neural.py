"""Neural bounds: one critic of pairs (z, c), under the bound of one's choice on all pairs of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import Critic, DualCritic, SeparableCritic, StatisticsNetwork
from mibias_cli.estimators.measures import bounds
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import mean_over_parts, no_penalty, target_classes, with_target

__all__ = ["Bound", "Neural", "dv", "flo", "infonce", "js", "nwj", "score_matrix", "smile"]

# So many classes of one channel are few.
_FEW = 32


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bound on a score matrix, as `bounds` has them.

    Args:
        value: (scores, weight=, group=) → nats; with `dual` (scores, u, weight=, group=).
        objective: What the critic is trained on where that is not the value itself.
        limit: Scores are bent smoothly into (−limit, limit), for bounds that exponentiate without a logarithm after it.
            A critic of bounded range is a critic too, so that the bound holds; None: as they are.
    """

    value: Callable[..., Tensor]
    objective: Callable[..., Tensor] | None = None
    dual: bool = False
    limit: float | None = None


class Neural(BaseEstimator):
    """A critic T(z, c) that learns by steps, under a bound on all pairs of a minibatch.

    All channels enter one critic, so the value bounds I(z; c) of the attribute as a whole. Sample weights weigh the
    joint pairs, and the product of the weighted marginals its pairs. Given the target the critic sees one-hot targets
    beside z and only pairs of one target class are compared, which bounds I(z; c | y). A minibatch has 512 rows at
    most; a longer sample is measured in random blocks.

    References: Poole et al., On variational bounds of mutual information, arXiv 1905.06922.
    """

    block = 512
    critic: Critic

    def __init__(self, spec: EstimatorSpec, bound: Bound) -> None:
        classes = spec.value_classes
        # a concatenated critic costs a pass per distinct c: hundreds where c has several channels or values
        concatenated = spec.architecture == "concatenated" or (
            spec.architecture == "auto" and classes is not None and len(classes) == 1 and classes[0] <= _FEW
        )
        kind = StatisticsNetwork if concatenated else SeparableCritic
        critic: Critic = kind(spec.n_inputs, spec.c_width, spec.hidden)
        if bound.dual:
            critic = DualCritic(critic, StatisticsNetwork(spec.n_inputs, spec.c_width, spec.hidden))
        super().__init__(spec, critic)
        self.bound = bound

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        return -self._apply_bound(self.bound.objective or self.bound.value, rows)

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        def measure(part: Sample) -> list[Tensor]:
            return [self._apply_bound(self.bound.value, part)]

        if len(rows) <= self.block:
            return measure(rows)
        parts = self.parts(rows, generator)
        shares = [float(len(part)) if part.weight is None else float(part.weight.sum()) for part in parts]
        return mean_over_parts(parts, shares, measure) or [no_penalty(rows.z)]

    def _apply_bound(self, function: Callable[..., Tensor], rows: Sample) -> Tensor:
        """A function of scores at the scores of all pairs of these rows."""
        seen, c, limit = with_target(rows, self.n_targets), self.encoded(rows.c), self.bound.limit
        scores = [score_matrix(self.critic, seen, c)]
        if self.bound.dual:
            assert isinstance(self.critic, DualCritic), "a bound with two critics has a critic of two parts"
            scores.append(self.critic.dual(seen, c))
        # NWJ and FLO exponentiate without a logarithm after it: a score of 50 would be the whole mean
        if limit is not None:
            scores = [limit * torch.tanh(one / limit) for one in scores]
        group = None if self.n_targets is None else target_classes(rows)
        return function(*scores, weight=rows.weight, group=group)


def score_matrix(critic: Critic, z: Tensor, c_encoded: Tensor) -> Tensor:
    """Scores (n, n) of all pairs of z (n, d) and c_encoded (n, c_width), the joint ones on the diagonal.

    Every distinct c is scored once, so that an attribute of K classes costs n × K passes of a concatenated critic.
    """
    # a score depends on c's value alone: columns of equal c are copies
    distinct, index = torch.unique(c_encoded, dim=0, return_inverse=True)
    return critic.matrix(z, distinct)[:, index]


def smile(spec: EstimatorSpec) -> Neural:
    """SMILE: Jensen–Shannon training, DV value with its exponentials clipped at τ."""
    return Neural(spec, Bound(value=partial(bounds.smile, tau=spec.tau), objective=bounds.js_objective))


dv = partial(Neural, bound=Bound(value=bounds.dv))
"""Donsker–Varadhan on all pairs of a batch; the value is biased upwards by the logarithm of a batch mean."""
nwj = partial(Neural, bound=Bound(value=bounds.nwj, limit=20.0))
"""Nguyen–Wainwright–Jordan: no logarithm and no bias of it, more variance."""
js = partial(Neural, bound=Bound(value=bounds.js, objective=bounds.js_objective, limit=20.0))
"""A critic trained on the Jensen–Shannon objective, which is steady, read out by the matching NWJ value."""
infonce = partial(Neural, bound=Bound(value=bounds.infonce))
"""InfoNCE: least variance; it cannot exceed the log of the batch."""
flo = partial(Neural, bound=Bound(value=bounds.flo, dual=True, limit=20.0))
"""Fenchel–Legendre: a second critic takes the place of DV's logarithm; tight, of low variance."""
