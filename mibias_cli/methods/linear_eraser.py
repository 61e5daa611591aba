"""Closed-form linear erasure (LEACE): after training, an affine layer that leaves nothing of c to a linear probe."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.measures.canonical import normal_weight
from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import known_rows

__all__ = ["LeaceMoments", "LinearEraser", "fit_leace", "require_leace"]

# Below this share of a deviation, what c and whitened z have in common is rounding. The library's own tolerance of 0.01
# leaves correlations of that size, which a probe finds.
_TOLERANCE = 1e-6
_NOT_FINITE = "leace: features are not finite; train with a lower learning rate, or look for NaN in the inputs"


class LinearEraser(nn.Module):
    """The affine map z ↦ A z + b, frozen: a layer that travels with the extractor.

    Args:
        weight: A (d, d).
        bias: b (d,).

    Example:
        >>> LinearEraser(torch.eye(2), torch.ones(2))(torch.zeros(1, 2)).tolist()
        [[1.0, 1.0]]
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())

    @classmethod
    def identity(cls, n_features: int) -> LinearEraser:
        """An eraser of d features that erases nothing, to be filled from a file."""
        return cls(torch.eye(n_features), torch.zeros(n_features))

    @property
    def n_erased(self) -> int:
        """How many of the d directions are gone: A is a projection, so that d less its trace counts them."""
        return len(self.bias) - round(float(self.weight.double().trace()))

    def forward(self, z: Tensor) -> Tensor:
        """Erased z (n, d)."""
        return nn.functional.linear(z, self.weight, self.bias)


