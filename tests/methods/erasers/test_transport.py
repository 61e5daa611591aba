"""Transport: its closed form by scipy, its map by loops, and biases that LEACE leaves and it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mibias_cli.errors import TrainingError
from mibias_cli.methods.erasers.linear_eraser import LeaceFit
from mibias_cli.methods.erasers.shared_groups import shared_groups
from mibias_cli.methods.erasers.transport import TransportEraser, TransportFit, barycentre, transport_map

N = 3000
Array = NDArray[np.float64]
Draw = Callable[[int], tuple[Array, Array, Array]]


def fitted(z: Array, c: Array, **options: float) -> TransportEraser:
    fit = TransportFit(z.shape[1], **options)
    for start in range(0, len(z), 700):
        rows = slice(start, start + 700)
        fit.add(torch.from_numpy(z[rows]), torch.from_numpy(c[rows])[:, None])
    return fit.eraser(torch.float64)


def leakage_bits(z: Array, c: Array) -> float:
    """What a quadratic probe, fitted on one half, gains over H(c) on the other, in bits, of classes as frequent."""
    half = len(z) // 2
    x = PolynomialFeatures(2, include_bias=False).fit_transform(z)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(x[:half], c[:half])
    loss = log_loss(c[half:], probe.predict_proba(x[half:]))
    return float(np.log2(c.max() + 1) - loss / np.log(2))


def variances(seed: int) -> tuple[Array, Array, Array]:
    """c is told by which of two blocks of six features is loud, and y by the mean of two others."""
    g = np.random.default_rng(seed)
    c, y = g.integers(2, size=N), g.integers(2, size=N)
    z = g.standard_normal((N, 14))
    z[:, :6] *= np.where(c == 1, 5.0, 1.0)[:, None]
    z[:, 6:12] *= np.where(c == 0, 5.0, 1.0)[:, None]
    z[:, 12:] += 20 * y[:, None]
    return z, c, y


def products(seed: int) -> tuple[Array, Array, Array]:
    """c is the sign by which the features of six pairs correlate, and y moves two others."""
    g = np.random.default_rng(seed)
    c, y = g.integers(2, size=N), g.integers(2, size=N)
    z = g.standard_normal((N, 14))
    z[:, 6:12] = 0.9 * np.where(c == 1, 1, -1)[:, None] * z[:, :6] + 0.44 * z[:, 6:12]
    z[:, 12:] += 4 * y[:, None]
    return z, c, y


@pytest.mark.parametrize("drawn", [variances, products])
def test_what_leace_leaves_of_a_bias_that_is_not_linear_is_erased(drawn: Draw) -> None:
    (z, c, _), (new, new_c, new_y) = drawn(0), drawn(1)
    leace = LeaceFit(z.shape[1], 2)
    leace.add(torch.from_numpy(z), torch.from_numpy(np.eye(2)[c] - np.eye(2)[c].mean(axis=0)))
    linear = leace.eraser(torch.float64)(torch.from_numpy(new)).numpy()
    erased = fitted(z, c)(torch.from_numpy(new)).numpy()
    assert leakage_bits(linear, new_c) > 0.7
    assert leakage_bits(erased, new_c) < 0.25
    half = N // 2
    assert LogisticRegression().fit(erased[:half], new_y[:half]).score(erased[half:], new_y[half:]) > 0.95


def test_the_same_features_and_seed_give_the_same_eraser() -> None:
    z, c, _ = variances(0)
    first, second = (fitted(z, c, seed=1).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in TransportEraser.NAMES)


def test_half_the_strength_is_half_the_way() -> None:
    z, c, _ = variances(0)
    x = torch.from_numpy(z)
    whole, half, none = (fitted(z, c, strength=s)(x) for s in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (x + whole) / 2, rtol=0, atol=1e-9)
    torch.testing.assert_close(none, x, rtol=0, atol=1e-12)


def test_the_map_is_its_equation_row_by_row() -> None:
    z, c, _ = products(2)
    eraser = fitted(z, c, seed=3)
    e = {name: value.numpy() for name, value in eraser.named_buffers()}

    def softmax(scores: Array) -> Array:
        grown = np.exp(scores - scores.max())
        return np.asarray(grown / grown.sum())

    for row in z[:5]:
        x = e["basis"].T @ ((row - e["mean"]) / e["scale"])
        squares = (e["squared"].T @ x) ** 2
        p = softmax(np.concatenate([x, squares, [1]]) @ e["tell_class"])
        q = softmax(np.concatenate([x - p @ e["middles"], [1]]) @ e["tell_group"])
        rest = x.copy()
        for k in range(len(p)):
            for j in range(len(q)):
                rest -= p[k] * q[j] * e["centres"][k, j]
        moved = sum(q[j] * e["common"][j] for j in range(len(q)))
        moved = moved + sum(p[k] * rest @ e["maps"][k] for k in range(len(p)))
        expected = e["basis"] @ moved * e["scale"] + e["mean"]
        np.testing.assert_allclose(eraser(torch.from_numpy(row[None]))[0].numpy(), expected, atol=1e-9)


def covariances(n: int) -> list[Array]:
    g = np.random.default_rng(0)
    return [a @ a.T + np.eye(4) for a in g.standard_normal((n, 4, 4))]


def test_the_map_gives_the_covariance_that_is_wanted_and_is_symmetric() -> None:
    source, wanted = covariances(2)
    found = transport_map(source, wanted)
    np.testing.assert_allclose(found @ source @ found, wanted, atol=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-12)


def test_the_barycentre_is_where_the_mean_map_is_the_identity() -> None:
    """The optimality condition of Agueh and Carlier, by scipy's matrix roots."""
    sources = covariances(3)
    middle = barycentre(sources, 50)
    root = sqrtm(middle)
    np.testing.assert_allclose(np.mean([sqrtm(root @ one @ root) for one in sources], axis=0), middle, atol=1e-8)


def test_groups_are_of_content_where_the_attribute_says_more_about_a_row() -> None:
    """Three contents, 3 apart; either class varies in a direction of its own, which k-means would split."""
    g = np.random.default_rng(0)
    c, content = g.integers(2, size=900), g.integers(3, size=900)
    x = 0.8 * g.standard_normal((900, 8))
    x[:, :3] += 3 * np.eye(3)[content]
    x[np.arange(900), 4 + c] += g.choice([-1.0, 1.0], 900)
    found = shared_groups(x - x.mean(axis=0), c, 3, seed=0)
    table = np.zeros((3, 3))
    np.add.at(table, (found, content), 1)
    assert table.max(axis=1).sum() > 0.95 * 900


def test_rows_that_are_unknown_take_no_part() -> None:
    z, c, _ = products(0)
    some = np.where(np.arange(N) % 3 == 0, -1, c)
    known = some >= 0
    first, second = fitted(z, some), fitted(z[known], c[known])
    x = torch.from_numpy(z[:50])
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=1e-6)


def test_rare_classes_and_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingError, match="a class of the attributes has 3 training rows, and 40 are needed"):
        fitted(np.random.default_rng(0).standard_normal((103, 3)), np.repeat([0, 1], [100, 3]))
    with pytest.raises(TrainingError, match="transport: features are not finite"):
        TransportFit(1).add(torch.tensor([[float("nan")]]), torch.zeros(1, 1))
