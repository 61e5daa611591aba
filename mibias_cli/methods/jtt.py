"""JTT: rows that a first model gets wrong weigh more when a second one is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.conflict import scored
from mibias_cli.methods.method import Method, MethodSpec, early_scores, sample_losses

__all__ = ["TrainTwice"]


class TrainTwice(Method):
    """Just Train Twice: trains plainly for a few epochs, then afresh with the errors of that weighted up.

    One would choose it where nobody knows the bias: what a model that is stopped early gets wrong are mostly rows in
    which the bias misleads. Algorithm 1 of the paper with its objective λ Σ_E ℓ + Σ_not E ℓ, E the rows that the first
    model gets wrong, here by weights in place of copies, divided by their mean, so that the step has the size of a
    step on the data with copies.

    Settings: `epochs` T of the first model, `upweight` λ: 1 and 50, the paper's for CelebA. It chooses both by the
    worst group of validation rows, for which these need the attribute.

    References: Liu et al., Just Train Twice: Improving Group Robustness without Training Group Information, arXiv
    2107.09044.
    """

    weight: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        self.register_buffer("weight", torch.ones(len(spec.data.train)))

    def prepare(self) -> str:
        """Train the first model and weigh the rows that it gets wrong."""
        spec, train = self.spec, self.spec.data.train
        scores, y = early_scores(spec), torch.from_numpy(train.y)
        wrong, losses = scores.argmax(dim=1) != y, sample_losses(scores, y)
        weight = torch.where(wrong, spec.settings["upweight"], 1.0)
        self.weight.copy_(weight / weight.mean())
        known = scored(losses.double().numpy(), train.y, spec.domains(train)[0])
        return (
            f"jtt: the first model gets {int(wrong.sum())} of {len(wrong)} training rows wrong; they weigh more{known}"
        )

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The weighted mean of the losses, by weights whose mean over all training rows is 1."""
        losses = sample_losses(output["logits"], batch.y)
        return (self.weight[batch.index].to(losses.dtype) * losses).mean()
