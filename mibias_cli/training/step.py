"""One training step: fit the critic on detached features, then move the extractor on task loss and MI penalty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.data.batch import Batch
from mibias_cli.data.target import TargetKind
from mibias_cli.errors import TrainingError
from mibias_cli.training.debiaser import Debiaser, StepMetrics
from mibias_cli.training.original import FrozenOriginal
from mibias_cli.training.penalty import Gradients, at_norm, gradient_norm, rescaled, without_conflict

__all__ = ["BIAS_LOG_P", "DRAW_WEIGHT", "TASK_OFFSET", "TASK_WEIGHT", "Stepper", "task_loss"]

TASK_WEIGHT = "*task*"
"""Key of `Batch.weight` under which the task loss finds its weights; no attribute can be called so."""
DRAW_WEIGHT = "*draw*"
"""The same of the weights in proportion to which rows are drawn for the estimator."""

TASK_OFFSET = "*offset*"
"""The same of what is added to the class scores in training (n, k): a share of log p(y|c), `debias.bias_product`."""
BIAS_LOG_P = "*bias*"
"""The same of log p(y|c) itself (n, k), of validation rows: what the model's scores are to add to."""


def task_loss(logits: Tensor, y: Tensor, weight: Tensor | None, kind: TargetKind = "classes") -> Tensor:
    """The task's loss (scalar), a weighted mean over samples if weights (n,) are given.

    Args:
        logits: What the head gives (n, k).
        y: Targets: classes (n,), labels or standardised numbers (n, k), or the original's standardised features (n, k).
        weight: Weights (n,), or None.
        kind: classes: cross-entropy in nats; multilabel: binary cross-entropy in nats, the mean over labels; regression
            and none: squared error in units of the variance, the mean over columns or features.
    """
    if kind == "classes" and weight is None:
        return functional.cross_entropy(logits, y)
    if kind == "classes":
        losses = functional.cross_entropy(logits, y, reduction="none")
    elif kind == "multilabel":
        losses = functional.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none").mean(dim=1)
    else:
        losses = (logits - y.to(logits.dtype)).square().mean(dim=1)
    if weight is None:
        return losses.mean()
    weight = weight.to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(torch.finfo(losses.dtype).tiny)


