"""BAdd: what is known of the bias is added to the features, so that they need not carry it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec, sample_losses
from mibias_cli.seeds import derive_seed

__all__ = ["BiasAddition"]


class BiasAddition(Method):
    """In training the task head sees features + b(c) in place of the features; afterwards it sees the features alone.

    One would choose it where the bias is labelled and the features themselves are to be free of it: what c tells of the
    target reaches the head without them, so that nothing is to be gained by learning it. b(c) is a fixed random linear
    map of the one-hot classes to as many numbers as there are features, summed over channels: the simplest of the
    three that the authors give, which needs no network that predicts c. Its mean over training rows is taken off, so
    that to leave it out afterwards is to put the mean in its place; rows whose attribute is missing have that, too.

    References: Sarridis et al., BAdd: Bias Mitigation through Bias Addition, arXiv 2408.11439; without its last step,
    a fine-tuning of the head alone, as in the authors' later VB-Mitigator.
    """

    added: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        sizes, c = spec.n_bias_classes, torch.from_numpy(spec.bias(spec.data.train))
        known = c[:, 0] >= 0
        generator = torch.Generator().manual_seed(derive_seed(spec.seed, "badd"))
        added = torch.zeros(len(c), spec.model.extractor.features_dim)
        for classes, n in zip(c[known].T, sizes, strict=True):
            # drawn as torch draws the weights of a linear layer of so many inputs
            table = torch.rand(n, added.shape[1], generator=generator) * 2 - 1
            added[known] += table[classes] / math.sqrt(n)
        added[known] -= added[known].mean(dim=0)
        # by row, not by class: there are as many rows as one epoch reads anyway, and this is one look-up
        self.register_buffer("added", added, persistent=False)

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the head's scores of features + b(c)."""
        head = self.spec.model.head
        shown = output["features"] + self.added[batch.index]
        return sample_losses(head(shown.to(next(head.parameters()).dtype)), batch.y).mean()
