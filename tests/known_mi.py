"""Distributions whose mutual information is known: in closed form, or by integrating exact densities on a fine grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.heads.attribute import AttributeHead

__all__ = [
    "Chain",
    "Gaussian",
    "Independent",
    "Known",
    "MeanShift",
    "TwoShifts",
    "VarianceCoded",
    "make_spec",
    "to_sample",
]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Drawn pairs: z (n, d) float64, c (n, channels) int64 or float64, and y and weights where the source has them."""

    z: np.ndarray
    c: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None


def to_sample(known: Known, dtype: torch.dtype = torch.float32, weighted: bool = False) -> Sample:
    """What an estimator takes, all rows known."""
    c = torch.from_numpy(known.c)
    return Sample(
        z=torch.from_numpy(known.z).to(dtype),
        c=c if c.dtype == torch.int64 else c.to(dtype),
        y=None if known.y is None else torch.from_numpy(known.y),
        weight=torch.from_numpy(known.weight).to(dtype) if weighted and known.weight is not None else None,
        known=torch.ones(len(known.z), dtype=torch.bool),
    )


def make_spec(*, n_features: int, n_classes: tuple[int, ...], **options: Any) -> EstimatorSpec:
    """What every `from_spec` takes, for a small critic, with whatever a test wants otherwise."""
    values: dict[str, Any] = {
        "bin_edges": None,
        "hidden": (16, 16),
        "learning_rate": 5e-3,
        "optimizer": "adam",
        "beta1": 0.9,
        "steps": 5,
        "batch_size": None,
        "moving_average": 0.9,
        "n_random_features": 20,
        "ridge": 1e-2,
    }
    values |= options
    heads = partial(AttributeHead, n_classes=n_classes, hidden=values["hidden"])
    return EstimatorSpec(n_features=n_features, n_classes=n_classes, make_heads=heads, **values)


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _mixture_mi(log_densities: np.ndarray, p: np.ndarray, step: float) -> float:
    """I(z; c) from log p(z | c) on a grid (classes, points): the sum of p(c) KL(p(z | c) ‖ p(z)), by rectangles."""
    with np.errstate(divide="ignore"):
        log_mixture = np.logaddexp.reduce(log_densities + np.log(p)[:, None], axis=0)
    gap = np.where(np.isfinite(log_densities), log_densities - log_mixture, 0.0)
    return float((p[:, None] * np.exp(log_densities) * gap).sum() * step)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """z and c are standard normal in d dimensions, each pair of coordinates correlated by rho: −d/2 log(1 − rho²)."""

    rho: float
    d: int = 1

    @property
    def nats(self) -> float:
        return -0.5 * self.d * math.log(1 - self.rho**2)

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        c = rng.standard_normal((n, self.d))
        z = self.rho * c + math.sqrt(1 - self.rho**2) * rng.standard_normal((n, self.d))
        return Known(z=z, c=c)


