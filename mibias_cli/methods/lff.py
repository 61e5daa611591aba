"""LfF: a second network learns what is easy, and the model learns from the rows on which that fails."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec, sample_losses

__all__ = ["FromFailure", "generalised_cross_entropy"]


class FromFailure(Method):
    """Learning from Failure: two networks in one run, one of which is made as biased as it can be.

    One would choose it where nobody knows the bias and the bias is easier to learn than the target. Algorithm 1 of the
    paper: the biased network f_B minimises the generalised cross-entropy (1 − p^q)/q, which follows the rows that it
    finds easy; the model f_D minimises cross-entropy weighted by W(x) = ℓ_B / (ℓ_B + ℓ_D). As in the authors' code, ℓ
    are moving averages of each row's loss, divided by the largest of its class.

    Settings: `q`, and the `decay` of the moving averages, .7 both in the paper.

    References: Nam et al., Learning from Failure: Training Debiased Classifier from Biased Classifier, arXiv
    2007.02561.
    """

    loss_biased: Tensor
    loss_own: Tensor
    seen: Tensor
    y: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        n = len(spec.data.train)
        self.network = spec.new_model()
        self.register_buffer("loss_biased", torch.zeros(n))
        self.register_buffer("loss_own", torch.zeros(n))
        self.register_buffer("seen", torch.zeros(n, dtype=torch.bool))
        self.register_buffer("y", torch.from_numpy(spec.data.train.y), persistent=False)

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The sum of what the two networks minimise; they share no parameter."""
        x, network = batch.x, self.network
        assert network is not None, "made in __init__"
        if x.is_floating_point():
            x = x.to(next(network.head.parameters()).dtype)
        biased = self.spec.gather(network(x)["logits"], len(batch))
        loss_biased, loss_own = (sample_losses(scores, batch.y) for scores in (biased, output["logits"]))
        weight = self._weight(batch, loss_biased.detach(), loss_own.detach())
        easy = generalised_cross_entropy(biased, batch.y, self.spec.settings["q"])
        return (weight * loss_own).mean() + easy.mean().to(loss_own.dtype)

    @torch.no_grad()
    def _weight(self, batch: Batch, biased: Tensor, own: Tensor) -> Tensor:
        """W(x) (n,) of a batch, once its losses have entered the averages."""
        rows = batch.index
        for kept, losses in ((self.loss_biased, biased), (self.loss_own, own)):
            losses = losses.to(kept.dtype)
            # a step that is skipped must leave no trace
            losses = torch.where(torch.isfinite(losses), losses, kept[rows])
            # a row's first loss counts whole
            mixed = kept[rows].lerp(losses, 1 - self.spec.settings["decay"])
            kept[rows] = torch.where(self.seen[rows], mixed, losses)
        self.seen[rows] = True
        return self.row_weights()[rows].to(own.dtype)

    def row_weights(self) -> Tensor:
        """W(x) (n,) of all training rows, near 1 where the biased network alone fails."""
        relative = []
        for kept in (self.loss_biased, self.loss_own):
            largest = kept.new_zeros(len(self.spec.data.class_names)).scatter_reduce(0, self.y, kept, "amax")
            relative.append(kept / largest[self.y].clamp_min(torch.finfo(kept.dtype).tiny))
        of_biased, of_own = relative
        return of_biased / (of_biased + of_own + 1e-8)


def generalised_cross_entropy(logits: Tensor, y: Tensor, q: float) -> Tensor:
    """(1 − p^q)/q (n,), with p the probability of the true class: cross-entropy at q → 0, 1 − p at q = 1.

    References: Zhang and Sabuncu, arXiv 1805.07836, Equation 6.

    Example:
        >>> generalised_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), 1.0).tolist()
        [0.5]
    """
    log_p = -sample_losses(logits, y)
    return (1 - (q * log_p).exp()) / q
