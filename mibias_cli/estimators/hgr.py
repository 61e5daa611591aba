"""Maximal correlation (Hirschfeld, Gebelein, Rényi): by two networks, or by the singular values of a basis."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from mibias_cli.estimators.critics import AttributeEncoder, attribute_width, perceptron
from mibias_cli.estimators.measures.canonical import canonical_maps, normal_weight, soft_hgr, squared_correlations
from mibias_cli.estimators.measures.random_features import draw_random_weights, random_features, standardisation
from mibias_cli.estimators.parameters import Learner, OptimizerName, full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.estimators.rows import (
    apply_by_group,
    comparable_rows,
    group_means,
    minibatches,
    no_penalty,
    target_classes,
    with_target,
)

__all__ = [
    "BasisFunctions",
    "MaximalCorrelation",
    "NetworkFunctions",
    "basis",
    "neural",
]

# Pairs of functions that are kept: maximal correlation is the first, but c of K classes has K − 1 that matter.
_COMPONENTS = 8
_LEAST = 8
# Powers of a standardised value that make up its basis; values beyond ±3 deviations are bent.
_POWERS = 4
# The basis is small: its covariance is factored at every step.
_MOST_RANDOM = 128


class Functions(Protocol):
    """Features of z and of c, before they are rotated to canonical pairs."""

    def fit(self, rows: Sample, n_targets: int | None, generator: Generator) -> None:
        """Improve the functions on detached rows."""
        ...

    def of_z(self, rows: Sample, n_targets: int | None) -> Tensor:
        """Features (n, p) of z, differentiable."""
        ...

    def of_c(self, rows: Sample, n_targets: int | None) -> Tensor:
        """Features (n, q) of c."""
        ...

    def to(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move what is held."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is held."""
        ...

    def load_state_dict(self, state: dict[str, Any], like: Tensor) -> None:
        """Restore what `state_dict` gave."""
        ...


