"""Adjusted correlations under weights, by loops over columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mibias_cli.estimators.measures.canonical import squared_correlations


@pytest.mark.parametrize("n_groups", [1, 4])
def test_squared_correlations_are_adjusted_by_the_effective_sample_size(n_groups: int) -> None:
    g = np.random.default_rng(0)
    f, w = g.standard_normal((50, 3)), g.uniform(0.5, 2, 50)
    h = f + g.standard_normal((50, 3))
    h[:, 2] = 0.0  # constant
    share = w / w.sum()
    f, h = f - share @ f, h - share @ h
    size = w.sum() ** 2 / (w**2).sum()
    expected = []
    for k in range(2):
        covariance = np.cov(f[:, k], h[:, k], aweights=w, ddof=0)
        square = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
        expected.append(square - (1 - square) / (size - n_groups - 1))
    found = squared_correlations(torch.from_numpy(f), torch.from_numpy(h), torch.from_numpy(w), n_groups)
    np.testing.assert_allclose(found.numpy(), [*expected, 0.0], atol=1e-12)