@dataclass(frozen=True, kw_only=True)
class MeanShift:
    """c in len(means) classes; z is standard normal in d dimensions around means[c] along the diagonal.

    Only the projection onto the diagonal carries c, so the information is a one-dimensional integral.
    """

    means: Sequence[float]
    d: int = 1
    p: Sequence[float] | None = None

    @property
    def probabilities(self) -> np.ndarray:
        return np.full(len(self.means), 1 / len(self.means)) if self.p is None else np.asarray(self.p, dtype=float)

    @property
    def entropy_nats(self) -> float:
        return _entropy(self.probabilities)

    @property
    def nats(self) -> float:
        means = np.asarray(self.means, dtype=float)
        grid = np.linspace(means.min() - 12, means.max() + 12, 40_001)
        log_densities = -0.5 * (grid - means[:, None]) ** 2 - 0.5 * math.log(2 * math.pi)
        return _mixture_mi(log_densities, self.probabilities, float(grid[1] - grid[0]))

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        c = rng.choice(len(self.means), size=n, p=self.probabilities)
        z = rng.standard_normal((n, self.d)) + np.asarray(self.means)[c][:, None] / math.sqrt(self.d)
        return Known(z=z, c=c[:, None].astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class VarianceCoded:
    """c is in the spread alone: z | c ~ N(0, scales[c]² I) in d dimensions; no linear probe can see it.

    The radius is sufficient: r / scales[c] follows the chi distribution with d degrees of freedom.
    """

    scales: Sequence[float]
    d: int = 1

    @property
    def probabilities(self) -> np.ndarray:
        return np.full(len(self.scales), 1 / len(self.scales))

    @property
    def entropy_nats(self) -> float:
        return _entropy(self.probabilities)

    @property
    def nats(self) -> float:
        scales = np.asarray(self.scales, dtype=float)[:, None]
        grid, step = np.linspace(0, float(scales.max()) * (math.sqrt(self.d) + 10), 80_001, retstep=True)
        grid = grid[1:]
        log_constant = (1 - self.d / 2) * math.log(2) - math.lgamma(self.d / 2)
        r = grid / scales
        log_densities = log_constant + (self.d - 1) * np.log(r) - 0.5 * r**2 - np.log(scales)
        return _mixture_mi(log_densities, self.probabilities, float(step))

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        c = rng.integers(len(self.scales), size=n)
        z = rng.standard_normal((n, self.d)) * np.asarray(self.scales, dtype=float)[c][:, None]
        return Known(z=z, c=c[:, None].astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Independent:
    """z is standard normal and c uniform over classes, independently: 0 nats."""

    n_classes: int = 2
    d: int = 1

    @property
    def entropy_nats(self) -> float:
        return math.log(self.n_classes)

    @property
    def nats(self) -> float:
        return 0.0

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        return Known(z=rng.standard_normal((n, self.d)), c=rng.integers(self.n_classes, size=(n, 1)))


@dataclass(frozen=True, kw_only=True)
class Chain:
    """c — y — z: binary y and c agree with probability `agreement`, and z is N(±shift/2, 1) by y alone.

    Without weights z tells of c what it tells of y; under weights p(y)p(c)/p(y,c) it tells nothing.
    """

    agreement: float
    shift: float
    d: int = 1

    @property
    def nats(self) -> float:
        grid = np.linspace(-self.shift / 2 - 12, self.shift / 2 + 12, 40_001)
        centres = np.array([-0.5, 0.5])[:, None] * self.shift
        by_y = np.exp(-0.5 * (grid - centres) ** 2) / math.sqrt(2 * math.pi)
        channel = np.array([[self.agreement, 1 - self.agreement], [1 - self.agreement, self.agreement]])
        return _mixture_mi(np.log(channel @ by_y + 1e-300), np.array([0.5, 0.5]), float(grid[1] - grid[0]))

    @property
    def target_nats(self) -> float:
        """I(z; y), which debiasing must leave alone."""
        return MeanShift(means=[-self.shift / 2, self.shift / 2]).nats

    @property
    def target_attribute_nats(self) -> float:
        """I(y; c)."""
        return math.log(2) - _entropy(np.array([self.agreement, 1 - self.agreement]))

    @property
    def weighted_nats(self) -> float:
        return 0.0

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=n)
        agrees = rng.random(n) < self.agreement
        c = np.where(agrees, y, 1 - y)
        z = rng.standard_normal((n, self.d)) + ((y - 0.5) * self.shift / math.sqrt(self.d))[:, None]
        weight = np.where(agrees, 0.25 / (self.agreement / 2), 0.25 / ((1 - self.agreement) / 2))
        return Known(z=z, c=c[:, None].astype(np.int64), y=y, weight=weight / weight.mean())


@dataclass(frozen=True, kw_only=True)
class TwoShifts:
    """Binary y and c agree with probability `agreement`; y shifts z along its first axis, c along its second.

    The two axes are independent given (y, c), so I(z; c | y) is a one-dimensional integral per class of y. Under
    weights p(y)p(c)/p(y,c) it is that of c alone.
    """

    agreement: float
    target_shift: float = 2.0
    attribute_shift: float = 2.0
    d: int = 2

    def _attribute_nats(self, p: float) -> float:
        return MeanShift(means=[0.0, self.attribute_shift], p=[p, 1 - p]).nats

    @property
    def conditional_nats(self) -> float:
        return self._attribute_nats(self.agreement)

    @property
    def weighted_conditional_nats(self) -> float:
        return self._attribute_nats(0.5)

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=n)
        agrees = rng.random(n) < self.agreement
        c = np.where(agrees, y, 1 - y)
        z = rng.standard_normal((n, self.d))
        z[:, 0] += self.target_shift * y
        z[:, 1] += self.attribute_shift * c
        weight = np.where(agrees, 0.5 / self.agreement, 0.5 / (1 - self.agreement))
        return Known(z=z, c=c[:, None].astype(np.int64), y=y, weight=weight / weight.mean())
