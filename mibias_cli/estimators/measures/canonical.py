"""Canonical correlations of features of z and of c, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from mibias_cli.estimators.measures.bounds import normal_weight
from mibias_cli.estimators.measures.ridge import ridge_factor, to_float64

__all__ = ["canonical_maps", "soft_hgr", "squared_correlations"]


_NO_CORRELATION = 1e-6


def soft_hgr(f: Tensor, g: Tensor, weight: Tensor | None = None) -> Tensor:
    """E[f·g] − ½ tr(cov f cov g) of centred f and g (n, k); at its best half the sum of the k largest σ².

    References: Wang et al., An efficient approach to informative feature extraction, arXiv 1811.08979.
    """
    w = normal_weight(f, weight)
    # the trace takes the place of the whitening that maximal correlation asks for: no matrix is inverted in training
    products = w @ (f * g).sum(dim=1)
    return products - 0.5 * ((f.T @ (w[:, None] * f)) * (g.T @ (w[:, None] * g))).sum()


def canonical_maps(
    f: Tensor, g: Tensor, weight: Tensor | None, n_components: int, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps A (p, k), B (q, k) that make centred f (n, p) and g (n, q) canonical, and the correlations σ (k,).

    The singular values of the whitened covariance; pairs that do not correlate at all get maps of 0. `ridge` is added
    to the covariance of f, as a share of its mean variance. Computed in float64.
    """
    dtype, device = f.dtype, f.device
    # cov(f) = L Lᵀ: L⁻¹ f is white, and so is Wᵀ g; singular values of their covariance are the correlations
    w = to_float64(normal_weight(f, weight))
    f, g = to_float64(f), to_float64(g)
    factor = ridge_factor(f.T @ (w[:, None] * f), ridge)
    whiten_g = _whitening(g, w)
    cross = torch.linalg.solve_triangular(factor, f.T @ (w[:, None] * g) @ whiten_g, upper=False)
    u, s, v = torch.linalg.svd(cross, full_matrices=False)
    k = min(n_components, len(s))
    # where σ is 0 the direction is one that rounding picked: its own features would be noise of any scale
    kept = (s[:k] > _NO_CORRELATION).to(s.dtype)
    # A = L⁻ᵀ U and B = W V take f and g to canonical pairs
    of_f = torch.linalg.solve_triangular(factor.T, u[:, :k], upper=True) * kept
    of_g = whiten_g @ v[:k].T * kept
    return of_f.to(device, dtype), of_g.to(device, dtype), s[:k].to(device, dtype)


def squared_correlations(f: Tensor, g: Tensor, weight: Tensor | None = None, n_groups: int = 1) -> Tensor:
    """Squared correlation (k,) of each column of centred f and g (n, k), adjusted: independence gives 0 on average.

    The adjustment counts the effective number of samples less the group means that were taken off; a constant column
    has 0.
    """
    w = normal_weight(f, weight)
    of_f, of_g, both = w @ f**2, w @ g**2, w @ (f * g)
    norms = of_f * of_g
    # beneath rounding a column is constant, and its correlation would be noise of any size
    varies = norms > torch.finfo(f.dtype).eps ** 2
    square = both**2 / torch.where(varies, norms, 1.0)
    # the adjusted R² of a regression on one column, with the effective sample size 1 / Σw²
    freedom = (1 / (w**2).sum() - n_groups).clamp_min(2.0)
    return torch.where(varies, square - (1 - square) / (freedom - 1), 0.0 * both)


def _whitening(a: Tensor, w: Tensor) -> Tensor:
    """W with Wᵀ cov(a) W = I where a varies, and 0 where it does not."""
    values, vectors = torch.linalg.eigh(a.T @ (w[:, None] * a))
    present = values > 1e-9 * values[-1].clamp_min(1e-30)
    return vectors * torch.where(present, values.clamp_min(1e-300).rsqrt(), 0.0)
