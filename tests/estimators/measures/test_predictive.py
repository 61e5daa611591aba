from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mibias_cli.estimators.measures import predictive


def test_cross_entropy_bound_against_sklearn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    c = torch.randint(0, 3, (60,), generator=generator)  # class 3 never occurs
    weight = torch.rand(60, generator=generator, dtype=torch.float64)
    p = np.array([(weight[c == k].sum() / weight.sum()).item() for k in range(3)])
    loss = log_loss(c, torch.softmax(logits, 1).numpy(), sample_weight=weight.numpy(), labels=[0, 1, 2, 3])
    expected = -(p * np.log(p)).sum() - loss
    assert predictive.cross_entropy_bound(logits, c, weight).item() == pytest.approx(expected, abs=1e-10)


def test_a_perfect_classifier_reaches_the_entropy_and_a_wrong_one_goes_below_zero() -> None:
    c = torch.tensor([0, 1, 1, 2])
    sure = 1e3 * torch.nn.functional.one_hot(c, 3).float()
    assert predictive.cross_entropy_bound(sure, c).item() == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert predictive.cross_entropy_bound(sure.roll(1, dims=1), c).item() < -900


def test_explained_share_is_the_gaussian_formula_and_finite_at_its_ends() -> None:
    one = torch.tensor(1.0, dtype=torch.float64)
    for rho in (0.0, 0.3, 0.9):
        value = predictive.explained_share_nats(one - rho**2, one, one, floor=1e-12).item()
        assert value == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-9)
    perfect = predictive.explained_share_nats(0 * one, one, one).item()
    assert perfect == pytest.approx(0.5 * math.log(1001))
    assert -7 < predictive.explained_share_nats(1e5 * one, one, one).item() < -5
    assert predictive.explained_share_nats(3 * one, 0 * one, 0 * one).item() == 0.0


def test_frequencies_given_are_smoothed_weighted_counts() -> None:
    c, y = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1])
    weight = torch.tensor([1.0, 3.0, 2.0, 2.0], dtype=torch.float64)
    prior = np.array([3, 5]) / 8
    counts = np.array([[1, 3], [2, 2], [0, 0]]) / 2 + prior
    found = predictive.frequencies_given(c, y, 2, 3, 10 * weight)
    np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True), atol=1e-3)


def test_cross_entropy_gain_is_the_difference_of_two_log_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    c, y = torch.randint(0, 3, (60,), generator=generator), torch.randint(0, 2, (60,), generator=generator)
    weight = torch.rand(60, generator=generator, dtype=torch.float64)
    p = predictive.frequencies_given(c, y, 3, 2)
    options = {"sample_weight": weight.numpy(), "labels": [0, 1, 2]}
    expected = log_loss(c, p[y].numpy(), **options) - log_loss(c, torch.softmax(logits, 1).numpy(), **options)
    assert predictive.cross_entropy_gain(logits, c, y, p, weight).item() == pytest.approx(expected, abs=1e-10)


def test_gain_over_a_reference_is_what_an_independent_expert_adds() -> None:
    """x and c are independent given y, and p(x|y), p(y|c) are known: log p(x|y) gains I(x; y | c), by counting."""
    given_c = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)  # p(y|c), p(c) = 1/2
    given_y = torch.tensor([[0.7, 0.3], [0.25, 0.75]], dtype=torch.float64)  # p(x|y)
    joint = (0.5 * given_c)[:, :, None] * given_y[None]  # p(c, y, x)
    counts = (joint * 1e5).round().long()
    cell = torch.tensor([(c, y, x) for c in range(2) for y in range(2) for x in range(2)])
    c, y, x = cell.repeat_interleave(counts.reshape(-1), dim=0).T
    p_cx = joint.sum(dim=1, keepdim=True)
    p_cy, p_c = joint.sum(dim=2, keepdim=True), joint.sum(dim=(1, 2), keepdim=True)
    truth = (joint * (joint * p_c / (p_cx * p_cy)).log()).sum().item()
    prior = (0.5 * given_c).sum(dim=0)
    expert, reference = (given_y.T.log() + prior.log())[x], given_c.log()[c]
    assert predictive.gain_over_reference(expert, y, reference)[0].item() == pytest.approx(truth, abs=1e-4)
    # scores that take all classes for equally frequent
    likelihood = given_y.T.log()[x]
    gain = predictive.gain_over_reference(likelihood, y, reference, uniform_prior=True)[0]
    assert gain.item() == pytest.approx(truth, abs=1e-4)
    # the temperature is found: nobody knows how sure the scores are
    assert predictive.gain_over_reference(0.2 * expert, y, reference)[0].item() == pytest.approx(truth, abs=1e-4)
    # the error is that of a mean over rows, by a second way
    _, error = predictive.gain_over_reference(expert, y, reference)
    losses = torch.nn.functional.cross_entropy(expert + reference - prior.log(), y, reduction="none").numpy()
    assert error.item() == pytest.approx(np.std(losses) / np.sqrt(len(losses)), rel=1e-2)
    # what c says already, and noise, add nothing
    assert predictive.gain_over_reference(reference, y, reference)[0].item() == pytest.approx(0.0, abs=1e-4)
    noise = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(0))
    assert predictive.gain_over_reference(noise, y, reference)[0].item() == pytest.approx(0.0, abs=1e-4)
    # a blend of both adds less than the evidence alone
    assert predictive.gain_over_reference(expert + 2 * reference, y, reference)[0].item() < 0.8 * truth
