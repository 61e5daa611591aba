"""How the MI gradient meets the task gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["gradient_norm", "rescaled"]

Gradient = Tensor | None


def rescaled(task: Sequence[Gradient], penalty: Sequence[Gradient]) -> list[Gradient]:
    """The MI gradient, capped parameter by parameter at the norm of the task gradient.

    g_MI ← g_MI · min(‖g_task‖, ‖g_MI‖) / ‖g_MI‖ for each parameter tensor, so that debiasing never outweighs the task.
    Where the task does not reach a parameter, nothing of the MI gradient is left there.

    Args:
        task: Gradient of the task loss per parameter, None where there is none.
        penalty: Gradient of the MI estimate per parameter.

    References:
        Ragonesi et al., Learning Unbiased Representations via Mutual Information Backpropagation, arXiv 2003.06430.

    Example:
        >>> rescaled([torch.tensor([3.0, 4.0])], [torch.tensor([0.0, 10.0])])
        [tensor([0., 5.])]
    """
    result: list[Gradient] = []
    for g_task, g_penalty in zip(task, penalty, strict=True):
        if g_penalty is None:
            result.append(None)
            continue
        norm = torch.linalg.vector_norm(g_penalty)
        cap = torch.zeros_like(norm) if g_task is None else torch.linalg.vector_norm(g_task)
        scale = torch.where(norm > 0, torch.minimum(cap, norm) / norm.clamp_min(torch.finfo(norm.dtype).tiny), 0.0)
        result.append(g_penalty * scale)
    return result


def gradient_norm(gradients: Sequence[Gradient]) -> float:
    """The joint Euclidean norm of gradients; None counts as 0."""
    norms = [torch.linalg.vector_norm(g) for g in gradients if g is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
