from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mibias_cli.estimators.measures import bounds


def _scores(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_donsker_varadhan_is_the_formula_with_and_without_weights() -> None:
    joint, marginal = _scores(50, 0), _scores(70, 1)
    u, v = _scores(50, 2).exp(), _scores(70, 3).exp()
    plain = joint.numpy().mean() - np.log(np.exp(marginal.numpy()).mean())
    assert bounds.donsker_varadhan(joint, marginal).item() == pytest.approx(plain, abs=1e-12)
    weighted = np.average(joint.numpy(), weights=u.numpy()) - np.log(
        np.average(np.exp(marginal.numpy()), weights=v.numpy())
    )
    assert bounds.donsker_varadhan(joint, marginal, u, v).item() == pytest.approx(weighted, abs=1e-12)


def test_weights_are_normalised_and_a_whole_weight_repeats_a_row() -> None:
    joint, marginal = _scores(4, 0), _scores(4, 1)
    w = torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    repeated = [0, 1, 1, 3]
    value = bounds.donsker_varadhan(joint, marginal, w * 7, w / 3)
    assert value.item() == pytest.approx(bounds.donsker_varadhan(joint[repeated], marginal[repeated]).item(), abs=1e-12)


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_extreme_scores_neither_overflow_nor_lose_their_gradient(size: float) -> None:
    joint = torch.full((8,), size, requires_grad=True)
    marginal = torch.full((8,), size, requires_grad=True)
    weight = torch.ones(8)
    value = bounds.donsker_varadhan(joint, marginal, weight, weight)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-3 * size)
    assert marginal.grad is not None
    # float32 resolves a score of 1e4 to 1e-3 only
    torch.testing.assert_close(marginal.grad, torch.full((8,), -1 / 8), rtol=1e-3, atol=0.0)
    average = torch.tensor(-math.inf)
    for _ in range(3):
        surrogate, average = bounds.mine_surrogate(joint, marginal, average, 0.99)
        assert torch.isfinite(surrogate)
        assert torch.isfinite(average)
    # A jump of 2 · size in the exponent: the ratio stays below 1 / (1 − decay).
    surrogate, average = bounds.mine_surrogate(-joint, marginal, torch.tensor(-size), 0.99)
    assert torch.isfinite(surrogate)
    assert surrogate.item() >= -size - 101


def test_mine_gradient_divides_by_the_moving_average() -> None:
    decay, w, v = 0.9, _scores(30, 4).exp(), _scores(40, 5).exp()
    average, reference = torch.tensor(-math.inf, dtype=torch.float64), None
    for seed in range(4):
        joint = _scores(30, 10 + seed).requires_grad_()
        marginal = _scores(40, 20 + seed).requires_grad_()
        surrogate, average = bounds.mine_surrogate(joint, marginal, average, decay, w, v)
        surrogate.backward()
        exp = np.exp(marginal.detach().numpy())
        mean = np.average(exp, weights=v.numpy())
        reference = mean if reference is None else decay * reference + (1 - decay) * mean
        assert average.item() == pytest.approx(np.log(reference), abs=1e-12)
        assert marginal.grad is not None
        assert joint.grad is not None
        np.testing.assert_allclose(marginal.grad, -(v / v.sum()).numpy() * exp / reference, rtol=1e-12)
        np.testing.assert_allclose(joint.grad, (w / w.sum()).numpy(), rtol=1e-12)


def test_first_mine_gradient_is_that_of_the_plain_bound() -> None:
    joint, marginal = _scores(20, 0).requires_grad_(), _scores(20, 1).requires_grad_()
    plain = torch.autograd.grad(bounds.donsker_varadhan(joint, marginal), [joint, marginal])
    empty = torch.tensor(-math.inf, dtype=torch.float64)
    corrected = torch.autograd.grad(bounds.mine_surrogate(joint, marginal, empty, 0.99)[0], [joint, marginal])
    torch.testing.assert_close(plain, corrected)


