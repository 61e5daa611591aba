from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.measures.ridge import ridge_solution


def test_ridge_solution_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    x, t, w = rng.standard_normal((50, 6)), rng.standard_normal((50, 3)), rng.uniform(0.2, 2.0, 50)
    w /= w.sum()
    x -= w @ x
    t -= w @ t
    strength = 0.3 * float((w @ x**2).mean())
    reference = Ridge(alpha=strength, fit_intercept=False).fit(x, t, sample_weight=w).coef_.T
    solution = ridge_solution(torch.from_numpy(x), torch.from_numpy(t), torch.from_numpy(w), 0.3)
    np.testing.assert_allclose(solution, reference, rtol=1e-9, atol=1e-12)


def test_ridge_on_collinear_or_constant_features_is_solved() -> None:
    column = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    w = torch.full((30,), 1 / 30)
    for x in (column.expand(30, 40).contiguous(), torch.zeros(30, 4)):
        assert torch.isfinite(ridge_solution(x, column, w, 1e-12)).all()


def test_features_that_are_not_finite_are_the_users_to_know() -> None:
    x = torch.full((5, 2), torch.nan)
    with pytest.raises(TrainingError, match="not finite"):
        ridge_solution(x, x, torch.full((5,), 0.2), 1e-2)
