"""SPLINCE: linear erasure that keeps what the features tell of the target linearly."""

from __future__ import annotations

import torch
from torch import Tensor

from mibias_cli.errors import TrainingError
from mibias_cli.methods.erasers.linear_eraser import TOLERANCE, LinearEraser

__all__ = ["SplinceFit"]

_FLAT = 1e-12
"""A direction whose variance is below this share of the largest is rounding: there is nothing in it to erase."""


class SplinceFit:
    """SPLINCE of features that come batch by batch, as `LeaceFit` is LEACE of them.

    After both no linear probe predicts the attributes better than a constant. LEACE is the least change that does this,
    and takes along what target and attributes share; SPLINCE keeps the covariance of features and target exactly, at
    the price of a larger change. One would choose it where target and attributes depend on each other. What is kept
    of the target tells of the attribute what the target itself tells, and a non-linear probe may read it.

    With W the whitening of z, C the span of W Σ_zc and Y that of W Σ_zy, the eraser is z − W⁺ (I − P) W (z − E[z]), and
    P the projection with kernel C onto Y + (C + Y)^⊥, which need not be orthogonal. Where C and Y share a direction it
    is erased: then not all of Y can be kept.

    Args:
        n_features: Features d.
        n_concepts: How many of the columns are what is erased; the others are of what is kept.

    References: Holstege et al., Preserving Task-Relevant Information Under Linear Concept Removal, arXiv 2506.10703:
    P = V (Uᵀ V)⁻¹ Uᵀ with bases U of C^⊥ and V of the range.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 2.0]])
        >>> c, y = z[:, :1] - 0.5, (z[:, 1:] - z[:, :1]) - 0.5
        >>> fit = SplinceFit(2, 1)
        >>> fit.add(z, torch.cat([c, y], dim=1))
        >>> fit.eraser()(z).round(decimals=6).tolist()
        [[0.5, 0.5], [0.5, 1.5], [0.5, 0.5], [0.5, 1.5]]
    """

    def __init__(self, n_features: int, n_concepts: int) -> None:
        self.n_concepts = n_concepts
        self._n = 0
        self._shift = torch.zeros(n_features, dtype=torch.float64)
        self._sum = torch.zeros(n_features, dtype=torch.float64)
        self._squares = torch.zeros(n_features, n_features, dtype=torch.float64)
        self._products: Tensor | None = None
        self._columns: Tensor | None = None

    def add(self, z: Tensor, columns: Tensor) -> None:
        """Take in a batch of features (n, d), if finite (else a TrainingError), and its rows of the columns (n, k)."""
        if not bool(torch.isfinite(z).all()):
            raise TrainingError("splince: features are not finite; train with a lower learning rate")
        z, columns = z.detach().to("cpu", torch.float64), columns.to("cpu", torch.float64)
        if self._products is None or self._columns is None:
            # moments about a point near the mean, since those about 0 would lose the digits that count
            self._shift = z.mean(dim=0)
            self._products = torch.zeros(z.shape[1], columns.shape[1], dtype=torch.float64)
            self._columns = torch.zeros(columns.shape[1], dtype=torch.float64)
        z = z - self._shift
        self._n += len(z)
        self._sum += z.sum(dim=0)
        self._squares += z.T @ z
        self._products += z.T @ columns
        self._columns += columns.sum(dim=0)

    def eraser(self, dtype: torch.dtype = torch.float32) -> LinearEraser:
        """The eraser of all batches so far."""
        assert self._products is not None, "there is a batch"
        assert self._columns is not None, "there is a batch"
        mean = self._sum / self._n
        covariance = self._squares / self._n - torch.outer(mean, mean)
        crossed = self._products / self._n - torch.outer(mean, self._columns / self._n)
        # W and W⁺, on the directions in which z varies
        values, vectors = torch.linalg.eigh(covariance)
        varies = values > _FLAT * values.max()
        values, vectors = values[varies].sqrt(), vectors[:, varies]
        whitened = (vectors / values).T @ crossed
        erased = whitened[:, : self.n_concepts]
        basis, strengths, _ = torch.linalg.svd(erased, full_matrices=False)
        basis = basis[:, strengths > TOLERANCE]
        # I − P: the part in C, less what of it Y brings along, told from Y's part outside C
        kept = whitened[:, self.n_concepts :]
        inside = basis.T @ kept
        outside = kept - basis @ inside
        removed = basis @ (basis.T - inside @ torch.linalg.pinv(outside, atol=TOLERANCE, rtol=0.0))
        matrix = torch.eye(len(mean), dtype=torch.float64) - (vectors * values) @ removed @ (vectors / values).T
        centre = mean + self._shift
        return LinearEraser(matrix.to(dtype), (centre - matrix @ centre).to(dtype))
