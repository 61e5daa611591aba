"""MINE's steps against a second implementation in float64, draw by draw."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from known_mi import Chain, Gaussian, make_spec, to_sample
from torch import Tensor

from mibias_cli.estimators.mine import Mine
from mibias_cli.estimators.protocol import Sample

CPU = torch.device("cpu")


def _mine(seed: int = 0, **options: Any) -> Mine:
    """One hidden layer of four, in float64, for z (n, 2) and two classes or two continuous channels."""
    torch.manual_seed(seed)
    values = {"n_features": 2, "n_classes": (2,), "hidden": (4,), "moving_average": None} | options
    return Mine(make_spec(**values)).to(CPU, torch.float64)


def _scores(parameters: list[Tensor], z: Tensor, c: Tensor) -> Tensor:
    hidden = torch.cat([z, c], dim=1) @ parameters[0].T + parameters[1]
    return (torch.where(hidden > 0, hidden, 0.2 * hidden) @ parameters[2].T + parameters[3])[:, 0]


def _second_implementation(
    sample: Sample, parameters: list[Tensor], steps: int, batch: int | None, decay: float | None, seed: int
) -> list[Tensor]:
    """Plain gradient ascent at rate 0.1 with the gradient written out: joint mean minus tilted marginal mean."""
    g = torch.Generator().manual_seed(seed)
    one_hot = torch.eye(2, dtype=torch.float64)[sample.c[:, 0]]
    weight = torch.ones(len(sample), dtype=torch.float64) if sample.weight is None else sample.weight
    average = 0.0
    for step in range(steps):
        rows = torch.arange(len(sample)) if batch is None else torch.randperm(len(sample), generator=g)[:batch]
        order = torch.randperm(len(rows), generator=g)
        z, c, w = sample.z[rows], one_hot[rows], weight[rows]
        leaves = [p.clone().requires_grad_() for p in parameters]
        joint, marginal = _scores(leaves, z, c), _scores(leaves, z, c[order])
        v = w * w[order]
        present = float((v * marginal.detach().exp()).sum() / v.sum())
        average = present if decay is None or step == 0 else decay * average + (1 - decay) * present
        tilt = (v * marginal.exp()).detach() / v.sum() / average
        objective = (w * joint).sum() / w.sum() - (tilt * marginal).sum()
        parameters = [p + 0.1 * d for p, d in zip(parameters, torch.autograd.grad(objective, leaves), strict=True)]
    return parameters


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("decay", [None, 0.7])
@pytest.mark.parametrize("batch", [None, 20])
def test_steps_equal_a_second_implementation(batch: int | None, decay: float | None, weighted: bool) -> None:
    sample = to_sample(Chain(agreement=0.8, shift=2.0, d=2).draw(50, seed=0), torch.float64, weighted)
    estimator = _mine(learning_rate=0.1, optimizer="sgd", steps=6, batch_size=batch, moving_average=decay)
    start = [p.detach().clone() for p in estimator.critic.parameters()]
    estimator.fit(sample, torch.Generator().manual_seed(3))
    expected = _second_implementation(sample, start, 6, batch, decay, seed=3)
    for p, q in zip(estimator.critic.parameters(), expected, strict=True):
        torch.testing.assert_close(p.detach(), q, rtol=0, atol=1e-12)


def test_penalty_shuffles_once_and_weighs_the_product_of_weighted_marginals() -> None:
    sample = to_sample(Chain(agreement=0.8, shift=2.0, d=2).draw(40, seed=0), torch.float64, weighted=True)
    estimator = _mine(1)
    critic = estimator.critic
    order = torch.randperm(40, generator=torch.Generator().manual_seed(5))
    one_hot, w = torch.eye(2, dtype=torch.float64)[sample.c[:, 0]], sample.weight
    assert w is not None
    with torch.no_grad():
        joint, marginal = critic(sample.z, one_hot), critic(sample.z, one_hot[order])
    v = w * w[order]
    expected = (w * joint).sum() / w.sum() - torch.log((v * marginal.exp()).sum() / v.sum())
    value = estimator.penalty(sample, torch.Generator().manual_seed(5))
    assert value.item() == pytest.approx(float(expected), abs=1e-12)


def test_a_step_on_the_whole_sample_draws_exactly_one_permutation() -> None:
    sample = to_sample(Chain(agreement=0.8, shift=2.0, d=2).draw(30, seed=0), torch.float64)
    for batch_size in (None, 30, 31):
        used, reference = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
        _mine(steps=1, batch_size=batch_size).fit(sample, used)
        torch.randperm(30, generator=reference)
        assert torch.equal(used.get_state(), reference.get_state())


def test_a_continuous_attribute_is_standardised_by_the_first_fit() -> None:
    source = Gaussian(rho=0.5, d=2)
    plain = to_sample(source.draw(200, seed=0), torch.float64)
    stretched = Sample(z=plain.z, c=1000 * plain.c + 7, y=None, weight=None, known=plain.known)
    values = []
    for sample in (plain, stretched):
        estimator = _mine(n_classes=(2, 2), bin_edges=((0.0,), (0.0,)), learning_rate=0.01, steps=10)
        estimator.fit(sample, torch.Generator().manual_seed(0))
        values.append(estimator.estimate(sample, torch.Generator().manual_seed(1)))
    assert values[0] == pytest.approx(values[1], abs=1e-8)
    assert math.isfinite(values[0])


def test_values_are_taken_where_there_are_bin_edges() -> None:
    edges = tuple(tuple(float(k) for k in range(7)) for _ in range(2))
    categorical, continuous = (_mine(n_classes=(8, 8), bin_edges=one) for one in (None, edges))
    assert next(categorical.critic.parameters()).shape == (4, 2 + 16)
    assert next(continuous.critic.parameters()).shape == (4, 2 + 2)
