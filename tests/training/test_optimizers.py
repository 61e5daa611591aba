from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from mibias_cli.training.optimizers import learning_rate_factor, make_optimizer, penalty_weight, set_learning_rates
from mibias_cli.training.settings import OptimSettings


def test_cosine_with_warm_up() -> None:
    settings = OptimSettings(epochs=10, warmup_epochs=2)
    factors = [learning_rate_factor(settings, step, 5) for step in range(51)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1.0
    assert factors[30] == pytest.approx(0.5)
    assert factors[50] == pytest.approx(0.0)
    assert factors[20] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_cosine_ends_at_its_final_share() -> None:
    settings = OptimSettings(epochs=4, final_share=0.2)
    factors = [learning_rate_factor(settings, step, 1) for step in (0, 2, 4)]
    assert factors == pytest.approx([1.0, 0.6, 0.2])


def test_constant() -> None:
    settings = OptimSettings(epochs=3, schedule="constant")
    assert {learning_rate_factor(settings, step, 4) for step in range(12)} == {1.0}


def test_lambda_rises_linearly_and_stays() -> None:
    assert [penalty_weight(3.0, 0.5, step, 8) for step in (0, 2, 4, 9)] == [0.0, 1.5, 3.0, 3.0]
    assert penalty_weight(3.0, 0.0, 0, 8) == 3.0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_each_group_keeps_its_own_peak(name: Literal["adam", "adamw", "sgd"]) -> None:
    settings = OptimSettings(optimizer=name)
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate, "weight_decay": 0.0} for rate in (0.1, 0.2)]
    optimizer = make_optimizer(settings, groups)
    for factor in (0.5, 0.25):
        set_learning_rates(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == [0.1 * factor, 0.2 * factor]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_one_kernel_for_many_parameters_takes_the_same_steps(name: Literal["adam", "adamw", "sgd"]) -> None:
    """Against torch's default, over a rate that changes and groups of their own rates and decays."""

    def stepped(n: int, *, default: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(n)), torch.nn.Parameter(torch.randn(5))]
        groups = [
            {"params": [w], "lr": rate, "weight_decay": 0.1} for w, rate in zip(weights, (1e-2, 1e-3), strict=True)
        ]
        optimizer = make_optimizer(OptimSettings(optimizer=name, epochs=1), groups)
        assert optimizer.defaults["fused"] is (True if n >= 1_000_000 else None)
        if default:
            for group in optimizer.param_groups:
                group["fused"] = None
        for step in range(4):
            for w in weights:
                w.grad = torch.sin(w.detach() * (step + 1))
            set_learning_rates(optimizer, 1 / (step + 1))
            optimizer.step()
        return torch.cat([w.detach() for w in weights])

    torch.testing.assert_close(
        stepped(1_000_000, default=False), stepped(1_000_000, default=True), rtol=1e-6, atol=1e-6
    )
    assert torch.equal(stepped(100, default=False), stepped(100, default=True))
