"""One training step: fit the critic on detached features, then move the extractor on task loss and MI penalty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.data.batch import Batch
from mibias_cli.errors import TrainingError
from mibias_cli.estimators.protocol import Estimator, Sample
from mibias_cli.seeds import derive_seed
from mibias_cli.training.penalty import gradient_norm, rescaled
from mibias_cli.training.queue import FeatureQueue, sample_of
from mibias_cli.training.settings import DebiasSettings

__all__ = ["TASK_WEIGHT", "Debiaser", "Monitor", "StepMetrics", "Stepper", "task_loss"]

TASK_WEIGHT = "*task*"
"""Key of `Batch.weight` under which the task loss finds its weights; no attribute can be called so."""

StepMetrics = dict[str, float]


class Monitor(Estimator, Protocol):
    """Attribute heads that are trained beside the estimator, so that their accuracy can be watched."""

    def accuracy(self, sample: Sample) -> float:
        """Share of the sample whose class the heads name, averaged over channels."""
        ...


def task_loss(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Cross-entropy (scalar, nats) of logits (n, classes) on targets y (n,), a weighted mean if weights are given."""
    if weight is None:
        return functional.cross_entropy(logits, y)
    losses = functional.cross_entropy(logits, y, reduction="none")
    weight = weight.to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(torch.finfo(losses.dtype).tiny)


@dataclass(kw_only=True)
class Debiaser:
    """What debiasing adds to plain training: one estimator and one monitor per attribute, and the queue.

    A monitor may be the estimator itself (the classifier bound). Everything random is drawn from generators that are
    seeded by (seed, what for, step).
    """

    settings: DebiasSettings
    estimators: Mapping[str, Estimator]
    monitors: Mapping[str, Monitor]
    queue: FeatureQueue | None
    seed: int

    @property
    def weighted(self) -> bool:
        """Whether estimators see balancing weights."""
        return self.settings.balance in ("critic", "both")

    def generator(self, *place: int | str) -> torch.Generator:
        """A CPU generator for one place in the run."""
        return torch.Generator().manual_seed(derive_seed(self.seed, *place))

    def fit(self, samples: Mapping[str, Sample], step: int, turn: int = 0) -> None:
        """One turn of every estimator, and of the monitors that are not estimators themselves."""
        for name, estimator in self.estimators.items():
            estimator.fit(samples[name], self.generator("critic", name, step, turn))
            monitor = self.monitors[name]
            if monitor is not estimator and turn == 0:
                monitor.fit(samples[name], self.generator("monitor", name, step))

    def fit_on_batch(self, batch: Batch, z: Tensor, step: int, turn: int) -> None:
        """Fit on one freshly embedded batch (the paper's schedule)."""
        self.fit({n: sample_of(batch, z, n, weighted=self.weighted) for n in self.estimators}, step, turn)

    def fit_on_queue(self, batch: Batch, z: Tensor, step: int) -> None:
        """Fit on all that the queue holds, then take the batch into it.

        The batch that the penalty is computed on is not yet among what the critic was fitted on, so that the estimate
        is held out. The first batch of all is the exception: without it the queue is empty.
        """
        assert self.queue is not None, "the queue schedule has a queue"
        first = len(self.queue) == 0
        if first:
            self.queue.push(batch, z)
        self.fit({name: self.queue.sample(name) for name in self.estimators}, step)
        if not first:
            self.queue.push(batch, z)

    def penalty(self, batch: Batch, z: Tensor, step: int) -> Tensor:
        """The sum of the estimates over attributes (scalar, nats), differentiable in z (n, d)."""
        total = z.new_zeros(())
        for name, estimator in self.estimators.items():
            sample = sample_of(batch, z, name, weighted=self.weighted)
            total = total + estimator.penalty(sample, self.generator("penalty", name, step))
        return total

    def metrics(self, batch: Batch, z: Tensor, step: int) -> StepMetrics:
        """Estimated MI in bits and attribute-head accuracy per attribute on this batch."""
        result: StepMetrics = {}
        for name, estimator in self.estimators.items():
            sample = sample_of(batch, z.detach(), name, weighted=self.weighted)
            plain = sample_of(batch, z.detach(), name, weighted=False)
            nats = estimator.estimate(sample, self.generator("estimate", name, step))
            result[f"{name}/mi_bits"] = nats / math.log(2)
            result[f"{name}/head_accuracy"] = self.monitors[name].accuracy(plain)
        return result


class Stepper:
    """Takes training steps of one model.

    Args:
        fabric: Lightning Fabric, already launched.
        model: The task model, set up by Fabric.
        optimizer: Optimizer of extractor and head, set up by Fabric.
        penalty_optimizer: `gradients: released` only: the second optimizer, for the extractor's MI step.
        debiaser: None for plain training.
        clip_norm: Largest gradient norm, or None.
        task_weighted: Whether the task loss is weighted by `Batch.weight[TASK_WEIGHT]`.
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
        task_weighted: bool = False,
    ) -> None:
        self.fabric = fabric
        self.model = model
        self.optimizer = optimizer
        self.penalty_optimizer = penalty_optimizer
        self.debiaser = debiaser
        self.clip_norm = clip_norm
        self.task_weighted = task_weighted
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._capped: list[Tensor | None] = []

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
        loss = task_loss(output["logits"], batch.y, batch.weight.get(TASK_WEIGHT) if self.task_weighted else None)
        metrics: StepMetrics = {"task_loss": float(loss.detach())}
        if debiaser is None:
            self._backward(loss)
        else:
            z = output["z"]
            if debiaser.settings.schedule == "queue":
                debiaser.fit_on_queue(batch, z.detach(), step)
            penalty = debiaser.penalty(batch, z, step)
            metrics["penalty_nats"] = float(penalty.detach())
            if log:
                metrics |= debiaser.metrics(batch, z, step)
            metrics |= self._backward_both(loss, penalty, z, weight, log=log)
        self._check_finite(metrics, step)
        if log:
            metrics["grad_norm/total"] = gradient_norm([p.grad for p in self._parameters])
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        if self.penalty_optimizer is not None and debiaser is not None:
            self._penalty_step()
        return metrics

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
        penalty_gradients = [p.grad for p in self._parameters]
        capped = rescaled(task, penalty_gradients)
        released = self.debiaser.settings.gradients == "released"
        self._capped = capped if released else []
        for p, g_task, g_penalty in zip(self._parameters, task, capped, strict=True):
            if released or g_penalty is None:
                p.grad = g_task
            else:
                p.grad = weight * g_penalty if g_task is None else g_task + weight * g_penalty
        if not log:
            return {}
        return {"grad_norm/task": gradient_norm(task), "grad_norm/penalty": gradient_norm(penalty_gradients)}

    def _backward_retaining(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss, retain_graph=True)

    def _penalty_step(self) -> None:
        """The second optimizer follows the capped MI gradient alone; its rate, λ times the first's, the loop sets."""
        assert self.penalty_optimizer is not None, "released gradients have a second optimizer"
        for p, g in zip(self._parameters, self._capped, strict=True):
            p.grad = g
        self.penalty_optimizer.step()

    @staticmethod
    def _check_finite(metrics: StepMetrics, step: int) -> None:
        for name in ("task_loss", "penalty_nats"):
            value = metrics.get(name, 0.0)
            if not math.isfinite(value):
                raise TrainingError(
                    f"step {step}: {name} is {value}: training diverged. Lower training.learning_rate or "
                    "debias.weight, lengthen debias.warmup_epochs, or set training.clip_norm."
                )
