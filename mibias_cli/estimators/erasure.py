"""Closed-form linear erasure (LEACE): after training, an affine layer that leaves nothing of c to a linear probe."""

from __future__ import annotations

import importlib.util
import warnings

import torch
from torch import Tensor, nn

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.canonical import normal_weight
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import known_rows

__all__ = ["LinearEraser", "fit_leace"]

# Below this share of a deviation, what c and whitened z have in common is rounding. The library's own tolerance of 0.01
# leaves correlations of that size, which a probe finds.
_TOLERANCE = 1e-6


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

    def forward(self, z: Tensor) -> Tensor:
        """Erased z (n, d)."""
        return nn.functional.linear(z, self.weight, self.bias)


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
    if importlib.util.find_spec("concept_erasure") is None:
        raise TrainingError("leace: concept-erasure is not installed; pip install 'mibias[leace]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its other methods use what torch deprecates
        from concept_erasure import LeaceFitter  # an extra: only those who ask for erasure need it
    rows = known_rows(sample, torch.float64)
    if len(rows) < 2 or not bool(torch.isfinite(rows.z).all()):
        raise TrainingError("leace: needs two samples or more whose attribute is known, and features that are finite")
    z, c = rows.z.detach(), _standardised(encode_attribute(rows.c, n_classes, torch.float64))
    fitter = LeaceFitter(
        z.shape[1],
        c.shape[1],
        device=z.device,
        dtype=torch.float64,
        shrinkage=False,  # exact on these samples
        constrain_cov_trace=False,  # the constrained solution no longer erases
        svd_tol=_TOLERANCE,
    )
    if rows.weight is None:
        fitter.update(z, c)
    else:
        _weigh(fitter, z, c, normal_weight(z, rows.weight))
    eraser = fitter.eraser
    bias = z.new_zeros(z.shape[1]) if eraser.bias is None else eraser.bias
    return LinearEraser(eraser.P.to(sample.z.dtype), (bias - eraser.P @ bias).to(sample.z.dtype))


def _standardised(c: Tensor) -> Tensor:
    """c with columns of unit deviation, so that the tolerance means the same for every class."""
    deviation = c.std(dim=0, unbiased=False)
    return (c - c.mean(dim=0)) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _weigh(fitter: object, z: Tensor, c: Tensor, weight: Tensor) -> None:
    """Give the library's fitter weighted moments, as its `update` would have gathered them."""
    n = len(z)
    mean_z, mean_c = weight @ z, weight @ c
    weighted = (z - mean_z).T * weight
    moments = {
        "n": torch.tensor(n, device=z.device),
        "mean_x": mean_z,
        "mean_z": mean_c,
        "sigma_xx_": (n - 1) * (weighted @ (z - mean_z)),
        "sigma_xz_": (n - 1) * (weighted @ (c - mean_c)),
    }
    for name, value in moments.items():
        setattr(fitter, name, value)
