"""Dependence as the largest difference of characteristic functions, by frequencies that climb towards it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.measures.bounds import normal_weight
from mibias_cli.estimators.measures.dependence import characteristic_gaps
from mibias_cli.estimators.measures.random_features import standardisation
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import comparable_rows

__all__ = ["MaximumNorm"]

_STARTS = 32
"""Pairs of frequencies that climb at once: one alone may stay on a low hill."""


class _Frequencies(nn.Module):
    """Frequencies of z (m, d) and of c (m, width), drawn small enough that waves are as wide as the data."""

    def __init__(self, n_features: int, c_width: int) -> None:
        super().__init__()
        self.of_z = nn.Parameter(torch.randn(_STARTS, n_features) / n_features**0.5)
        self.of_c = nn.Parameter(torch.randn(_STARTS, c_width))


class MaximumNorm(BaseEstimator):
    """The maximum-norm dependence: how far the joint characteristic function is from the product of the marginal ones.

    It is 0 for independence alone, and needs two frequencies where a neural critic needs a network. z is standardised
    by the sample of the fit. The value is squared and without bias, so that independence gives 0 on average where the
    sample is not that of the fit. All channels enter together. Given the target it is the mean over target classes by
    their weight, at frequencies that they share.

    References: Daniušis et al., Measuring statistical dependencies via maximum norm and characteristic functions, arXiv
    2208.07934: max over (α, β) of |E e^{i(α·z + β·c)} − E e^{iα·z} E e^{iβ·c}|, ascended by gradient steps. The paper
    has one pair of frequencies; here 32 climb, and the one counts that is best in the sample of the fit.
    """

    unit = "own"
    direction = "none"
    least = 4

    z_mean: Tensor
    z_factor: Tensor
    best: Tensor

    def __init__(self, spec: EstimatorSpec) -> None:
        super().__init__(spec, _Frequencies(spec.n_features, spec.c_width))
        self.register_buffer("z_mean", torch.zeros(spec.n_features))
        self.register_buffer("z_factor", torch.ones(spec.n_features))
        self.register_buffer("best", torch.zeros(()))

    def rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self.like.dtype, self.n_targets, self.least)

    def prepare(self, rows: Sample, generator: Generator) -> None:
        super().prepare(rows, generator)
        self.hold(standardisation(rows.z, normal_weight(rows.z, rows.weight)))

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        return -self._gaps(rows).sum()

    def solve(self, rows: Sample, generator: Generator) -> None:
        # chosen here: the largest of a batch's own gaps is above 0 by chance
        self.hold({"best": self._gaps(rows).argmax().to(self.like)})

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        return [self._gaps(rows)[int(self.best)]]

    def _gaps(self, rows: Sample) -> Tensor:
        """Squared gaps (m,) of all pairs of frequencies."""
        assert isinstance(self.critic, _Frequencies)
        of_z = (rows.z - self.z_mean) * self.z_factor @ self.critic.of_z.T
        of_c = self.encoded(rows.c) @ self.critic.of_c.T
        group = self.group(rows)
        members = functional.one_hot(group, int(group.max()) + 1).to(of_z.dtype)
        return characteristic_gaps(of_z, of_c, members, rows.weight)
