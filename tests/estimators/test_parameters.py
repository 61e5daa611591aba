from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from mibias_cli.estimators.parameters import held_fixed, make_optimizer


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_fused_steps_are_the_textbook_steps(name: Literal["adam", "sgd"]) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 1).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    value = module.weight.detach().clone()
    first, second = torch.zeros_like(value), torch.zeros_like(value)
    optimizer = make_optimizer(name, module, 0.1, 0.9)
    for t in range(1, 5):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        assert module.weight.grad is not None
        g = module.weight.grad.clone()
        optimizer.step()
        if name == "sgd":
            value -= 0.1 * g
        else:
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            value -= 0.1 * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        torch.testing.assert_close(module.weight.detach(), value, rtol=1e-12, atol=1e-12)


def test_held_fixed_restores_what_it_found_even_after_an_error() -> None:
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(False)

    def fail_while_held() -> None:
        with held_fixed(module):
            assert not module.weight.requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_held()
    assert module.weight.requires_grad
    assert not module.bias.requires_grad
