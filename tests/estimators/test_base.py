"""What estimators inherit: moving with their optimizer, and how little a new one takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from known_mi import Independent, MeanShift, make_spec, to_sample
from torch import Tensor

from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.kernel import NoCritic
from mibias_cli.estimators.protocol import EstimatorSpec

SAMPLE = to_sample(MeanShift(means=[0.0, 2.0], d=2).draw(200, seed=0))


def test_moving_takes_the_optimizer_state_along() -> None:
    estimator = ClassifierBound(make_spec(n_features=2, n_classes=(2,), beta1=0.5, steps=3))
    estimator.fit(SAMPLE, torch.Generator())
    before = [state["exp_avg"].clone() for state in estimator.optimizer.state.values()]
    estimator.to(torch.device("cpu"), torch.float64)
    moved = [estimator.optimizer.state[p] for p in estimator.critic.parameters()]
    assert all(state["exp_avg"].dtype == torch.float64 and float(state["step"]) == 3 for state in moved)
    assert all(torch.equal(a.double(), state["exp_avg"]) for a, state in zip(before, moved, strict=True))
    assert estimator.optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    estimator.fit(SAMPLE, torch.Generator())
    assert all(float(estimator.optimizer.state[p]["step"]) == 6 for p in estimator.critic.parameters())


def _energy(z: Tensor, c: Tensor, weight: Tensor | None) -> Tensor:
    w = z.new_ones(len(z)) if weight is None else weight
    shares = c * w[:, None] / (w @ c)
    means = shares.T @ torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") @ shares
    return (2 * means - means.diagonal()[:, None] - means.diagonal()[None, :]).sum()


def energy(spec: EstimatorSpec) -> NoCritic:
    """Energy distance between the attribute's groups."""
    return NoCritic(spec, _energy, bins=True)


@pytest.mark.parametrize("given", [False, True])
def test_a_new_measure_is_one_function(given: bool) -> None:
    estimator = energy(make_spec(n_features=2, n_classes=(2,), given_target=given, n_targets=2))
    sample = replace(SAMPLE, y=torch.arange(200) % 2)
    z = sample.z.clone().requires_grad_()
    estimator.penalty(replace(sample, z=z), torch.Generator()).backward()
    assert z.grad is not None
    assert (z.grad != 0).any()
    nothing = replace(to_sample(Independent(n_classes=2, d=2).draw(200, seed=0)), y=sample.y)
    assert estimator.estimate(nothing, torch.Generator()) < 0.1 * estimator.estimate(sample, torch.Generator())
