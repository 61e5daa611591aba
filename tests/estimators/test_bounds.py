from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mibias_cli.estimators import bounds


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


def test_cross_entropy_bound_against_sklearn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    c = torch.randint(0, 3, (60,), generator=generator)  # class 3 never occurs
    weight = torch.rand(60, generator=generator, dtype=torch.float64)
    p = np.array([(weight[c == k].sum() / weight.sum()).item() for k in range(3)])
    loss = log_loss(c, torch.softmax(logits, 1).numpy(), sample_weight=weight.numpy(), labels=[0, 1, 2, 3])
    expected = -(p * np.log(p)).sum() - loss
    assert bounds.cross_entropy_bound(logits, c, weight).item() == pytest.approx(expected, abs=1e-10)


def test_a_perfect_classifier_reaches_the_entropy_and_a_wrong_one_goes_below_zero() -> None:
    c = torch.tensor([0, 1, 1, 2])
    sure = 1e3 * torch.nn.functional.one_hot(c, 3).float()
    assert bounds.cross_entropy_bound(sure, c).item() == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert bounds.cross_entropy_bound(sure.roll(1, dims=1), c).item() < -900


def test_explained_share_is_the_gaussian_formula_and_finite_at_its_ends() -> None:
    one = torch.tensor(1.0, dtype=torch.float64)
    for rho in (0.0, 0.3, 0.9):
        value = bounds.explained_share_nats(one - rho**2, one, one, floor=1e-12).item()
        assert value == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-9)
    perfect = bounds.explained_share_nats(0 * one, one, one).item()
    assert perfect == pytest.approx(0.5 * math.log(1001))
    assert -7 < bounds.explained_share_nats(1e5 * one, one, one).item() < -5
    assert bounds.explained_share_nats(3 * one, 0 * one, 0 * one).item() == 0.0
