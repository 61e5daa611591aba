"""Domain-independent training: a head for each class of the bias on shared features, and their mean afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec, sample_losses

__all__ = ["DomainHeads"]


class DomainHeads(Method):
    """Each row is scored by the head of its own bias class (domain), so that no head gains by reading the bias.

    One would choose it where the bias is labelled and has few classes, each with rows of every target class. At
    inference the scores s(y, d, x) of all domains d are summed: argmax_y Σ_d s(y, d, x). Since heads are linear, the
    mean of them is one linear head. That is the model's own; what is kept here by domain is by how much its head
    differs from the mean. So the model is at every step what it is afterwards, and rows whose attribute is missing
    train the mean head.

    References: Wang et al., Towards Fairness in Visual Recognition, arXiv 1911.11834, the domain-independent classifier
    with inference by the sum of scores.
    """

    domain: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        domain = torch.from_numpy(spec.domains(spec.data.train)[0])
        shape = (int(domain.max()) + 1, len(spec.data.class_names), spec.model.extractor.features_dim)
        self.register_buffer("domain", domain, persistent=False)
        # all heads begin as the model's own
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[:2]))

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of each row's scores by the head of its domain."""
        domain = self.domain[batch.index]
        known = domain >= 0
        z = output["features"][known].to(self.weight.dtype)
        # the mean over domains is taken off: it belongs to the model's own head
        weight, bias = self.weight - self.weight.mean(dim=0), self.bias - self.bias.mean(dim=0)
        own = torch.einsum("nd,nkd->nk", z, weight[domain[known]]) + bias[domain[known]]
        scores = output["logits"].clone()
        scores[known] = scores[known] + own.to(scores.dtype)
        return sample_losses(scores, batch.y).mean()
