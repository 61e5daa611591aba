from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from mibias_cli.training.penalty import at_norm, gradient_norm, rescaled, without_conflict


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


def test_at_norm_keeps_directions_and_sets_the_joint_norm() -> None:
    g = torch.Generator().manual_seed(1)
    gradients = [torch.randn(3, generator=g), None, torch.randn(2, 2, generator=g)]
    scaled = at_norm(gradients, 7.0)
    assert gradient_norm(scaled) == pytest.approx(7.0)
    assert scaled[1] is None
    ratios = [a / b for a, b in zip(scaled, gradients, strict=True) if a is not None and b is not None]
    assert all(torch.allclose(r, ratios[0].flatten()[0]) for r in ratios)
    assert gradient_norm(at_norm([torch.zeros(2)], 3.0)) == 0.0


def test_without_conflict_is_orthogonal_to_the_other_and_else_unchanged() -> None:
    g = torch.Generator().manual_seed(2)
    task = [torch.randn(4, generator=g, dtype=torch.float64), torch.randn(3, generator=g, dtype=torch.float64)]
    against = [-t + 0.3 * torch.randn(t.shape, generator=g, dtype=torch.float64) for t in task]
    mended_task, mended_penalty = without_conflict(task, against)

    def product(a: Sequence[torch.Tensor | None], b: Sequence[torch.Tensor | None]) -> float:
        return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True) if x is not None and y is not None)

    assert product(task, against) < 0
    assert product(mended_task, against) == pytest.approx(0, abs=1e-12)
    assert product(task, mended_penalty) == pytest.approx(0, abs=1e-12)
    along = [t.clone() for t in task]
    assert without_conflict(task, along) == (task, along)
