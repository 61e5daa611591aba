"""How the MI gradient meets the task gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Gradients", "at_norm", "gradient_norm", "rescaled", "weighted_sum", "without_conflict"]

Gradient = Tensor | None
Gradients = Sequence[Tensor | None]


def rescaled(task: Gradients, penalty: Gradients) -> list[Gradient]:
    """The MI gradient, capped parameter by parameter at the norm of the task gradient.

    g_MI ← g_MI · min(‖g_task‖, ‖g_MI‖) / ‖g_MI‖ for each parameter tensor, so that debiasing never outweighs the task.
    Where the task does not reach a parameter, nothing of the MI gradient is left there.

    References:
        Ragonesi et al., Learning Unbiased Representations via Mutual Information Backpropagation, arXiv 2003.06430.

    Example:
        >>> rescaled([torch.tensor([3.0, 4.0])], [torch.tensor([0.0, 10.0])])
        [tensor([0., 5.])]
    """
    result: list[Gradient] = []
    # tensor by tensor, not over all parameters: a large task gradient in one layer gives the penalty no room in another
    for g_task, g_penalty in zip(task, penalty, strict=True):
        if g_penalty is None:
            result.append(None)
            continue
        norm = torch.linalg.vector_norm(g_penalty)
        cap = torch.zeros_like(norm) if g_task is None else torch.linalg.vector_norm(g_task)
        # the clamp keeps 0 / 0 out of the branch that torch.where drops
        scale = torch.where(norm > 0, torch.minimum(cap, norm) / norm.clamp_min(torch.finfo(norm.dtype).tiny), 0.0)
        result.append(g_penalty * scale)
    return result


def at_norm(gradients: Gradients, norm: float) -> list[Gradient]:
    """The gradients scaled so that their joint norm is `norm`; those of norm 0 stay as they are.

    With the task gradient's norm for `norm`, λ is the ratio of the two norms, whatever the estimator's scale.

    Example:
        >>> at_norm([torch.tensor([3.0]), None, torch.tensor([4.0])], 10.0)
        [tensor([6.]), None, tensor([8.])]
    """
    own = gradient_norm(gradients)
    scale = norm / own if own > 0 else 1.0
    return [None if g is None else g * scale for g in gradients]


def without_conflict(task: Gradients, penalty: Gradients) -> tuple[list[Gradient], list[Gradient]]:
    """Both gradients, each without what points against the other; unchanged where their inner product is not negative.

    The inner product is over all parameters together. After it, a small step against either gradient raises neither
    loss, to first order.

    References: Yu et al., Gradient Surgery for Multi-Task Learning, arXiv 2001.06782.

    Example:
        >>> without_conflict([torch.tensor([1.0, 0.0])], [torch.tensor([-1.0, 1.0])])
        ([tensor([0.5000, 0.5000])], [tensor([0., 1.])])
    """
    shared = [(a, b) for a, b in zip(task, penalty, strict=True) if a is not None and b is not None]
    product = sum((float((a * b).sum()) for a, b in shared), 0.0)
    if product >= 0:
        return list(task), list(penalty)
    # project each onto the plane normal to the other: g_i − (g_i · g_j / ‖g_j‖²) g_j
    task_square, penalty_square = gradient_norm(task) ** 2, gradient_norm(penalty) ** 2
    return weighted_sum(task, penalty, -product / penalty_square), weighted_sum(penalty, task, -product / task_square)


def weighted_sum(left: Gradients, right: Gradients, weight: float) -> list[Gradient]:
    """left + weight · right, parameter by parameter; None counts as 0.

    Example:
        >>> weighted_sum([torch.tensor([1.0]), None], [torch.tensor([2.0]), torch.tensor([3.0])], 0.5)
        [tensor([2.]), tensor([1.5000])]
    """
    scaled = [None if b is None else weight * b for b in right]
    return [b if a is None else a if b is None else a + b for a, b in zip(left, scaled, strict=True)]


def gradient_norm(gradients: Gradients) -> float:
    """The joint Euclidean norm of gradients; None counts as 0."""
    norms = [torch.linalg.vector_norm(g) for g in gradients if g is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
