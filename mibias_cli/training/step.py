"""One training step: fit the critic on detached features, then move the extractor on task loss and MI penalty.

The game of Ragonesi et al. (arXiv 2003.06430), with extractor f, task head g and critic T:

    min over f, g, max over T:   L_task(g(f(x)), y) + λ · Î_T(z; c)

A step alternates the two: K critic steps up the bound Î_T (MINE's is that of Donsker and Varadhan, arXiv 1801.04062) on
a z that is held still, then one step of f and g down the sum with T held still. `Stepper.run` reads in that order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.data.target import TargetKind
from mibias_cli.errors import TrainingError
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.training.debiaser import Debiaser, StepMetrics
from mibias_cli.training.original import FrozenOriginal
from mibias_cli.training.penalty import Gradients, at_norm, gradient_norm, rescaled, weighted_sum, without_conflict

__all__ = [
    "BIAS_LOG_P",
    "DRAW_WEIGHT",
    "FIRST_UNTIL",
    "SAMPLE_WEIGHT",
    "TASK_WEIGHT",
    "StepMethod",
    "Stepper",
    "task_loss",
]

_RECENT = 50
"""Steps over which the estimate is averaged, where λ follows it."""
_MEASURED_EVERY = 10
"""Of `gradients: ratio`, how often the two parts' gradients are computed each by itself; so are the first ten."""
_MEASURED_OVER = 5
TASK_WEIGHT = "*task*"
"""Key of `Batch.weight` for the weights of the task loss; no attribute can be called so."""
DRAW_WEIGHT = "*draw*"
"""Key of the weights in proportion to which rows are drawn for the estimator."""
SAMPLE_WEIGHT = "*sample*"
"""Key of the weights in proportion to which an epoch's rows are drawn."""
FIRST_UNTIL = "*first*"
"""Key of the number of epochs in which a row is read once, before all that are drawn."""
BIAS_LOG_P = "*bias*"
"""Key of log p(y|c) itself (n, k), of validation rows: what the model's scores are to add to."""


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
    # over the batch's own sum of weights: a batch that happens to be heavy takes no larger step
    return (losses * weight).sum() / weight.sum().clamp_min(torch.finfo(losses.dtype).tiny)


