"""Closed-form linear erasure (LEACE): after training, an affine layer that leaves nothing of c to a linear probe."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.measures.bounds import normal_weight
from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import known_rows

__all__ = ["TOLERANCE", "LeaceFit", "LinearEraser", "concept_columns", "fit_leace", "require_leace"]

# Below this share of a deviation, what c and whitened z have in common is rounding. The library's own tolerance of 0.01
# leaves correlations of that size, which a probe finds.
TOLERANCE = 1e-6
# A deviation below this share of the values is rounding.
_ROUNDING = 1e-12


class LinearEraser(nn.Module):
    """The affine map z ↦ A z + b of A (d, d) and b (d,), frozen: a layer that travels with the extractor.

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


class LeaceFit:
    """The library's LEACE of features that come batch by batch, for several attributes at once.

    One least change of z after which no linear probe predicts any of the attributes better than a constant. A post-hoc
    method: it needs no training and changes no weight of the extractor. What is coded non-linearly stays: a
    gradient-boosted or quadratic probe may still read c off. Moments are gathered in float64 on the CPU.

    Raises:
        TrainingError: concept-erasure is not installed.

    References: Belrose et al., LEACE: Perfect linear concept erasure in closed form, arXiv 2306.03819: the eraser is
    z − W⁺ P W (z − E[z]), with W the whitening of z and P the projection onto the columns of W Σ_zc.

    Example:
        >>> z = torch.tensor([[0.0, 1.0], [0.0, 2.0], [4.0, 1.0], [4.0, 2.0]])
        >>> c = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> columns = concept_columns({"c": c}, {"c": torch.ones(4, dtype=torch.bool)})
        >>> fit = LeaceFit(2, 2)
        >>> fit.add(z, columns)
        >>> fit.eraser()(z).round(decimals=6).tolist()
        [[2.0, 1.0], [2.0, 2.0], [2.0, 1.0], [2.0, 2.0]]
    """

    def __init__(self, n_features: int, n_columns: int) -> None:
        require_leace()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its other methods use what torch deprecates
            from concept_erasure import LeaceFitter  # an extra: only those who ask for erasure need it
        self._shift: Tensor | None = None
        self._fitter = LeaceFitter(
            n_features,
            n_columns,
            dtype=torch.float64,
            shrinkage=False,  # exact on these samples
            constrain_cov_trace=False,  # the constrained solution no longer erases
            svd_tol=TOLERANCE,
        )

    def add(self, z: Tensor, columns: Tensor) -> None:
        """Take in a batch of features (n, d), if finite (else a TrainingError), and its rows of the columns (n, k)."""
        if not bool(torch.isfinite(z).all()):
            raise TrainingError(
                "leace: features are not finite; train with a lower learning rate, or look for NaN in the inputs"
            )
        z = z.detach().to("cpu", torch.float64)
        if self._shift is None:
            # the library's first batch is taken about 0, which costs digits where z is far from there
            self._shift = z.mean(dim=0)
        self._fitter.update(z - self._shift, columns)

    def eraser(self, dtype: torch.dtype = torch.float32) -> LinearEraser:
        """The eraser of all batches so far: P z + (I − P) E[z]."""
        # the library keeps I − P as two thin factors and E[z] as its bias; a layer takes A = P and b = (I − P) E[z]
        found = self._fitter.eraser
        mean = found.bias if self._shift is None else found.bias + self._shift
        return LinearEraser(found.P.to(dtype), (mean - found.P @ mean).to(dtype))


def concept_columns(concepts: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Tensor:
    """What is erased of every row (n, k), attributes side by side, so that each is erased exactly on its own rows.

    Attributes may be missing on different rows, and the library knows no missing values. A column that is centred on
    the rows that know it and 0 on the others has the covariance with z that those rows have, but for the share of them,
    by which it is divided.

    Concepts (n, k) are classes one-hot, values, or both side by side.

    Raises:
        TrainingError: An attribute is known on fewer than two rows.

    Example:
        >>> concept_columns({"c": torch.tensor([[1.0], [3.0], [9.0]])}, {"c": torch.tensor([True, True, False])})
        tensor([[-1.5000],
                [ 1.5000],
                [ 0.0000]], dtype=torch.float64)
    """
    columns = []
    for name, concept in concepts.items():
        rows = known[name].cpu()
        if int(rows.sum()) < 2:
            raise TrainingError(f"leace: attribute '{name}' is known on fewer than two samples: nothing to erase")
        values = concept.detach().to("cpu", torch.float64)[rows]
        centred = values - values.mean(dim=0)
        deviation = centred.square().mean(dim=0).sqrt()
        # of unit deviation, so that the tolerance means the same for every class; what does not vary is left out
        varies = deviation > _ROUNDING * values.abs().amax(dim=0)
        filled = torch.zeros(len(rows), values.shape[1], dtype=torch.float64)
        filled[rows] = torch.where(varies, centred / torch.where(varies, deviation, 1.0), 0.0) * (
            len(rows) / len(values)
        )
        columns.append(filled)
    return torch.cat(columns, dim=1)


def require_leace() -> None:
    """Raise a TrainingError where what LEACE needs is not installed, before anything has been done in vain."""
    if importlib.util.find_spec("concept_erasure") is None:
        raise TrainingError("leace: concept-erasure is not installed; pip install 'mibias[leace]'")


def fit_leace(sample: Sample, n_classes: tuple[int, ...] | None) -> LinearEraser:
    """`LeaceFit` of one attribute on features in memory, also under sample weights.

    Under weights c is erased from the weighted distribution, in which y may be independent of c and then keeps what it
    had. Without `n_classes` values are erased as such; y plays no part.

    Raises:
        TrainingError: The library is not installed, fewer than two rows are known, or z is not finite.
    """
    rows = known_rows(sample, torch.float64)
    z, weight = rows.z.detach(), normal_weight(rows.z, rows.weight)
    columns = concept_columns({"c": encode_attribute(rows.c, n_classes, torch.float64)}, {"c": rows.known}).to(z.device)
    # The library takes no weights. Deviations from the weighted mean that are scaled by √w have the weighted moments,
    # and with either sign their mean is 0, so that it takes nothing off them.
    mean, scale = weight @ z, (len(z) * weight).sqrt()[:, None]
    x, c = scale * (z - mean), scale * (columns - weight @ columns)
    fit = LeaceFit(z.shape[1], columns.shape[1])
    fit.add(torch.cat([x, -x]), torch.cat([c, -c]))
    projection = fit.eraser(torch.float64).weight.to(z.device)
    return LinearEraser(projection.to(sample.z.dtype), (mean - projection @ mean).to(sample.z.dtype))
