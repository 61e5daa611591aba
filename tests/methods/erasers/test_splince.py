"""SPLINCE: the theorem's two properties, its closed form from bases, and LEACE where there is nothing to keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import null_space, orth

from mibias_cli.errors import TrainingError
from mibias_cli.methods.erasers.linear_eraser import LeaceFit
from mibias_cli.methods.erasers.splince import SplinceFit

N, D = 2000, 8


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features far from 0 that carry y of three classes and c of two, which depend on each other."""
    g = np.random.default_rng(seed)
    c = g.integers(2, size=N)
    y = np.where(g.random(N) < 0.7, c, g.integers(3, size=N))
    z = g.standard_normal((N, D)) @ g.standard_normal((D, D)) + 100
    z[:, :3] += 2 * np.eye(3)[y]
    z[:, 2:4] += 3 * np.eye(2)[c]
    columns = (np.eye(2)[c] - np.eye(2)[c].mean(0), np.eye(3)[y] - np.eye(3)[y].mean(0))
    return torch.from_numpy(z), *(torch.from_numpy(one) for one in columns)


def covariance(z: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    return (z - z.mean(dim=0)).T @ columns / len(z)


def eraser(z: torch.Tensor, c: torch.Tensor, y: torch.Tensor) -> torch.nn.Module:
    fit = SplinceFit(z.shape[1], c.shape[1])
    for start in range(0, len(z), 300):
        fit.add(z[start : start + 300], torch.cat([c, y], dim=1)[start : start + 300])
    return fit.eraser(torch.float64)


def test_nothing_linear_of_c_is_left_and_all_that_covaries_with_y_is() -> None:
    z, c, y = drawn()
    erased = eraser(z, c, y)(z)
    assert float(covariance(z, c).abs().max()) > 0.3
    assert float(covariance(erased, c).abs().max()) < 1e-9
    torch.testing.assert_close(covariance(erased, y), covariance(z, y), rtol=0, atol=1e-9)
    torch.testing.assert_close(erased.mean(dim=0), z.mean(dim=0), rtol=0, atol=1e-9)
    # LEACE takes of y what c shares with it
    leace = LeaceFit(D, 2)
    leace.add(z, c)
    assert float((covariance(leace.eraser(torch.float64)(z), y) - covariance(z, y)).abs().max()) > 0.1


def test_the_matrix_is_the_closed_form_of_the_paper() -> None:
    """P = W⁺ V (Uᵀ V)⁻¹ Uᵀ W with explicit bases: U of what is orthogonal to W Σ_zc, V of W Σ_zy and of the rest."""
    z, c, y = drawn()
    x = z.numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    whitening, back = vectors / np.sqrt(values) @ vectors.T, vectors * np.sqrt(values) @ vectors.T
    of_c, of_y = (orth(whitening @ covariance(z, one).numpy(), rcond=1e-9) for one in (c, y))
    u = null_space(of_c.T)
    v = np.hstack([of_y, null_space(np.hstack([of_c, of_y]).T)])
    expected = back @ v @ np.linalg.inv(u.T @ v) @ u.T @ whitening
    found = eraser(z, c, y)
    assert isinstance(found.weight, torch.Tensor)
    np.testing.assert_allclose(found.weight.numpy(), expected, atol=1e-8)


def test_without_a_share_in_common_it_is_leace() -> None:
    z, c, _ = drawn()
    leace = LeaceFit(D, 2)
    leace.add(z, c)
    torch.testing.assert_close(eraser(z, c, torch.zeros(N, 1))(z), leace.eraser(torch.float64)(z), rtol=0, atol=1e-6)


def test_a_target_that_is_the_attribute_is_erased_with_it() -> None:
    z, c, _ = drawn()
    assert float(covariance(eraser(z, c, c)(z), c).abs().max()) < 1e-9


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingError, match="splince: features are not finite"):
        SplinceFit(1, 1).add(torch.tensor([[float("nan")]]), torch.ones(1, 2))
