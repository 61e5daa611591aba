"""What attributes say of a target's numbers: the product of experts of `debias.bias_product`, as Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from mibias_cli.backbone.embed import embed
from mibias_cli.seeds import derived_generator

if TYPE_CHECKING:
    from mibias_cli.run.assemble import Parts

__all__ = ["gaussian_offset", "number_offset"]

Numbers = NDArray[np.float64]
_L2 = np.logspace(-1, 6, 15)
_MOST_ROWS = 2000
_LEAST_PRECISION = 1.25
"""That of a prediction with R² = .2: below it numbers would be stretched without bound."""
_ROWS = 0x60F5


def number_offset(
    parts: Parts, c: NDArray[np.int64], known: NDArray[np.bool_], share: float | Literal["auto"], *, least: float
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """What is added to predictions of the training rows' numbers (n, k), and what to note of it; see `gaussian_offset`.

    What the attributes say is a linear regression on their values, what features say one on the features that the
    backbone has before training, of 2,000 rows at most.

    Args:
        parts: Those of a recipe whose target is of kind regression.
        c: Classes of the debiased attributes (n, channels).
        known: Rows where all are known (n,); nothing is added to the others.
        share: How much of what the attributes say is added; auto: the R² of the attributes alone, at least `least`.
    """
    train = parts.data.train
    y, names = train.y.astype(np.float64), parts.data.target.columns
    values = np.concatenate([channel[:, None] == np.unique(channel) for channel in c.T], axis=1).astype(np.float64)
    rows = np.flatnonzero(known)
    rows = np.sort(derived_generator(parts.recipe.seed, _ROWS).permutation(rows)[:_MOST_ROWS])
    found = embed(parts.first_model().extractor, train, rows=rows, **parts.reading).backbone_features
    deviation = found.std(axis=0)
    both = np.concatenate([found / np.where(deviation > 0, deviation, 1), values[rows]], axis=1)
    offset, notes = np.zeros(y.shape, dtype=np.float32), []
    for k, name in enumerate(names):
        of_c = _regression(values[rows], y[rows, k])
        mean, variance = of_c.predict(values), _error(of_c)
        precision = max(_LEAST_PRECISION, 1 / _error(_regression(both, y[rows, k])) - 1 / variance + 1)
        part = max(least, 1 - variance) if share == "auto" else share
        added = gaussian_offset(y[:, k], mean, variance=variance, precision=precision, share=part)
        offset[:, k] = np.where(known, added, 0)
        notes.append(
            f"bias_product of '{name}': the attributes alone tell {1 - variance:.2f} of its variance, "
            f"and features {1 - 1 / precision:.2f} where they are balanced"
        )
    return offset, tuple(notes)


def gaussian_offset(y: Numbers, mean: Numbers, *, variance: float, precision: float, share: float) -> Numbers:
    """What is added to predictions f of standardised numbers y (n,), so that f need not know the attributes.

    Where y and c are independent, y is of N(0, 1), and f is to be its mean given the features, with precision A: the
    features have the likelihood of a Gaussian with natural parameters A f and A − 1. With the share s of
    log p(y|c) − log p(y), where y given c is of N(μ, σ²), y has by Bayes' rule the precision P = A + s (1 / σ² − 1)
    and the mean (A f + s μ / σ²) / P. That fits y where f fits t = (P y − s μ / σ²) / A, and f + (y − t) fits y.

    Args:
        mean, variance: μ (n,) and σ².
        precision: A, of 1 and more.
        share: s.

    Example:
        >>> y, mean = np.array([1.0, 1.0]), np.array([0.0, 0.8])
        >>> gaussian_offset(y, mean, variance=1.0, precision=2.0, share=0.0).tolist()
        [0.0, 0.0]
        >>> gaussian_offset(y, mean, variance=1.0, precision=2.0, share=1.0).tolist()
        [0.0, 0.4]
    """
    whole = precision + share * (1 / variance - 1)
    return y - (whole * y - share * mean / variance) / precision


def _regression(x: NDArray[np.floating], y: Numbers) -> RidgeCV:
    """Of y (n,) on x (n, d), with the L2 penalty under which rows that are left out have the least error."""
    return RidgeCV(alphas=_L2, store_cv_results=True).fit(x, y)


def _error(fitted: RidgeCV) -> float:
    """Mean squared error of rows that were left out of the fit, one at a time."""
    return max(float(fitted.cv_results_.mean(axis=0).min()), 1e-3)
