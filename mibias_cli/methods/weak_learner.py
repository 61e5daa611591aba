"""A product of experts with a weak learner: the model learns what a model that was stopped early does not tell."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.conflict import scored
from mibias_cli.methods.method import Method, MethodSpec, early_scores, sample_losses

__all__ = ["WeakLearner"]


class WeakLearner(Method):
    """Trains plainly for a few epochs, then afresh in a product of experts with the model of before.

    One would choose it where nobody knows the bias: what is learnt first is mostly what is easy. In training, log p(y)
    of the first model, which stays as it is, is added to the model's class scores, as `debias.bias_product` adds
    log p(y|c) where the bias is known. Rows that the first model gets right then teach little; those that it gets wrong
    teach that what misled it does not count. Predictions are by the model alone.

    Settings: `epochs` of the first model, and `strength`, by which its log p(y) is multiplied: 1, the paper's product.
    The paper makes its first model weak by its size, and trains it to the end.

    References: Sanh et al., Learning from others' mistakes: Avoiding dataset biases without modeling them, arXiv
    2012.01300, Section 3.
    """

    offset: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        self.register_buffer("offset", torch.zeros(len(spec.data.train), len(spec.data.class_names)))

    def prepare(self) -> str:
        """Train the first model, and keep what it tells of every training row."""
        spec, train = self.spec, self.spec.data.train
        scores, y = early_scores(spec), torch.from_numpy(train.y)
        self.offset.copy_(spec.settings["strength"] * scores.log_softmax(dim=1))
        n_wrong = int((scores.argmax(dim=1) != y).sum())
        known = scored(sample_losses(scores, y).double().numpy(), train.y, spec.domains(train)[0])
        return f"weak_learner: the first model gets {n_wrong} of {len(y)} training rows wrong{known}"

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The mean cross-entropy of the product of both experts."""
        scores = output["logits"]
        return sample_losses(scores + self.offset[batch.index].to(scores.dtype), batch.y).mean()
