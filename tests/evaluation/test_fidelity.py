from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.backbone.spectrum import effective_rank
from mibias_cli.evaluation.fidelity import compare_features, linear_cka
from mibias_cli.evaluation.inputs import Features


def hsic_cka(a: np.ndarray, b: np.ndarray) -> float:
    """The same by its other form: centred Gram matrices."""
    n = len(a)
    centre = np.eye(n) - 1 / n
    k, m = centre @ (a @ a.T) @ centre, centre @ (b @ b.T) @ centre
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_effective_rank_of_known_spectra() -> None:
    g = np.random.default_rng(0)
    z, _ = np.linalg.qr(g.normal(size=(500, 6)) - g.normal(size=6))
    z = np.linalg.qr(z - z.mean(axis=0))[0]  # six orthonormal columns of mean 0
    assert effective_rank(z) == pytest.approx(6)
    assert effective_rank(z[:, :3]) == pytest.approx(3)
    weights = np.sqrt(np.array([0.5, 0.25, 0.25]))
    assert effective_rank(z[:, :3] * weights) == pytest.approx(2**1.5)  # exp of 1.5 bits
    assert effective_rank(z[:4]) <= 3.0 + 1e-9  # n < d


@pytest.mark.parametrize("level", [0.0, 3.7])
def test_constant_features_have_rank_zero_even_after_float32_rounding(level: float) -> None:
    z = np.full((50, 8), level, dtype=np.float32)
    z[::2] *= np.float32(1 + 1e-7)
    assert effective_rank(z) == 0.0
    assert linear_cka(z, np.random.default_rng(0).normal(size=(50, 3))) == 0.0


def test_cka_equals_its_gram_form_and_knows_no_rotation_or_scale() -> None:
    g = np.random.default_rng(1)
    a, b = g.normal(size=(80, 5)), g.normal(size=(80, 9))
    b[:, :2] += a[:, :2]
    assert linear_cka(a, b) == pytest.approx(hsic_cka(a, b), abs=1e-12)
    rotation = np.linalg.qr(g.normal(size=(5, 5)))[0]
    assert linear_cka(a, 1e-9 * (a @ rotation + 4.0)) == pytest.approx(1.0, abs=1e-6)


def test_comparison_without_before() -> None:
    z = np.random.default_rng(2).normal(size=(30, 4))
    found = compare_features(None, Features(train=z[:0], audit=z))
    assert (found.n_features_before, found.effective_rank_before, found.cka) == (None, None, None)
    assert found.n_features_after == 4