def _pairs(
    scores: np.ndarray, w: np.ndarray, group: np.ndarray, diagonal: bool
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Joint weights and (i, j, weight) of every marginal pair, by loops."""
    n = len(scores)
    partners = [[j for j in range(n) if group[j] == group[i] and (diagonal or j != i)] for i in range(n)]
    alone = [sum(group == group[i]) == 1 for i in range(n)]
    joint = np.array([0.0 if alone[i] else w[i] for i in range(n)])
    joint /= joint.sum()
    pairs = [
        (i, j, joint[i] * w[j] / sum(w[k] for k in partners[i])) for i in range(n) if not alone[i] for j in partners[i]
    ]
    return joint, pairs


def _by_loops(name: str, s: np.ndarray, u: np.ndarray, w: np.ndarray, group: np.ndarray) -> float:
    joint, pairs = _pairs(s, w, group, name == "infonce")
    mean_joint = float(joint @ np.diag(s))
    if name == "dv":
        return mean_joint - math.log(sum(p * math.exp(s[i, j]) for i, j, p in pairs))
    if name == "nwj":
        return mean_joint - sum(p * math.exp(s[i, j] - 1) for i, j, p in pairs)
    if name == "js":
        return mean_joint + 1 - sum(p * math.exp(s[i, j]) for i, j, p in pairs)
    if name == "js_objective":
        own = joint @ np.log(1 / (1 + np.exp(-np.diag(s))))
        return float(own + sum(p * math.log(1 - 1 / (1 + math.exp(-s[i, j]))) for i, j, p in pairs))
    if name == "smile":
        return mean_joint - math.log(
            sum(p * min(max(math.exp(s[i, j]), math.exp(-0.7)), math.exp(0.7)) for i, j, p in pairs)
        )
    rows = [i for i in range(len(s)) if joint[i] > 0]
    if name == "infonce":
        rest = {i: sum(p / joint[i] * math.exp(s[i, j]) for k, j, p in pairs if k == i) for i in rows}
        return sum(joint[i] * math.log(math.exp(s[i, i]) / rest[i]) for i in rows)
    rest = {i: sum(p / joint[i] * math.exp(s[i, j] - s[i, i]) for k, j, p in pairs if k == i) for i in rows}
    return 1 - sum(joint[i] * (u[i] + math.exp(-u[i]) * rest[i]) for i in rows)


@pytest.mark.parametrize("name", ["dv", "nwj", "js", "js_objective", "infonce", "smile", "flo"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_bounds_of_a_score_matrix_are_their_formulas(name: str, weighted: bool, grouped: bool) -> None:
    n = 9
    scores, dual = _scores(n * n, 0).reshape(n, n), _scores(n, 1)
    weight = _scores(n, 2).exp() if weighted else None
    group = torch.tensor([0, 1, 0, 2, 1, 0, 1, 0, 1]) if grouped else None  # row 3 has no partner
    extra = {"smile": (0.7,), "flo": (dual,)}.get(name, ())
    value = getattr(bounds, name)(scores, *extra, weight=weight, group=group).item()
    w = np.ones(n) if weight is None else weight.numpy()
    g = np.zeros(n) if group is None else group.numpy()
    assert value == pytest.approx(_by_loops(name, scores.numpy(), dual.numpy(), w, g), abs=1e-12)


@pytest.mark.parametrize("name", ["dv", "nwj", "js", "infonce", "smile", "flo"])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_at_the_true_density_ratio_a_bound_is_the_information(name: str, rho: float) -> None:
    """A value that is a nat off, as NWJ easily is, fails here.

    Mean of 40 batches of 200; the spread between batches gives the standard error: five of them, a false alarm of 6e-7.
    """
    values = []
    for seed in range(40):
        c, noise = np.random.default_rng(seed).standard_normal((2, 200))
        z = rho * c + math.sqrt(1 - rho**2) * noise
        square = (z[:, None] ** 2 + c[None] ** 2 - 2 * rho * z[:, None] * c[None]) / (1 - rho**2)
        ratio = -0.5 * math.log(1 - rho**2) - 0.5 * (square - z[:, None] ** 2 - c[None] ** 2)
        scores = torch.from_numpy(ratio)
        extra = {"flo": (-scores.diagonal(),)}.get(name, ())
        values.append(getattr(bounds, name)(scores + (name == "nwj"), *extra).item())
    error = np.std(values) / math.sqrt(40)
    assert error < 0.02
    assert np.mean(values) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=5 * error + 0.01)


def test_a_weight_of_zero_leaves_a_row_out() -> None:
    scores = _scores(36, 0).reshape(6, 6)
    weight = torch.tensor([1.0, 1, 0, 1, 0, 1], dtype=torch.float64)
    kept = weight.nonzero().flatten()
    smaller = scores[kept][:, kept]
    for name in ("dv", "nwj", "js", "js_objective", "infonce", "smile"):
        bound = getattr(bounds, name)
        assert bound(scores, weight=weight).item() == pytest.approx(bound(smaller).item(), abs=1e-12)
        scores.requires_grad_()
        (g,) = torch.autograd.grad(bound(scores, weight=weight), scores)
        assert torch.isfinite(g).all()
        assert (g[2] == 0).all()
        scores = scores.detach()