class LeaceMoments:
    """Means and covariances of features and of several attributes, gathered batch by batch, and the eraser they give.

    Why not `fit_leace`: features need not be in memory at once, and attributes may be missing on different rows. Every
    attribute's covariance with z is taken over the rows on which it is known, and one least change of z brings all of
    them to 0, so that each is erased exactly on its own rows.

    Args:
        n_features: Width d of z.

    Example:
        >>> moments = LeaceMoments(2)
        >>> z = torch.tensor([[0.0, 1.0], [0.0, 2.0], [4.0, 1.0], [4.0, 2.0]])
        >>> c = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> moments.add(z, {"c": c}, {"c": torch.ones(4, dtype=torch.bool)})
        >>> moments.eraser()(z).round(decimals=6).tolist()
        [[2.0, 1.0], [2.0, 2.0], [2.0, 1.0], [2.0, 2.0]]
    """

    def __init__(self, n_features: int) -> None:
        self._z = _Sums(n_features, n_features)
        self._concepts: dict[str, _Sums] = {}

    def add(self, z: Tensor, concepts: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
        """Take in a batch.

        Args:
            z: Features (n, d).
            concepts: What is to be erased, by attribute (n, k): classes one-hot, values, or both side by side.
            known: By attribute (n,) bool; rows that are False say nothing of it.

        Raises:
            TrainingError: z is not finite.
        """
        z = z.detach().to("cpu", torch.float64)
        if not bool(torch.isfinite(z).all()):
            raise TrainingError(_NOT_FINITE)
        self._z.add(z, z)
        for name, concept in concepts.items():
            sums = self._concepts.setdefault(name, _Sums(z.shape[1], concept.shape[1]))
            sums.add(z[known[name].cpu()], concept[known[name]].detach().to("cpu", torch.float64))

    def eraser(self) -> LinearEraser:
        """The least change of z after which no linear probe predicts any of the attributes better than a constant.

        Raises:
            TrainingError: The library is not installed, or an attribute is known on fewer than two rows.
        """
        require_leace()
        for name, sums in self._concepts.items():
            if sums.n < 2:
                raise TrainingError(f"leace: attribute '{name}' is known on fewer than two samples: nothing to erase")
        cross = [_per_deviation(sums.covariance(), sums.variance()) for sums in self._concepts.values()]
        return _solve(self._z.n, self._z.mean(), self._z.covariance(), torch.cat(cross, dim=1), torch.float32)


class _Sums:
    """Sums of a (n, p), b (n, q) and their products, about the first batch's means (against cancellation)."""

    def __init__(self, p: int, q: int) -> None:
        self.n = 0
        self._shift: tuple[Tensor, Tensor] | None = None
        self._a, self._b = torch.zeros(p, dtype=torch.float64), torch.zeros(q, dtype=torch.float64)
        self._bb, self._ab = torch.zeros(q, dtype=torch.float64), torch.zeros(p, q, dtype=torch.float64)

    def add(self, a: Tensor, b: Tensor) -> None:
        if not len(a):
            return
        if self._shift is None:
            self._shift = (a.mean(dim=0), b.mean(dim=0))
        a, b = a - self._shift[0], b - self._shift[1]
        self.n += len(a)
        self._a += a.sum(dim=0)
        self._b += b.sum(dim=0)
        self._bb += b.square().sum(dim=0)
        self._ab += a.T @ b

    def mean(self) -> Tensor:
        assert self._shift is not None, "there are rows"
        return self._shift[0] + self._a / self.n

    def covariance(self) -> Tensor:
        return self._ab / self.n - torch.outer(self._a / self.n, self._b / self.n)

    def variance(self) -> Tensor:
        return self._bb / self.n - (self._b / self.n).square()


def require_leace() -> None:
    """Raise where what LEACE needs is not installed, before anything has been done in vain.

    Raises:
        TrainingError: concept-erasure is not installed.
    """
    if importlib.util.find_spec("concept_erasure") is None:
        raise TrainingError("leace: concept-erasure is not installed; pip install 'mibias[leace]'")


def fit_leace(sample: Sample, n_classes: tuple[int, ...] | None) -> LinearEraser:
    """The least change of z after which no linear probe predicts c better than a constant, on these samples exactly.

    A post-hoc method: it needs no training and changes no weight of the extractor. What is coded non-linearly stays: a
    gradient-boosted or quadratic probe may still read c off. Under sample weights c is erased from the weighted
    distribution, in which y may be independent of c and then keeps what it had.

    Args:
        sample: Features, attribute and weights; rows with a missing attribute are ignored. y plays no part.
        n_classes: Classes per channel, all of which are erased at once; None: values, erased as such.

    Raises:
        TrainingError: The library is not installed, fewer than two rows are known, or z is not finite.

    References:
        Belrose et al., LEACE: Perfect linear concept erasure in closed form, arXiv 2306.03819.
    """
    require_leace()
    rows = known_rows(sample, torch.float64)
    if len(rows) < 2:
        raise TrainingError("leace: needs two samples or more whose attribute is known")
    if not bool(torch.isfinite(rows.z).all()):
        raise TrainingError(_NOT_FINITE)
    z, c = rows.z.detach(), encode_attribute(rows.c, n_classes, torch.float64)
    weight = normal_weight(z, rows.weight)
    z_centred, c_centred = z - weight @ z, c - weight @ c
    weighted = z_centred.T * weight
    cross = _per_deviation(weighted @ c_centred, c.var(dim=0, unbiased=False))
    return _solve(len(z), weight @ z, weighted @ z_centred, cross, sample.z.dtype)


def _solve(n: int, mean: Tensor, covariance: Tensor, cross: Tensor, dtype: torch.dtype) -> LinearEraser:
    """The library's eraser of moments: mean (d,) and covariance (d, d) of z, its covariance with concepts (d, k)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its other methods use what torch deprecates
        from concept_erasure import LeaceFitter  # an extra: only those who ask for erasure need it
    fitter = LeaceFitter(
        *cross.shape,
        device=mean.device,
        dtype=torch.float64,
        shrinkage=False,  # exact on these samples
        constrain_cov_trace=False,  # the constrained solution no longer erases
        svd_tol=_TOLERANCE,
    )
    moments = {
        "n": torch.tensor(n, device=mean.device),
        "mean_x": mean,
        "sigma_xx_": (n - 1) * covariance,
        "sigma_xz_": (n - 1) * cross,
    }
    for name, value in moments.items():
        setattr(fitter, name, value)
    eraser = fitter.eraser
    return LinearEraser(eraser.P.to(dtype), (mean - eraser.P @ mean).to(dtype))


def _per_deviation(cross: Tensor, variance: Tensor) -> Tensor:
    """Covariances (d, k) with concepts of unit deviation, so that the tolerance means the same for every class."""
    return cross / torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
