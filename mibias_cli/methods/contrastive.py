"""Conditional contrastive learning: an image's two views are told from other images with the same bias."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec

__all__ = ["ConditionalContrast", "conditional_info_nce"]


class ConditionalContrast(Method):
    """Two augmented views of an image attract each other; images of the same bias class alone repel them.

    One would choose it where images have attribute labels and no target: what tells the bias classes apart helps
    nothing to tell an image from others of its own class. InfoNCE with such negatives is a lower bound of what the
    views share beyond the bias, I(x; x' | c). As in SimCLR either view is told from all other views of the batch. The
    loss is of the features themselves: behind a small network that is thrown away, as the authors have it, the features
    keep what that network drops. Images whose attribute is missing take no part.

    Settings: the `temperature` by which cosines are divided, .5 in the authors' code.

    References: Tsai et al., Conditional Contrastive Learning: Removing Undesirable Information in Self-Supervised
    Representations, arXiv 2106.02866 (C-InfoNCE), and Conditional Contrastive Learning with Kernel, arXiv 2202.05458
    (Fair-InfoNCE). Both views as anchors: Chen et al., SimCLR, arXiv 2002.05709.
    """

    domain: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        self.register_buffer("domain", torch.from_numpy(spec.domains(spec.data.train)[0]), persistent=False)

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch whose second half are other views of the images of the first."""
        domain = self.domain[batch.index]
        known = domain >= 0
        first, second = output["features"][known].chunk(2)
        return conditional_info_nce(first, second, domain[known].chunk(2)[0], self.spec.settings["temperature"])


def conditional_info_nce(first: Tensor, second: Tensor, c: Tensor, temperature: float) -> Tensor:
    """InfoNCE (scalar, nats) of two views (n, d) of images of bias classes c (n,), with negatives of the same class.

    For each of the 2n views i with partner j: −log exp(s_ij) / Σ_k exp(s_ik), over all k ≠ i of the class of i; s are
    cosines over the temperature. 0 without images.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(conditional_info_nce(z, z, torch.tensor([0, 1]), 1.0).item(), 4)
        0.0
        >>> round(conditional_info_nce(z, z, torch.tensor([0, 0]), 1.0).item(), 4)  # log(1 + 2/e)
        0.5514
    """
    n = len(first)
    if not n:
        return first.sum()
    # sums of many exponentials: half precision would not hold them
    dtype = torch.promote_types(first.dtype, torch.float32)
    z = functional.normalize(torch.cat([first, second]).to(dtype), dim=1)
    classes, itself = torch.cat([c, c]), torch.eye(2 * n, dtype=torch.bool, device=z.device)
    told_from = (classes[:, None] == classes) & ~itself
    scores = (z @ z.T / temperature).masked_fill(~told_from, -torch.inf)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return functional.cross_entropy(scores, partner)
