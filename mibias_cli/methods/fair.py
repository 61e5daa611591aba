"""FAIR: weights of rows are learnt against a network that tells the bias of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mibias_cli.data.batch import Batch
from mibias_cli.heads.attribute import AttributeHead
from mibias_cli.methods.method import Method, MethodSpec, sample_losses

__all__ = ["AdversarialWeights"]

_HIDDEN = (64,)
_LEAST = 1e-5
"""Of a weight, as in the authors' code: a row that has none would never gain any."""


class AdversarialWeights(Method):
    """Each row weighs w(x), learnt such that weighted rows tell the target well and the bias badly.

    One would choose it where the bias is labelled and it matters which rows carry it: the weights can be read. The
    FAIR-scalar variant of the paper: the model minimises E[w ℓ_y], an adversary E[w ℓ_c], and the network of weights
    E[w ℓ_y] − α E[w ℓ_c] − β E[w], w in (0, 1). Adversary and weights read the model's features, and do not change
    them: the paper has tables, which both read as they are. All three take their steps together, where the authors'
    code takes them in turn. Of several channels ℓ_c is the mean. Rows whose attribute is missing weigh as all others,
    and take no part in learning the weights.

    Settings: `alpha` α, `beta` β, 1 and 0 in the authors' code. The paper tries α from .001 to 1,000.

    References: Petrović et al., FAIR: Fair Adversarial Instance Re-weighting, arXiv 2011.07495.
    """

    c: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        width = spec.model.extractor.features_dim
        self.register_buffer("c", torch.from_numpy(spec.bias(spec.data.train)), persistent=False)
        self.adversary = AttributeHead(width, spec.n_bias_classes, hidden=_HIDDEN)
        self.weigh = nn.Sequential(nn.Linear(width, *_HIDDEN), nn.ReLU(), nn.Linear(*_HIDDEN, 1))

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The sum of what the three minimise; what each holds fixed is detached."""
        z = output["features"].detach().to(next(self.weigh.parameters()).dtype)
        weight = self.weigh(z)[:, 0].sigmoid().clamp(_LEAST, 1 - _LEAST)
        loss_y, c = sample_losses(output["logits"], batch.y).to(weight.dtype), self.c[batch.index]
        known = c[:, 0] >= 0
        told = [
            sample_losses(scores, truth) for scores, truth in zip(self.adversary(z[known]), c[known].T, strict=True)
        ]
        loss_c, fixed = torch.stack(told).mean(dim=0).to(weight.dtype), weight.detach()
        alpha, beta = self.spec.settings["alpha"], self.spec.settings["beta"]
        worth = loss_y.detach()[known] - alpha * loss_c.detach() - beta
        own = (fixed[known] * loss_c + weight[known] * worth).sum() / len(batch)
        return (fixed * loss_y).mean() + own