class Stepper:
    """Takes training steps of one model.

    Args:
        fabric: Lightning Fabric, already launched.
        model: The task model, set up by Fabric.
        optimizer: Optimizer of extractor and head, set up by Fabric.
        penalty_optimizer: `gradients: released` only: the second optimizer, for the extractor's MI step.
        debiaser: None for plain training.
        clip_norm: Largest gradient norm, or None.
        max_skipped: How many steps in a row may be skipped because a loss or a gradient is not finite.
        task_weighted: Whether the task loss is weighted by `Batch.weight[TASK_WEIGHT]`.
        kind: What the target is, and so which loss it takes.
        original: Where there is no target: what gives the features to stay close to.
    """

    def __init__(
        self,
        *,
        fabric: Any,
        model: Any,
        optimizer: Any,
        penalty_optimizer: Any | None = None,
        debiaser: Debiaser | None,
        clip_norm: float | None = None,
        max_skipped: int = 10,
        task_weighted: bool = False,
        kind: TargetKind = "classes",
        original: FrozenOriginal | None = None,
    ) -> None:
        self.fabric = fabric
        self.model = model
        self.optimizer = optimizer
        self.penalty_optimizer = penalty_optimizer
        self.debiaser = debiaser
        self.clip_norm = clip_norm
        self.max_skipped = max_skipped
        self.task_weighted = task_weighted
        self.kind: TargetKind = kind
        self.original = original
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._capped: list[Tensor | None] = []
        self._state = {"skipped": 0, "skipped_in_a_row": 0, "task_norm_sum": 0.0, "task_norm_count": 0}

    def fit_critic_on(self, batch: Batch, step: int, turn: int) -> None:
        """Embed a batch without gradient and fit the estimators on it."""
        assert self.debiaser is not None, "only debiasing fits a critic"
        with torch.no_grad():
            z = self.model(batch.x)["z"]
        self.debiaser.fit_on_batch(batch, z, step, turn)

    def run(self, batch: Batch, step: int, weight: float, fresh: Iterator[Batch] | None, *, log: bool) -> StepMetrics:
        """One step on a batch; the returned metrics are fuller where `log` is set.

        Args:
            batch: On the model's device.
            step: Number of this step in the stage.
            weight: λ at this step.
            fresh: The `fresh` schedule's batches for the critic.
            log: Whether this step is logged.
        """
        debiaser = self.debiaser
        if debiaser is not None and debiaser.settings.schedule == "fresh":
            assert fresh is not None, "the fresh schedule has a stream of batches"
            for turn in range(debiaser.settings.critic_steps):
                self.fit_critic_on(next(fresh), step, turn)
        output = self.model(batch.x)
        own, seen = batch.own, batch.drawn  # what the task learns from, and what the estimator sees
        y = own.y if self.original is None else self.original(own.x)
        weight_y = own.weight.get(TASK_WEIGHT) if self.task_weighted else None
        scores = output["logits"][: batch.n_own]
        if TASK_OFFSET in own.weight:
            scores = scores + own.weight[TASK_OFFSET].to(scores.dtype)
        loss = task_loss(scores, y, weight_y, self.kind)
        metrics: StepMetrics = {"task_loss": float(loss.detach())}
        finite = math.isfinite(metrics["task_loss"])
        if debiaser is not None and finite:
            z = output["z"][batch.n_own or 0 :]  # a view, also of all rows: Fabric guards the model's own output
            finite = bool(torch.isfinite(z).all())
            if finite and debiaser.settings.schedule == "queue":
                debiaser.fit_on_queue(seen, z.detach(), step)
        penalty = None
        if debiaser is not None and finite:
            penalty = debiaser.penalty(seen, z, step)
            metrics["penalty_nats"] = float(penalty.detach())
            finite = math.isfinite(metrics["penalty_nats"])
        if not finite:
            self._skip(metrics, step)
            return metrics
        if debiaser is None or penalty is None:
            self._backward(loss)
        else:
            if log:
                metrics |= debiaser.metrics(seen, z, step)
            metrics |= self._backward_both(loss, penalty, z, weight, log=log)
        if log:
            metrics["grad_norm/total"] = gradient_norm([p.grad for p in self._parameters])
        if self.clip_norm is not None:
            norm = self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False
            )
            if not math.isfinite(float(norm)):
                self._skip(metrics | {"gradient_norm": float(norm)}, step)
                return metrics
        self.optimizer.step()
        if self.penalty_optimizer is not None and debiaser is not None:
            self._penalty_step()
        self._state["skipped_in_a_row"] = 0
        if self._state["skipped"]:
            metrics["skipped_steps"] = float(self._state["skipped"])
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside model and optimizers."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._state = dict(state)

    def _backward(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)

    def _backward_both(self, loss: Tensor, penalty: Tensor, z: Tensor, weight: float, *, log: bool) -> StepMetrics:
        """Leave in .grad what the optimizer is to follow."""
        assert self.debiaser is not None, "a penalty comes from a debiaser"
        if self.debiaser.settings.gradients == "sum":
            norms: StepMetrics = {}
            if log and penalty.requires_grad:
                (g,) = torch.autograd.grad(penalty, z, retain_graph=True)
                norms["grad_norm/penalty_at_z"] = gradient_norm([g])
            self._backward(loss + weight * penalty)
            return norms
        self._backward_retaining(loss)
        task = [p.grad for p in self._parameters]
        self._backward(penalty)
        own = [p.grad for p in self._parameters]
        towards_task, towards_penalty = self._met(task, own)
        released = self.debiaser.settings.gradients == "released"
        self._capped = list(towards_penalty) if released else []
        for p, g_task, g_penalty in zip(self._parameters, towards_task, towards_penalty, strict=True):
            if released or g_penalty is None:
                p.grad = g_task
            else:
                p.grad = weight * g_penalty if g_task is None else g_task + weight * g_penalty
        if not log:
            return {}
        return {"grad_norm/task": gradient_norm(task), "grad_norm/penalty": gradient_norm(own)}

    def _met(self, task: Gradients, penalty: Gradients) -> tuple[Gradients, Gradients]:
        """The two gradients as they are added, by `debias.gradients`; λ comes after."""
        assert self.debiaser is not None, "a penalty comes from a debiaser"
        mode = self.debiaser.settings.gradients
        if mode == "project":
            return without_conflict(task, penalty)
        if mode == "ratio":
            # the mean over all steps so far, so that the penalty keeps its force when the task gradient vanishes
            self._state["task_norm_sum"] += gradient_norm(task)
            self._state["task_norm_count"] += 1
            return task, at_norm(penalty, self._state["task_norm_sum"] / self._state["task_norm_count"])
        return task, rescaled(task, penalty)

    def _backward_retaining(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss, retain_graph=True)

    def _penalty_step(self) -> None:
        """The second optimizer follows the capped MI gradient alone; its rate, λ times the first's, the loop sets."""
        assert self.penalty_optimizer is not None, "released gradients have a second optimizer"
        for p, g in zip(self._parameters, self._capped, strict=True):
            p.grad = g
        self.penalty_optimizer.step()

    def _skip(self, metrics: StepMetrics, step: int) -> None:
        """Leave weights as they are; too many such steps in a row end the run with what was not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        self._state["skipped"] += 1
        self._state["skipped_in_a_row"] += 1
        metrics["skipped_steps"] = float(self._state["skipped"])
        if self._state["skipped_in_a_row"] > self.max_skipped:
            shown = ", ".join(f"{k} is {v}" for k, v in metrics.items() if not math.isfinite(v))
            raise TrainingError(
                f"step {step}: {shown or 'features are not finite'}, as in {self.max_skipped} steps before it: "
                "training diverged. Lower training.learning_rate or debias.weight, lengthen debias.warmup_epochs, or "
                "set training.clip_norm."
            )
