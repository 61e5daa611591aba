from __future__ import annotations

import pytest
import torch
from known_mi import MeanShift, make_spec, to_sample
from torch.nn import functional

from mibias_cli.estimators.reversal import GradientReversal


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_the_reversed_one_and_that_of_the_negative_entropy(weighted: bool) -> None:
    """Against the defining formula of Learning Not to Learn: −∇ CE(c | z) + μ ∇ E[Σ q log q], heads held fixed."""
    torch.manual_seed(0)
    sample = to_sample(MeanShift(means=[0.0, 1.0, 3.0], d=3).draw(30, seed=0), torch.float64)
    if weighted:
        weight = torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        sample = type(sample)(**{**vars(sample), "weight": weight})
    spec = make_spec(n_features=3, n_classes=(3,), entropy_weight=0.3)
    estimator = GradientReversal(spec).to(torch.device("cpu"), torch.float64)
    estimator.fit(sample, torch.Generator().manual_seed(0))
    z = sample.z.clone().requires_grad_()
    (found,) = torch.autograd.grad(estimator.penalty(type(sample)(**{**vars(sample), "z": z}), torch.Generator()), z)
    share = (
        torch.full((30,), 1 / 30, dtype=torch.float64) if sample.weight is None else sample.weight / sample.weight.sum()
    )
    logits = estimator.critic(z)[0]
    loss = share @ functional.cross_entropy(logits, sample.c[:, 0], reduction="none")
    q = torch.softmax(logits, dim=1)
    negative_entropy = share @ (q * q.log()).sum(dim=1)
    (reversed_,) = torch.autograd.grad(-loss + 0.3 * negative_entropy, z)
    torch.testing.assert_close(found, reversed_, rtol=0, atol=1e-12)


def test_a_head_that_says_nothing_costs_nothing() -> None:
    sample = to_sample(MeanShift(means=[0.0, 1.0], d=3).draw(30, seed=0))
    estimator = GradientReversal(make_spec(n_features=3, n_classes=(2,), entropy_weight=1.0))
    for p in estimator.critic.parameters():
        p.data.zero_()
    even = torch.cat([(sample.c[:, 0] == k).nonzero().flatten()[:10] for k in (0, 1)])
    assert estimator.penalty(sample.take(even), torch.Generator()).item() == pytest.approx(0, abs=1e-6)


def test_the_watch_leaves_the_steps_of_a_baseline_alone() -> None:
    """It adapts estimators that have `steps`; the K of the recipe is taken all the same."""
    torch.manual_seed(0)
    estimator = GradientReversal(make_spec(n_features=3, n_classes=(2,), steps=4))
    assert not hasattr(estimator, "steps")
    estimator.fit(to_sample(MeanShift(means=[0.0, 1.0], d=3).draw(30, seed=0)), torch.Generator())
    assert {float(state["step"]) for state in estimator.optimizer.state.values()} == {4.0}
