"""Ridge regression in float64, for what is solved anew at every step."""

from __future__ import annotations

import torch
from torch import Tensor

from mibias_cli.errors import TrainingError

__all__ = ["ridge_factor", "ridge_solution", "to_float64"]


def to_float64(a: Tensor) -> Tensor:
    """A tensor in float64, on the CPU where its device has none."""
    return a.to(torch.device("cpu") if a.device.type == "mps" else a.device, torch.float64)


def ridge_factor(covariance: Tensor, ridge: float) -> Tensor:
    """Lower Cholesky factor of a finite covariance (f, f) in float64 plus `ridge` times its mean variance."""
    variance = covariance.diagonal().mean()
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    for attempt in range(6):
        # The second term makes constant features solvable; what rounding left indefinite is tried again with more.
        added = variance * ridge * 10**attempt + torch.finfo(torch.float64).tiny
        factor, failed = torch.linalg.cholesky_ex(covariance + added * eye)
        if not bool(failed):
            return factor
    raise TrainingError(
        "the regression on the queue cannot be solved, the representation holds values that are not finite; lower "
        "training.learning_rate or debias.weight, or lengthen debias.warmup_epochs"
    )


def ridge_solution(features: Tensor, targets: Tensor, weight: Tensor, ridge: float) -> Tensor:
    """Weighted ridge regression of centred targets on centred features, solved by Cholesky in float64.

    Of features (n, f), targets (n, t) and weights (n,) that sum to 1; `ridge` is a share of the mean variance.
    Coefficients (f, t) are in the features' floating type.

    Raises:
        TrainingError: The features are not finite.
    """
    # (Xᵀ W X + ridge) B = Xᵀ W Y: only products of the size of the features are in float64
    weighted = (features * weight[:, None]).T
    factor = ridge_factor(to_float64(weighted @ features), ridge)
    return torch.cholesky_solve(to_float64(weighted @ targets), factor).to(features.device, features.dtype)
