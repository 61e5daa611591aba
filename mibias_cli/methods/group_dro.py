"""Group DRO: the loss of the group in which it is largest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec, sample_losses

__all__ = ["GroupDRO"]


class GroupDRO(Method):
    """Minimises the worst group's loss by weights of the groups that rise with their losses.

    One would choose it where the worst (y, c) group counts. Algorithm 1 of the paper: rows are drawn so that all groups
    occur alike; q_g ← q_g exp(η ℓ_g), normalised; and the loss is Σ q_g ℓ_g, with ℓ_g the mean over the group's rows in
    the batch, 0 where it has none. With an adjustment C the weights, not the loss, go by ℓ_g + C/√n_g (Section 3.3).
    Groups without a training row take no part, nor do rows whose attribute is missing.

    Settings: `step_size` η, `adjustment` C.

    References: Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, arXiv 1911.08731; the adjusted
    ℓ_g of an absent group as in the authors' code.
    """

    group: Tensor
    log_weights: Tensor
    margin: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        group = torch.from_numpy(spec.groups(spec.data.train)[0])
        counts = torch.bincount(group[group >= 0])
        # by frequency a rare group would seldom be in a batch, and its weight would fall while it is absent
        self.sample_by = np.where(group >= 0, 1 / counts.numpy()[group], 0)
        self.register_buffer("group", group, persistent=False)
        self.register_buffer("margin", spec.settings["adjustment"] / counts.sqrt(), persistent=False)
        # logarithms: a product of exponentials over ten thousand steps would overflow
        self.register_buffer("log_weights", torch.full((len(counts),), 1 / len(counts)).log())

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """Σ q_g ℓ_g of the batch, q after its update."""
        losses, group = sample_losses(output["logits"], batch.y), self.group[batch.index]
        known = group >= 0
        counts = torch.bincount(group[known], minlength=len(self.log_weights))
        # no matrix product: mixed precision would round it
        sums = losses.new_zeros(len(counts)).index_add(0, group[known], losses[known])
        group_losses = sums / counts.clamp_min(1)
        # a step that is skipped must leave no trace in the weights
        if torch.isfinite(group_losses).all():
            raised = self.log_weights + self.spec.settings["step_size"] * (group_losses.detach() + self.margin)
            self.log_weights.copy_(raised.log_softmax(dim=0))
        return (group_losses * self.log_weights.exp().to(losses.dtype)).sum()
