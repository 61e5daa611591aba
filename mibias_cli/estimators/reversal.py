"""Learning Not to Learn: gradient reversal with an entropy term, as a baseline to compare with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.classifier import ClassifierBound, from_spec
from mibias_cli.estimators.measures.predictive import weighted_mean
from mibias_cli.estimators.parameters import full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import no_penalty

__all__ = ["GradientReversal", "lntl"]


class GradientReversal:
    """The reversed gradient of the attribute heads' cross-entropy, and the entropy of what they say (LNTL).

    The heads learn c by cross-entropy in `fit`; `penalty` is, summed over channels, the classifier bound
    H(c) − CE(c | z) plus `entropy_weight` times log K − H(q(c | z)). The entropies of c and of K classes are constant
    in z: the gradient is the reversed gradient of the cross-entropy, and that of the negative entropy of q. A named
    baseline: the classifier bound is the same without the second term.

    Args:
        bound: The heads, with their steps.
        entropy_weight: Weight of the entropy term; the authors' code has 0.01 beside a reversal of 0.1.

    References:
        Kim et al., Learning Not to Learn, arXiv 1812.10352; Ganin and Lempitsky, arXiv 1409.7495.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(self, bound: ClassifierBound, *, entropy_weight: float = 0.1) -> None:
        self.bound = bound
        self.head = bound.head
        self.entropy_weight = entropy_weight

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Let the heads learn c on this sample."""
        self.bound.fit(sample, generator)

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """What the extractor descends, in nats with the heads held fixed, differentiable in sample.z."""
        rows = self.bound.rows(sample)
        if len(rows) == 0:
            return no_penalty(sample.z)
        with held_fixed(self.head), full_precision(rows.z.device):
            certainty = torch.stack([_certainty(logits, rows.weight) for logits in self.bound.logits(rows)]).sum()
        return self.bound.penalty(sample, generator) + self.entropy_weight * certainty

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The classifier bound of the heads in nats; nan where no row is known."""
        return self.bound.estimate(sample, generator)

    def accuracy(self, sample: Sample) -> float:
        """Share of known rows whose class the heads name."""
        return self.bound.accuracy(sample)

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> GradientReversal:
        """Move heads and optimizer state; returns itself."""
        self.bound.to(device, dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of heads and optimizer state."""
        return self.bound.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.bound.load_state_dict(state)


def _certainty(logits: Tensor, weight: Tensor | None) -> Tensor:
    """log K − H(q), the mean over rows: 0 where the head says nothing."""
    log_q = torch.log_softmax(logits, dim=1)
    uniform = logits.new_tensor(float(logits.shape[1])).log()
    return weighted_mean(uniform + (log_q.exp() * log_q).sum(dim=1), weight)


def lntl(spec: EstimatorSpec) -> GradientReversal:
    """Gradient reversal with entropy, as a recipe asks for it."""
    return GradientReversal(from_spec(spec), entropy_weight=spec.entropy_weight)
