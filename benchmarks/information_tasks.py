"""Pairs z, c whose mutual information is known: the tasks of benchmarks/estimators.py.

Pairs of numbers follow Czyż et al., Beyond Normal (arXiv 2306.11078): Gaussians, Student-t and smooth transforms of
them, which leave information as it is. Classes in 64 dimensions are coded in the mean, in the variance of six
directions (both turned at random) or in the sign of one product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import digamma, gammaln
from scipy.stats import multivariate_t, ortho_group

__all__ = ["TASKS", "Task"]

Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is drawn, its information in nats, and by how much an estimate from 10,000 samples may miss it."""

    nats: float
    tolerance: float
    draw: Draw


def _split(x: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    return x[:, :d], x[:, d:]


def _gaussian(covariance: np.ndarray, tolerance: float) -> Task:
    d = len(covariance) // 2

    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return _split(g.multivariate_normal(np.zeros(2 * d), covariance, size=n, method="cholesky"), d)

    return Task(nats=_gaussian_nats(covariance), tolerance=tolerance, draw=draw)


def _gaussian_nats(covariance: np.ndarray) -> float:
    d = len(covariance) // 2
    whole, left, right = (np.linalg.slogdet(part)[1] for part in (covariance, covariance[:d, :d], covariance[d:, d:]))
    return float(0.5 * (left + right - whole))


def _student(d: int, freedom: int, tolerance: float) -> Task:
    """Dispersion I: no correlation at all, and still information, through the common scale."""

    def entropy(k: int) -> float:
        half = 0.5 * (freedom + k)
        constant = gammaln(0.5 * freedom) - gammaln(half) + 0.5 * k * np.log(freedom * np.pi)
        return float(constant + half * (digamma(half) - digamma(0.5 * freedom)))

    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return _split(multivariate_t.rvs(shape=np.eye(2 * d), df=freedom, size=n, random_state=g), d)

    return Task(nats=2 * entropy(d) - entropy(2 * d), tolerance=tolerance, draw=draw)


def _dense(d: int) -> np.ndarray:
    """Every pair of columns correlated by .5."""
    return np.eye(2 * d) * 0.5 + 0.5


def _sparse(d: int) -> np.ndarray:
    """Two pairs of columns correlated by .8, the others by nothing."""
    covariance = np.eye(2 * d)
    for i in range(2):
        covariance[i, d + i] = covariance[d + i, i] = 0.8
    return covariance


def _half_cube(x: np.ndarray) -> np.ndarray:
    return x * np.sqrt(np.abs(x))


def _spiral(x: np.ndarray, first: int) -> np.ndarray:
    """Two columns turned by an angle that grows with the squared radius of all."""
    angle = (x**2).sum(axis=1) / x.shape[1]
    out = x.copy()
    out[:, first] = np.cos(angle) * x[:, first] - np.sin(angle) * x[:, first + 1]
    out[:, first + 1] = np.sin(angle) * x[:, first] + np.cos(angle) * x[:, first + 1]
    return out


def _mapped(
    task: Task, z_map: Callable[[np.ndarray], np.ndarray], c_map: Callable[[np.ndarray], np.ndarray], tolerance: float
) -> Task:
    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        z, c = task.draw(n, g)
        return z_map(z), c_map(c)

    return Task(nats=task.nats, tolerance=tolerance, draw=draw)


def _spiralled(d: int) -> Task:
    return _mapped(_gaussian(_sparse(d), 0.06), partial(_spiral, first=0), partial(_spiral, first=1), 0.15)


def _turned(z: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return z @ ortho_group.rvs(z.shape[1], random_state=g)


def _binary_nats(odds_0: np.ndarray, odds_1: np.ndarray) -> float:
    """I of two classes of equal share, from samples of the log odds of class 1 under either."""
    return float(np.log(2) - 0.5 * (np.logaddexp(0, odds_0).mean() + np.logaddexp(0, -odds_1).mean()))


def _mean_coded(shift: float) -> Task:
    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        c = g.integers(0, 2, n)
        z = g.standard_normal((n, WIDTH))
        z[:, 0] += shift * c
        return _turned(z, g), c

    x = np.random.default_rng(0).standard_normal(4_000_000)
    nats = _binary_nats(shift * (x - shift / 2), shift * (x + shift / 2))
    return Task(nats=nats if shift else 0.0, tolerance=0.03 if shift else 0.02, draw=draw)


def _variance_coded(scale: float) -> Task:
    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        c = g.integers(0, 2, n)
        z = g.standard_normal((n, WIDTH))
        z[:, :6] *= np.where(c == 1, scale, 1.0)[:, None]
        return _turned(z, g), c

    power = np.random.default_rng(0).chisquare(6, 4_000_000)  # the squared radius is sufficient

    def odds(squared: np.ndarray) -> np.ndarray:
        return 0.5 * squared * (1 - scale**-2) - 6 * np.log(scale)

    return Task(nats=_binary_nats(odds(power), odds(scale**2 * power)), tolerance=0.06, draw=draw)


def _xor_coded(flipped: float) -> Task:
    def draw(n: int, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        z = g.standard_normal((n, WIDTH))
        return z, np.where(g.random(n) < flipped, z[:, 0] * z[:, 1] <= 0, z[:, 0] * z[:, 1] > 0).astype(np.int64)

    entropy = -flipped * np.log(flipped) - (1 - flipped) * np.log(1 - flipped)
    return Task(nats=float(np.log(2) - entropy), tolerance=0.06, draw=draw)


_PAIR = np.array([[1.0, 0.75], [0.75, 1.0]])

TASKS: dict[str, Task] = {
    "Gaussian 1-d": _gaussian(_PAIR, 0.02),
    "Gaussian 5-d dense": _gaussian(_dense(5), 0.06),
    "Gaussian 5-d sparse": _gaussian(_sparse(5), 0.06),
    "Gaussian 25-d dense": _gaussian(_dense(25), 0.06),
    "Gaussian 25-d sparse": _gaussian(_sparse(25), 0.06),
    "Student-t 1-d": _student(1, 1, 0.06),
    "half-cube 1-d": _mapped(_gaussian(_PAIR, 0.02), _half_cube, _half_cube, 0.06),
    "half-cube 25-d": _mapped(_gaussian(_sparse(25), 0.06), _half_cube, _half_cube, 0.06),
    "asinh of Student-t 1-d": _mapped(_student(1, 1, 0.06), np.arcsinh, np.arcsinh, 0.06),
    "asinh of Student-t 2-d": _mapped(_student(2, 1, 0.06), np.arcsinh, np.arcsinh, 0.06),
    "spiral 3-d": _spiralled(3),
    "spiral 5-d": _spiralled(5),
    "mean-coded classes": _mean_coded(1.5),
    "variance-coded classes": _variance_coded(1.8),
    "XOR-coded classes": _xor_coded(0.1),
    "independent classes": _mean_coded(0.0),
}
