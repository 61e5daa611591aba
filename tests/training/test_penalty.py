from __future__ import annotations

import torch

from mibias_cli.training.penalty import gradient_norm, rescaled


def test_caps_each_parameter_at_the_task_gradient() -> None:
    g = torch.Generator().manual_seed(0)
    task = [torch.randn(3, 2, generator=g), torch.randn(4, generator=g) * 100]
    penalty = [torch.randn(3, 2, generator=g) * 50, torch.randn(4, generator=g)]
    large, small = rescaled(task, penalty)
    assert large is not None
    assert small is not None
    torch.testing.assert_close(large.norm(), task[0].norm())
    torch.testing.assert_close(large / large.norm(), penalty[0] / penalty[0].norm())
    torch.testing.assert_close(small, penalty[1])  # already below the task's: untouched


def test_nothing_is_left_where_the_task_does_not_reach() -> None:
    none, zero, untouched = rescaled([None, torch.zeros(2), torch.ones(2)], [torch.ones(2), torch.ones(2), None])
    assert none is not None
    assert zero is not None
    assert float(none.norm()) == float(zero.norm()) == 0.0
    assert untouched is None


def test_a_zero_mi_gradient_stays_zero() -> None:
    (g,) = rescaled([torch.ones(2)], [torch.zeros(2)])
    assert g is not None
    assert torch.equal(g, torch.zeros(2))


def test_joint_norm() -> None:
    assert gradient_norm([torch.tensor([3.0]), None, torch.tensor([[4.0]])]) == 5.0
    assert gradient_norm([None]) == 0.0
