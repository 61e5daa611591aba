"""EnD: rows of one bias class are pulled apart, rows of one target class in several bias classes together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.data.batch import Batch
from mibias_cli.methods.method import Method, MethodSpec, sample_losses

__all__ = ["EntangleDisentangle", "disentangling", "entangling"]


class EntangleDisentangle(Method):
    """Cross-entropy + α R⊥ + β R∥ of the cosines between the features of the rows of a batch.

    One would choose it where the features themselves are to be free of a labelled bias, with no network beside the
    model: it costs a step next to nothing. It changes features alone, so it does nothing to a head on frozen ones.
    Pairs are counted within the batch, which must have rows of one target class in several bias classes. Rows whose
    attribute is missing take part in the cross-entropy alone.

    Settings: `alpha` of R⊥ (see `disentangling`) and `beta` of R∥ (see `entangling`), .1 both in the authors' code,
    which searches both in [0, 1].

    References: Tartaglione et al., EnD: Entangling and Disentangling deep representations for bias correction, arXiv
    2103.02023; both terms as in the authors' code.
    """

    domain: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        self.register_buffer("domain", torch.from_numpy(spec.domains(spec.data.train)[0]), persistent=False)

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of all rows, and both terms over the pairs of rows whose attribute is known."""
        loss = sample_losses(output["logits"], batch.y).mean()
        domain = self.domain[batch.index]
        known = domain >= 0
        # sums of squares of many rows: half precision would not hold them
        z = functional.normalize(output["features"][known].to(self._dtype(output["features"])), dim=1)
        y, c = batch.y[known], domain[known]
        settings = self.spec.settings
        added = settings["alpha"] * disentangling(z, c) + settings["beta"] * entangling(z, y, c)
        return loss + added.to(loss.dtype)

    @staticmethod
    def _dtype(features: Tensor) -> torch.dtype:
        return torch.promote_types(features.dtype, torch.float32)


def disentangling(z: Tensor, c: Tensor) -> Tensor:
    """R⊥ (scalar) of unit vectors z (n, d) in bias classes c (n,): Σ_b |Σ_{i<j in b} z_i·z_j| / number of such pairs.

    0 where no two rows are of one bias class.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> disentangling(z, torch.tensor([0, 0, 1])).item()
        1.0
    """
    within, n_pairs = _pairs(z, c)
    return within.abs().sum() / n_pairs.sum().clamp_min(1)


def entangling(z: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """R∥ (scalar): the mean of (1 − z_i·z_j)/2 over pairs of one target class y (n,) in two bias classes c (n,).

    0 where there is no such pair. The authors' code takes every other of these pairs, by the order of the rows.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> entangling(z, torch.tensor([0, 0]), torch.tensor([0, 1])).item()
        0.5
    """
    of_class, n_of_class = _pairs(z, y)
    # (y, c) cells by number; pairs of one class less those of one cell are the pairs across
    n_domains = int(c.max()) + 1 if len(c) else 1
    of_cell, n_of_cell = _pairs(z, y * n_domains + c)
    n_across = n_of_class.sum() - n_of_cell.sum()
    return (n_across - (of_class.sum() - of_cell.sum())) / (2 * n_across.clamp_min(1))


def _pairs(z: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """By group, the sum of z_i·z_j over its pairs, and how many pairs it has: from sums, without the (n, n) matrix.

    ‖Σ z_i‖² = Σ ‖z_i‖² + 2 Σ_{i<j} z_i·z_j.
    """
    n_groups = int(group.max()) + 1 if len(group) else 1
    sums = z.new_zeros(n_groups, z.shape[1]).index_add(0, group, z)
    squares = z.new_zeros(n_groups).index_add(0, group, z.square().sum(dim=1))
    counts = torch.bincount(group, minlength=n_groups).to(z.dtype)
    return (sums.square().sum(dim=1) - squares) / 2, counts * (counts - 1) / 2