class StepMethod(Protocol):
    """What makes the loss of plain training, where that is not the task's."""

    def __call__(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """A batch's loss (scalar); or it and a penalty, whose gradient is cut to the length of the loss's own."""

    def begin_epoch(self, epoch: int) -> None:
        """What is done before an epoch's first step."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Restore what `state_dict` gave."""


@dataclass(kw_only=True)
class Stepper:
    """Takes training steps of one model.

    Args:
        model, optimizer: The task model and the optimizer of extractor and head, set up by Fabric.
        penalty_optimizer: `gradients: released` only: the second optimizer, for the extractor's MI step.
        max_skipped: How many steps in a row may be skipped because a loss or a gradient is not finite.
        original: Where there is no target: what gives the features to stay close to.
        ranks: Those that take each step together, each with its share of the batch's inputs.
        method: In plain training, what gives the loss of a batch and of what the model makes of it, if not the task's.
    """

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    debiaser: Debiaser | None
    penalty_optimizer: torch.optim.Optimizer | None = None
    clip_norm: float | None = None
    max_skipped: int = 10
    kind: TargetKind = "classes"
    original: FrozenOriginal | None = None
    ranks: Ranks = ALONE
    method: StepMethod | None = None

    def __post_init__(self) -> None:
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._capped: Gradients = []
        self._state: dict[str, float] = dict.fromkeys(
            (
                "skipped", "skipped_in_a_row", "share_told", "share_count",
                "ratio_steps", "task_norm_sum", "task_norm_count", "norm_by_norm_at_z", "n_measured",
            ), 0,
        )  # fmt: skip

    def run(self, batch: Batch, step: int, weight: float, fresh: Iterator[Batch] | None, *, log: bool) -> StepMetrics:
        """One step on a batch on the model's device; the returned metrics are fuller where `log` is set.

        `weight` is λ at this step, `fresh` the `fresh` schedule's batches for the critic.
        """
        debiaser = self.debiaser
        # the last step's gradients would lie beside all that the forward pass keeps, where memory is at its peak
        self.optimizer.zero_grad(set_to_none=True)
        # max over T, the paper's schedule: K critic steps, each on a freshly embedded batch
        if debiaser is not None and debiaser.settings.schedule == "fresh":
            assert fresh is not None, "the fresh schedule has a stream of batches"
            for turn in range(debiaser.settings.critic_steps):
                self.fit_critic_on(next(fresh), step, turn)
        # L_task(g(f(x)), y)
        with nullcontext() if debiaser is None else debiaser.mixing(batch, step) as mixed:
            output = self._forward(batch, step)
        if debiaser is not None and mixed is not None:
            batch = debiaser.as_mixed(batch, mixed)
        capped: Tensor | None = None
        if self.method is None:
            loss = self._task_loss(batch, output["logits"][: batch.n_own])
        else:
            with self.fabric.autocast():
                made = self.method(batch, output)
            loss, capped = made if isinstance(made, tuple) else (made, None)
        # Î_T(z; c); z that is not finite must not reach critic and queue, which would carry it into later steps
        z = output["z"][batch.n_own or 0 :]  # a view, also of all rows: Fabric guards the model's own output
        found = {"task_loss": loss} | ({} if capped is None else {"penalty": capped})
        if debiaser is not None and debiaser.estimators:
            found["z_is_finite"] = torch.isfinite(z).all()
        metrics = _numbers(found)
        finite = bool(metrics.pop("z_is_finite", True)) and all(map(math.isfinite, metrics.values()))
        penalty: Tensor | None = None
        if debiaser is not None and debiaser.estimators and finite:
            # max over T, the queue's schedule: K critic steps on z of recent steps, before this batch joins them
            if debiaser.settings.schedule == "queue":
                debiaser.fit_on_queue(batch.drawn, z.detach(), step)
            penalty = debiaser.penalty(batch.drawn, z, step)
            metrics["penalty_nats"] = float(penalty.detach())
            finite = math.isfinite(metrics["penalty_nats"])
        if not finite:
            self._skip(metrics, step)
            return metrics
        # min over f and g: the gradient of L_task + λ · Î_T, as `debias.gradients` combines its two parts
        if capped is not None:
            self._capped_gradients(loss, capped)
        elif debiaser is None or penalty is None:
            self._gradients(loss)
        else:
            if log:
                metrics |= debiaser.metrics(batch.drawn, z, step)
            metrics |= self._combined_gradients(debiaser, loss, penalty, z, weight, log=log)
        return self._descend(metrics, step, log=log)

    def fit_critic_on(self, batch: Batch, step: int, turn: int) -> None:
        """Embed a batch without gradient and fit the estimators on it."""
        assert self.debiaser is not None, "only debiasing fits a critic"
        with torch.no_grad():
            z = self._forward(batch, step, turn)["z"]
        self.debiaser.fit_on_batch(batch, z, step, turn)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside model and optimizers."""
        return dict(self._state) if self.method is None else {**self._state, "method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._state |= {name: value for name, value in state.items() if name != "method"}
        if self.method is not None:
            self.method.load_state_dict(state["method"])

    def _forward(self, batch: Batch, step: int, turn: int = 0) -> dict[str, Tensor]:
        """What is needed of the whole batch: of this rank's share and, gathered with gradient, of the others'."""
        with self.ranks.own_draws(step, turn):
            output = self.model(batch.x)
        needed = ("logits", "z") if self.method is None else ("logits", "z", "features")
        return {name: self.ranks.gather(output[name], len(batch)) for name in needed}

    def _task_loss(self, batch: Batch, scores: Tensor) -> Tensor:
        """L_task of the epoch's own rows; rows drawn for the estimator are no business of the task."""
        own = batch.own
        y = own.y if self.original is None else self.ranks.gather(self.original(batch.x), len(batch))
        weighted = self.debiaser is not None and self.debiaser.weights_task
        # product of experts (arXiv 1909.03683): log p(y|c)/p(y) is added, so that learning it gains nothing
        if TASK_OFFSET in own.weight:
            scores = scores + own.weight[TASK_OFFSET].to(scores.dtype)
        return task_loss(scores, y, own.weight.get(TASK_WEIGHT) if weighted else None, self.kind)

    # --- their gradients ---

    def _gradients(self, loss: Tensor, *, retain_graph: bool = False) -> list[Tensor | None]:
        """The gradient of a loss alone by parameter, which is also left in .grad."""
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss, retain_graph=retain_graph)
        self.ranks.average_gradients(self._parameters)
        return [p.grad for p in self._parameters]

    def _capped_gradients(self, loss: Tensor, penalty: Tensor) -> None:
        """Leave the sum of both gradients in .grad, the penalty's no longer than the loss's, over all parameters."""
        g_loss = self._gradients(loss, retain_graph=True)
        g_penalty = self._gradients(penalty)
        cut = at_norm(g_penalty, min(gradient_norm(g_loss), gradient_norm(g_penalty)))
        for p, g in zip(self._parameters, weighted_sum(g_loss, cut, 1.0), strict=True):
            p.grad = g

    def _combined_gradients(
        self, debiaser: Debiaser, loss: Tensor, penalty: Tensor, z: Tensor, weight: float, *, log: bool
    ) -> StepMetrics:
        """Leave in .grad what the optimizer is to follow."""
        mode = debiaser.settings.gradients
        # of what nothing that trains comes before the penalty is a number, and its sum with the task follows the task
        if mode == "sum" or not penalty.requires_grad:
            self._capped = [None] * len(self._parameters)
            norms: StepMetrics = {}
            if log and penalty.requires_grad:
                at_z = torch.autograd.grad(penalty, z, retain_graph=True)
                norms["grad_norm/penalty_at_z"] = gradient_norm(at_z)
            self._gradients(loss + weight * penalty)
            return norms
        if mode == "ratio":
            return self._at_ratio(debiaser, loss, penalty, z, weight, log=log)
        # all other rules compare the two, so that each is needed by itself: two backward passes through one graph
        g_task = self._gradients(loss, retain_graph=True)
        g_mi = self._gradients(penalty)
        norms = _norms(g_task, g_mi) if log else {}
        if mode == "project":
            task, mi = without_conflict(g_task, g_mi)
        else:
            # the paper's: g_MI ← g_MI · min(‖g_task‖, ‖g_MI‖) / ‖g_MI‖ by parameter
            task, mi = g_task, rescaled(g_task, g_mi)
        # the authors' released code does not add the two: λ is the step size of an optimizer of its own
        released = mode == "released"
        self._capped = mi if released else []
        for p, g in zip(self._parameters, task if released else weighted_sum(task, mi, weight), strict=True):
            p.grad = g
        return norms

    def _at_ratio(
        self, debiaser: Debiaser, loss: Tensor, penalty: Tensor, z: Tensor, weight: float, *, log: bool
    ) -> StepMetrics:
        """Leave in .grad the task's gradient and the penalty's, whose norm is λ times the mean of the task's.

        The penalty's norm at z is known at each step for next to nothing. By how much it is longer at the parameters
        changes slowly: that, and the task's norm, are measured at every tenth step, by a second backward pass.
        """
        settings, state, metrics = debiaser.settings, self._state, StepMetrics()
        if settings.most_nats is not None:
            weight *= self._share_told(float(penalty.detach()) / settings.most_nats) ** settings.share_power
            metrics |= {"penalty_share": weight} if log else {}
        # all that the penalty does to a parameter it does through z
        (at_z,) = torch.autograd.grad(penalty, z)
        norm_at_z = gradient_norm([at_z])
        through_z = (at_z * z).sum()
        turn, state["ratio_steps"] = state["ratio_steps"], state["ratio_steps"] + 1
        # without a label of the attribute in any batch so far there is nothing to go by
        if turn >= _MEASURED_EVERY and turn % _MEASURED_EVERY and state["n_measured"]:
            norm = state["norm_by_norm_at_z"] * norm_at_z
            scale = self._mean_task_norm() / norm if norm > 0 else 1.0
            self._gradients(loss + weight * scale * through_z)
            return metrics
        g_task = self._gradients(loss, retain_graph=True)
        g_mi = self._gradients(through_z)
        steps = 1 if turn < _MEASURED_EVERY else _MEASURED_EVERY
        state["task_norm_sum"] += steps * gradient_norm(g_task)
        state["task_norm_count"] += steps
        if norm_at_z > 0:
            # a batch's own is a fifth off: a mean over the last measurements
            state["n_measured"] += 1
            change = gradient_norm(g_mi) / norm_at_z - state["norm_by_norm_at_z"]
            state["norm_by_norm_at_z"] += change / min(state["n_measured"], _MEASURED_OVER)
        for p, g in zip(
            self._parameters, weighted_sum(g_task, at_norm(g_mi, self._mean_task_norm()), weight), strict=True
        ):
            p.grad = g
        return metrics | (_norms(g_task, g_mi) if log else {})

    def _mean_task_norm(self) -> float:
        """Mean over all steps so far, so that the penalty keeps its force when the task gradient vanishes."""
        return self._state["task_norm_sum"] / self._state["task_norm_count"]

    def _share_told(self, share: float) -> float:
        """The estimate's share of the attributes' entropy, a mean over recent steps, between 0 and 1."""
        self._state["share_count"] += 1
        told = self._state["share_told"]
        told += (min(max(share, 0.0), 1.0) - told) / min(self._state["share_count"], _RECENT)
        self._state["share_told"] = told
        return told

    # --- the step itself ---

    def _descend(self, metrics: StepMetrics, step: int, *, log: bool) -> StepMetrics:
        """Let the optimizers follow .grad, clipped; a gradient that is not finite is not followed."""
        if log:
            metrics["grad_norm/total"] = gradient_norm([p.grad for p in self._parameters])
        if self.clip_norm is not None:
            norm = self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False
            )
            assert norm is not None, "Fabric gives the norm where it clips by it"
            if not math.isfinite(float(norm)):
                self._skip(metrics | {"gradient_norm": float(norm)}, step)
                return metrics
        self.optimizer.step()
        # released: the second optimizer follows the capped MI gradient alone, at λ times the first's rate
        if self.penalty_optimizer is not None and self.debiaser is not None:
            for p, g in zip(self._parameters, self._capped, strict=True):
                p.grad = g
            self.penalty_optimizer.step()
        self._state["skipped_in_a_row"] = 0
        if self._state["skipped"]:
            metrics["skipped_steps"] = float(self._state["skipped"])
        return metrics

    def _skip(self, metrics: StepMetrics, step: int) -> None:
        """Leave weights as they are; too many such steps in a row end the run with what was not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        self._state["skipped"] += 1
        self._state["skipped_in_a_row"] += 1
        metrics["skipped_steps"] = float(self._state["skipped"])
        if self._state["skipped_in_a_row"] > self.max_skipped:
            penalty = "" if self.debiaser is None else " or debias.weight, lengthen debias.warmup_epochs"
            shown = ", ".join(f"{k} is {v}" for k, v in metrics.items() if not math.isfinite(v))
            raise TrainingError(
                f"step {step}: {shown or 'features are not finite'}, as in {self.max_skipped} steps before it: "
                f"training diverged. Lower training.learning_rate{penalty}, or set training.clip_norm."
            )


def _numbers(found: Mapping[str, Tensor]) -> StepMetrics:
    """Scalars as numbers, read at once: on a GPU each reading waits until all before it is computed."""
    values: list[float] = torch.stack([value.detach().double() for value in found.values()]).tolist()
    return dict(zip(found, values, strict=True))


def _norms(task: Gradients, penalty: Gradients) -> StepMetrics:
    return {"grad_norm/task": gradient_norm(task), "grad_norm/penalty": gradient_norm(penalty)}