class NetworkFunctions:
    """Two networks f(z) and g(c), trained on the soft objective; with a target both see it.

    Args:
        f, g: Networks to the same width.
        n_classes: Classes per channel; None: continuous.
        learning_rate, optimizer, beta1, steps, batch_size: Of the networks.
    """

    def __init__(
        self,
        f: nn.Module,
        g: nn.Module,
        *,
        n_classes: tuple[int, ...] | None,
        learning_rate: float = 2e-3,
        optimizer: OptimizerName = "adam",
        beta1: float = 0.9,
        steps: int = 15,
        batch_size: int | None = None,
    ) -> None:
        self.module = nn.ModuleList([f, g])
        self.steps = steps
        self.batch_size = batch_size
        self._learner = Learner(self.module, learning_rate=learning_rate, optimizer=optimizer, beta1=beta1)
        self._encode = AttributeEncoder(n_classes)

    def fit(self, rows: Sample, n_targets: int | None, generator: Generator) -> None:
        """Take `steps` optimizer steps."""
        self._encode.see(rows.c, rows.z.dtype)
        with torch.enable_grad():
            for part in minibatches(rows, self.batch_size, self.steps, generator):
                f, g = (_centred(a, part, n_targets) for a in (self.of_z(part, n_targets), self.of_c(part, n_targets)))
                self._learner.descend(-soft_hgr(f, g, part.weight))

    def of_z(self, rows: Sample, n_targets: int | None) -> Tensor:
        """f(z)."""
        found: Tensor = self.module[0](with_target(rows, n_targets))
        return found

    def of_c(self, rows: Sample, n_targets: int | None) -> Tensor:
        """g(c)."""
        encoded = self._encode(rows.c, rows.z.dtype)
        seen = Sample(z=encoded, c=rows.c, y=rows.y, weight=rows.weight, known=rows.known)
        found: Tensor = self.module[1](with_target(seen, n_targets))
        return found

    def to(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move networks, optimizer state and statistics."""
        self._learner.to(device, dtype)
        self._encode.to(device, dtype)

    def state_dict(self) -> dict[str, Any]:
        """A copy of networks, optimizer state and statistics."""
        return {"functions": self._learner.state_dict(), "c_statistics": self._encode.state_dict()}

    def load_state_dict(self, state: dict[str, Any], like: Tensor) -> None:
        """Restore what `state_dict` gave."""
        self._learner.load_state_dict(state["functions"])
        self._encode.load_state_dict(state["c_statistics"], next(self.module.parameters()))


class BasisFunctions:
    """z beside random ReLU features of z, redrawn at each fit; one-hot classes, or powers of values.

    Args:
        n_features: Width d of z.
        n_classes: Classes per channel; None: continuous.
        n_random_features: Number of random features.
    """

    module: nn.Module | None = None

    def __init__(self, *, n_features: int, n_classes: tuple[int, ...] | None, n_random_features: int = 64) -> None:
        self.n_features = n_features
        self.n_classes = n_classes
        self.n_random_features = n_random_features
        self._encode = AttributeEncoder(n_classes)
        self._held: dict[str, Tensor] = {}

    def fit(self, rows: Sample, n_targets: int | None, generator: Generator) -> None:
        """Draw new random features for z as these rows have it."""
        self._encode.see(rows.c, rows.z.dtype)
        self._held = standardisation(rows.z, normal_weight(rows.z, rows.weight))
        self._held |= draw_random_weights(self.n_features, self.n_random_features, generator, rows.z)

    def of_z(self, rows: Sample, n_targets: int | None) -> Tensor:
        """z and random features of it."""
        return random_features(rows.z, self._held)

    def of_c(self, rows: Sample, n_targets: int | None) -> Tensor:
        """One-hot classes, or powers of values."""
        encoded = self._encode(rows.c, rows.z.dtype)
        if self.n_classes is None:
            bent = 3 * torch.tanh(encoded / 3)
            encoded = torch.cat([bent**p for p in range(1, _POWERS + 1)], dim=1)
        return encoded

    def to(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move what is held."""
        self._held = {k: v.to(device=device, dtype=dtype) for k, v in self._held.items()}
        self._encode.to(device, dtype)

    def state_dict(self) -> dict[str, Any]:
        """A copy of random weights and statistics."""
        return {"functions": copy.deepcopy(self._held), "c_statistics": self._encode.state_dict()}

    def load_state_dict(self, state: dict[str, Any], like: Tensor) -> None:
        """Restore what `state_dict` gave."""
        self._held = {k: v.detach().clone().to(like) for k, v in state["functions"].items()}
        self._encode.load_state_dict(state["c_statistics"], like)


class MaximalCorrelation:
    """Half the sum of squared canonical correlations of functions of z and of c, held from the last fit.

    0 only where z and c are independent as far as the functions see; for weak dependence the sum over all functions is
    the information in nats. Unlike a bound it is scale-free in z, bounded, and flat at its minimum. All channels enter
    together. With `n_targets` each target class has canonical pairs of its own, and correlations are taken within
    classes and pooled by their weight; a class of fewer than sixteen rows at the last fit is left out.

    Args:
        functions: Features of z and of c.
        n_targets: Target classes to condition on; None: the marginal dependence.
        n_components: Canonical pairs that are kept.
        ridge: Added to the covariance of the features of z, as a share of their mean variance.

    References:
        Rényi, On measures of dependence (1959); Mary et al., Fairness-aware learning for continuous attributes (ICML
        2019), arXiv 1811.08979.
    """

    unit: Literal["nats", "own"] = "own"
    direction: Literal["lower", "upper", "none"] = "lower"

    def __init__(
        self,
        functions: NetworkFunctions | BasisFunctions,
        *,
        n_targets: int | None = None,
        n_components: int = _COMPONENTS,
        ridge: float = 1e-2,
    ) -> None:
        self.functions = functions
        self.critic = functions.module
        self.n_targets = n_targets
        self.n_components = n_components
        self.ridge = ridge
        self._maps: dict[str, Tensor] = {}
        self._like = torch.zeros(())

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Fit the functions, then find their canonical pairs; fewer than eight known rows keep the old ones."""
        rows = self._rows(sample)
        if len(rows) < _LEAST:
            return
        rows = Sample(z=rows.z.detach(), c=rows.c, y=rows.y, weight=rows.weight, known=rows.known)
        with full_precision(rows.z.device):
            self.functions.fit(rows, self.n_targets, generator)
            with torch.no_grad():
                self._maps = self._solve(rows)

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Half the sum of the squared correlations of the held functions in this sample, differentiable in sample.z."""
        rows = self._rows(sample)
        if len(rows) < _LEAST or not self._maps:
            return no_penalty(sample.z)
        with held_fixed(self.critic) if self.critic is not None else nullcontext(), full_precision(rows.z.device):
            return self._value(rows)

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The same value; nan before the first fit or where fewer than eight rows can be compared."""
        rows = self._rows(sample)
        if len(rows) < _LEAST or not self._maps:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return float(self._value(rows))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> MaximalCorrelation:
        """Move functions and maps; returns itself."""
        self.functions.to(device, dtype)
        self._maps = {k: v.to(device=device, dtype=dtype) for k, v in self._maps.items()}
        self._like = self._like.to(device=device, dtype=dtype)
        return self

    def state_dict(self) -> dict[str, Any]:
        """A copy of functions and maps."""
        return {**self.functions.state_dict(), "maps": copy.deepcopy(self._maps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, onto the device and floating type that this estimator has now."""
        self.functions.load_state_dict(state, self._like)
        self._maps = {k: v.detach().clone().to(self._like) for k, v in state["maps"].items()}

    def _rows(self, sample: Sample) -> Sample:
        return comparable_rows(sample, self._like.dtype, self.n_targets)

    def _group(self, rows: Sample) -> Tensor:
        if self.n_targets is None:
            return torch.zeros(len(rows), dtype=torch.int64, device=rows.z.device)
        return target_classes(rows)

    def _solve(self, rows: Sample) -> dict[str, Tensor]:
        """Canonical maps, stacked over target classes (or one), 0 where a class has too few rows."""
        f, g = self._pairs(rows)
        group, n_groups = self._group(rows), self.n_targets or 1
        k = min(self.n_components, f.shape[1], g.shape[1])
        of_f, of_g = f.new_zeros(n_groups, f.shape[1], k), g.new_zeros(n_groups, g.shape[1], k)
        solved = torch.zeros(n_groups, dtype=f.dtype, device=f.device)
        for y in range(n_groups):
            chosen = (group == y).nonzero().flatten()
            if len(chosen) >= (_LEAST if self.n_targets is None else 2 * _LEAST):
                weight = None if rows.weight is None else rows.weight[chosen]
                of_f[y], of_g[y], _ = canonical_maps(f[chosen], g[chosen], weight, k, self.ridge)
                solved[y] = 1
        return {"f": of_f, "g": of_g, "solved": solved}

    def _pairs(self, rows: Sample) -> tuple[Tensor, Tensor]:
        """Features of z and of c, centred (within target classes)."""
        f, g = self.functions.of_z(rows, self.n_targets), self.functions.of_c(rows, self.n_targets)
        return _centred(f, rows, self.n_targets), _centred(g, rows, self.n_targets)

    def _value(self, rows: Sample) -> Tensor:
        solved = self._maps["solved"][self._group(rows)] > 0
        if not bool(solved.all()):
            rows = rows.take(solved)
        group = self._group(rows)
        f, g = self._pairs(rows)
        f, g = apply_by_group(f, self._maps["f"], group), apply_by_group(g, self._maps["g"], group)
        return 0.5 * squared_correlations(f, g, rows.weight, len(group.unique())).sum()


def _centred(a: Tensor, rows: Sample, n_targets: int | None) -> Tensor:
    group = None if n_targets is None else target_classes(rows)
    return a - group_means(a, rows.weight, group, n_targets or 1)


def neural(spec: EstimatorSpec) -> MaximalCorrelation:
    """Maximal correlation by two networks, as a recipe asks for it."""
    n_classes = None if spec.bin_edges is not None else spec.n_classes
    width, seen = attribute_width(n_classes, len(spec.n_classes)), spec.targets_seen or 0
    functions = NetworkFunctions(
        perceptron(spec.n_features + seen, spec.hidden, _COMPONENTS),
        perceptron(width + seen, spec.hidden[:1], _COMPONENTS),
        n_classes=n_classes,
        learning_rate=spec.learning_rate,
        optimizer=spec.optimizer,
        beta1=spec.beta1,
        steps=spec.steps,
        batch_size=spec.batch_size,
    )
    return MaximalCorrelation(functions, n_targets=spec.targets_seen, ridge=1e-4)


def basis(spec: EstimatorSpec) -> MaximalCorrelation:
    """Maximal correlation by the singular values of a small basis, solved anew at each fit."""
    functions = BasisFunctions(
        n_features=spec.n_features,
        n_classes=None if spec.bin_edges is not None else spec.n_classes,
        n_random_features=min(spec.n_random_features, _MOST_RANDOM),
    )
    return MaximalCorrelation(functions, n_targets=spec.targets_seen, ridge=spec.ridge)
