"""Learning Not to Learn: gradient reversal with an entropy term, as a baseline to compare with."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.measures.bounds import weighted_mean
from mibias_cli.estimators.protocol import EstimatorSpec, Sample

__all__ = ["GradientReversal"]


class GradientReversal(ClassifierBound):
    """The reversed gradient of the attribute heads' cross-entropy, and the entropy of what they say (LNTL).

    The heads learn c by cross-entropy in `fit`; `penalty` is, summed over channels, the classifier bound
    H(c) − CE(c | z) plus `spec.entropy_weight` times log K − H(q(c | z)). The entropies of c and of K classes are
    constant in z: the gradient is the reversed gradient of the cross-entropy, and that of the negative entropy of q. A
    named baseline: the classifier bound is the same without the second term, and is what `estimate` gives. The authors'
    code has a weight of 0.01 beside a reversal of 0.1.

    References:
        Kim et al., Learning Not to Learn, arXiv 1812.10352; Ganin and Lempitsky, arXiv 1409.7495 (the reversal).
    """

    def __init__(self, spec: EstimatorSpec) -> None:
        super().__init__(spec)
        # a baseline runs with the K of its recipe: the watch adapts only estimators that have `steps`
        del self.steps

    def objective(self, rows: Sample, generator: Generator) -> Tensor:
        # minimised beside the bound: heads are to be uncertain, not wrong, which the bound alone would also reward
        certainty = torch.stack([_certainty(logits, rows.weight) for logits in self.logits(rows)]).sum()
        return super().objective(rows, generator) + self.spec.entropy_weight * certainty


def _certainty(logits: Tensor, weight: Tensor | None) -> Tensor:
    """log K − H(q), the mean over rows: 0 where the head says nothing."""
    log_q = torch.log_softmax(logits, dim=1)
    uniform = logits.new_tensor(float(logits.shape[1])).log()
    return weighted_mean(uniform + (log_q.exp() * log_q).sum(dim=1), weight)
