"""Maximal correlation (Hirschfeld, Gebelein, Rényi): by two networks, or by the singular values of a basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import perceptron
from mibias_cli.estimators.measures.bounds import normal_weight
from mibias_cli.estimators.measures.canonical import canonical_maps, soft_hgr, squared_correlations
from mibias_cli.estimators.measures.random_features import draw_random_weights, random_features, standardisation
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import apply_by_group, group_means, rows_by_group, with_target

__all__ = ["BasisCorrelation", "MaximalCorrelation", "NetworkCorrelation"]

# Pairs of functions that are kept: maximal correlation is the first, but c of K classes has K − 1 that matter.
_COMPONENTS = 8
# Powers of a standardised value that make up its basis; values beyond ±3 deviations are bent.
_POWERS = 4
# The basis is small: its covariance is factored at every step.
_MOST_RANDOM = 128
# Added to the covariance of what networks give, as a share of its mean variance; a basis takes the recipe's.
_NETWORK_RIDGE = 1e-4


class MaximalCorrelation(BaseEstimator):
    """Half the sum of squared canonical correlations of functions of z and of c, held from the last fit.

    0 only where z and c are independent as far as the functions see; for weak dependence the sum over all functions is
    the information in nats. Unlike a bound it is scale-free in z, bounded, and flat at its minimum. All channels enter
    together. Given the target each of its classes has canonical pairs of its own, and correlations are taken within
    classes and pooled by their weight; a class of fewer than sixteen rows at the last fit is left out.

    References:
        Rényi, On measures of dependence (1959); Mary et al., Fairness-aware learning for continuous attributes (ICML
        2019); Wang et al., An efficient approach to informative feature extraction, arXiv 1811.08979 (the objective).
    """

    unit = "own"
    least = 8

    def __init__(self, spec: EstimatorSpec, critic: nn.Module | None, *, ridge: float) -> None:
        super().__init__(spec, critic)
        self.ridge = ridge

    def of_z(self, rows: Sample) -> Tensor:
        """Features (n, p) of z before they are rotated to canonical pairs, differentiable."""
        raise NotImplementedError

    def of_c(self, rows: Sample) -> Tensor:
        """Features (n, q) of c."""
        raise NotImplementedError

    def measured(self, sample: Sample) -> Sample:
        """The known rows of target classes that the last fit could solve; none before the first fit."""
        rows, held = self.rows(sample), self.held()
        if "map_solved" not in held:
            return rows.take(slice(0, 0))
        solved = held["map_solved"] > 0
        return rows if bool(solved.all()) else rows.take(solved[self.group(rows)])

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        f, g = self._pairs(rows)
        return -soft_hgr(f, g, rows.weight)

    def solve(self, rows: Sample, generator: Generator) -> None:
        """Canonical maps, stacked over target classes (or one), 0 where a class has too few rows."""
        f, g = self._pairs(rows)
        group, n_groups = self.group(rows), self.n_targets or 1
        k = min(_COMPONENTS, f.shape[1], g.shape[1])
        of_f, of_g = f.new_zeros(n_groups, f.shape[1], k), g.new_zeros(n_groups, g.shape[1], k)
        solved = f.new_zeros(n_groups)
        for y, chosen in enumerate(rows_by_group(group, n_groups)):
            # a target class of few rows would have correlations of 1 by chance
            if len(chosen) >= (self.least if self.n_targets is None else 2 * self.least):
                weight = None if rows.weight is None else rows.weight[chosen]
                of_f[y], of_g[y], _ = canonical_maps(f[chosen], g[chosen], weight, k, self.ridge)
                solved[y] = 1
        self.hold({"map_f": of_f, "map_g": of_g, "map_solved": solved})

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        held, group = self.held(), self.group(rows)
        f, g = self._pairs(rows)
        f, g = apply_by_group(f, held["map_f"], group), apply_by_group(g, held["map_g"], group)
        return [0.5 * squared_correlations(f, g, rows.weight, len(group.unique())).sum()]

    def _pairs(self, rows: Sample) -> tuple[Tensor, Tensor]:
        """Features of z and of c, centred: a correlation is that of deviations from the mean (of the target class)."""
        group, n_groups = (None, 1) if self.n_targets is None else (self.group(rows), self.n_targets)
        f, g = self.of_z(rows), self.of_c(rows)
        return f - group_means(f, rows.weight, group, n_groups), g - group_means(g, rows.weight, group, n_groups)


class NetworkCorrelation(MaximalCorrelation):
    """Maximal correlation by two networks f(z) and g(c), trained on the soft objective; given y both see it."""

    critic: nn.ModuleList

    def __init__(self, spec: EstimatorSpec) -> None:
        seen = spec.targets_seen or 0
        f = perceptron(spec.n_inputs, spec.hidden, _COMPONENTS)
        g = perceptron(spec.c_width + seen, spec.hidden[:1], _COMPONENTS)
        super().__init__(spec, nn.ModuleList([f, g]), ridge=_NETWORK_RIDGE)

    def of_z(self, rows: Sample) -> Tensor:
        found: Tensor = self.critic[0](with_target(rows, self.n_targets))
        return found

    def of_c(self, rows: Sample) -> Tensor:
        found: Tensor = self.critic[1](with_target(replace(rows, z=self.encoded(rows.c)), self.n_targets))
        return found


class BasisCorrelation(MaximalCorrelation):
    """Maximal correlation by a small basis, solved anew at each fit: nothing that lags.

    z beside random ReLU features of z, redrawn at each fit; one-hot classes, or powers of values.
    """

    def __init__(self, spec: EstimatorSpec) -> None:
        super().__init__(spec, None, ridge=spec.ridge)

    def prepare(self, rows: Sample, generator: Generator) -> None:
        super().prepare(rows, generator)
        held = standardisation(rows.z, normal_weight(rows.z, rows.weight))
        n_random = min(self.spec.n_random_features, _MOST_RANDOM)
        self.hold(held | draw_random_weights(self.spec.n_features, n_random, generator, rows.z))

    def of_z(self, rows: Sample) -> Tensor:
        return random_features(rows.z, self.held())

    def of_c(self, rows: Sample) -> Tensor:
        encoded = self.encoded(rows.c)
        if self.spec.value_classes is None:
            # moments up to the fourth; bent, so that a single outlier does not make up the whole basis
            bent = 3 * torch.tanh(encoded / 3)
            encoded = torch.cat([bent**p for p in range(1, _POWERS + 1)], dim=1)
        return encoded
