"""What debiasing adds to plain training: estimators, attribute heads, the queue, and what steers λ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol, TypedDict

import torch
from torch import Tensor

from mibias_cli.backbone.mix import Mixed, StatisticsMixer
from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.estimators.protocol import Estimator, EstimatorState, Sample
from mibias_cli.seeds import derive_seed
from mibias_cli.training.control.budget import BudgetKeeper
from mibias_cli.training.control.meter import LeakageMeter
from mibias_cli.training.control.signal import SignalWatch
from mibias_cli.training.control.watch import CriticWatch
from mibias_cli.training.queue import FeatureQueue, QueueState, sample_of
from mibias_cli.training.settings import DebiasSettings

__all__ = ["Debiaser", "DebiaserState", "Monitor", "StepMetrics", "live_figures"]

StepMetrics = dict[str, float]


class Monitor(Estimator, Protocol):
    """Attribute heads that are trained beside the estimator, so that their accuracy can be watched."""

    def accuracy(self, sample: Sample) -> float:
        """Share of the sample whose class the heads name, averaged over channels."""


class DebiaserState(TypedDict):
    """What a checkpoint stores; the estimators' own states are tensors and plain values."""

    estimators: dict[str, EstimatorState]
    monitors: dict[str, EstimatorState]
    queue: QueueState | None
    budget: Mapping[str, Mapping[str, float]] | None
    watch: Mapping[str, Mapping[str, float]] | None
    signal: Mapping[str, object]


@dataclass(kw_only=True)
class Debiaser:
    """One estimator and one monitor per attribute, the queue, and what moves λ.

    A monitor may be the estimator itself (the classifier bound). Everything random is drawn from generators that are
    seeded by (seed, what for, step), so that a checkpoint needs none of their states.

    Args:
        queue: The queue schedule's features, else None.
        budget, meter: With a leakage budget: what drives λ per attribute, and what measures leakage for it.
        watch: Compares each critic with a fresh linear fit and adapts its steps, or None.
        mixer: Moves channel statistics between samples of other attribute values in the step's forward pass, or None.
        attributes: Whose values these are: all that are debiased, with an estimator or, until the last fit, without.

    `signal` heeds whether the critics find anything on validation rows.
    """

    settings: DebiasSettings
    estimators: Mapping[str, Estimator]
    monitors: Mapping[str, Monitor]
    queue: FeatureQueue | None
    seed: int
    budget: BudgetKeeper | None = None
    meter: LeakageMeter | None = None
    watch: CriticWatch | None = None
    mixer: StatisticsMixer | None = None
    attributes: Sequence[str] = ()
    signal: SignalWatch = field(init=False)

    def __post_init__(self) -> None:
        self.signal = SignalWatch(given_target=self.settings.objective == "conditional")

    @property
    def weighted(self) -> bool:
        """Whether estimators see balancing weights."""
        return self.settings.balance in ("critic", "both") and not self.draw_share

    @property
    def draw_share(self) -> float:
        """Rows of its own that the estimator has for each row of the batch, drawn in proportion to the weights."""
        drawing = self.settings.balance in ("critic", "both") and self.settings.balance_by == "draws"
        return self.settings.draw_share if drawing else 0.0

    @property
    def weights_task(self) -> bool:
        """Whether the task loss is weighted."""
        return self.settings.balance in ("task", "both")

    def mixing(self, batch: Batch, step: int) -> AbstractContextManager[Mixed | None]:
        """The scope of the step's forward pass: maps are mixed in it where the recipe says so; gives how."""
        if self.mixer is None:
            return nullcontext()
        # partners of copies may have any value: nothing is to be sorted by it
        groups = batch.index if self.mixer.copies else self._groups(batch)
        return self.mixer.mixing(groups, self.generator("mix", step))

    def as_mixed(self, batch: Batch, mixed: Mixed) -> Batch:
        """A mixed batch as critic, penalty and product of experts see it.

        A sample partly in another's style no longer carries its own attribute value: critic and penalty do not see it.
        A copy carries its partner's, of which its target tells nothing, and is told what that says of the target;
        copies are all that critic and penalty see.
        """
        assert self.mixer is not None, "something mixed it"
        device = batch.y.device
        if not self.mixer.copies:
            seen = (mixed.kept == 1).to(device)
            return replace(batch, known={name: known & seen for name, known in batch.known.items()})
        copied, partner = (mixed.kept == 0).to(device), mixed.partner.to(device)
        told = batch.with_attributes_of(partner)
        # balanced as they are
        weight = {key: torch.ones_like(given) if key in batch.c else given for key, given in batch.weight.items()}
        if TASK_OFFSET in weight:
            weight[TASK_OFFSET] = torch.where(copied[:, None], weight[TASK_OFFSET][partner], weight[TASK_OFFSET])
        return replace(told, known={name: known & copied for name, known in told.known.items()}, weight=weight)

    def copying(self, batch: Batch, step: int) -> AbstractContextManager[Tensor]:
        """The scope of a forward pass in which samples have all statistics of others, whose positions it gives."""
        assert self.mixer is not None, "the recipe mixes"
        return self.mixer.copying(self._groups(batch), self.generator("copies", step))

    def _groups(self, batch: Batch) -> Tensor:
        """Numbers (n,) that differ where any value of any debiased attribute does."""
        values = torch.cat([batch.c[name].double() for name in self.attributes], dim=1)
        return torch.unique(values, dim=0, return_inverse=True)[1]

    def generator(self, *place: int | str) -> torch.Generator:
        """A CPU generator for one place in the run."""
        return torch.Generator().manual_seed(derive_seed(self.seed, *place))

    def fit(self, samples: Mapping[str, Sample], step: int, turn: int = 0) -> None:
        """One turn of every estimator, and of the monitors that are not estimators themselves."""
        for name, estimator in self.estimators.items():
            estimator.fit(samples[name], self.generator("critic", name, step, turn))
            monitor = self.monitors[name]
            # heads that only watch learn one turn a step, however many the critic takes
            if monitor is not estimator and turn == 0:
                monitor.fit(samples[name], self.generator("monitor", name, step))

    def fit_on_batch(self, batch: Batch, z: Tensor, step: int, turn: int) -> None:
        """Fit on one freshly embedded batch: the paper's schedule."""
        self.fit({n: sample_of(batch, z, n, weighted=self.weighted) for n in self.estimators}, step, turn)

    def fit_on_queue(self, batch: Batch, z: Tensor, step: int) -> None:
        """Fit on all that the queue holds, then take the batch into it."""
        assert self.queue is not None, "the queue schedule has a queue"
        # the batch enters after the critic steps, so that the penalty is computed on rows that the critic has not seen;
        # only the very first enters before, since the queue is empty without it
        first = len(self.queue) == 0
        if first:
            self.queue.push(batch, z)
        samples = {name: self.queue.sample(name) for name in self.estimators}
        self.fit(samples, step)
        if first:
            return
        if self.watch is not None:
            for name, estimator in self.estimators.items():
                fresh = sample_of(batch, z, name, weighted=self.weighted)
                self.watch.look(name, estimator, samples[name], fresh, step, self.generator("watch", name, step))
        self.queue.push(batch, z)

    def penalty(self, batch: Batch, z: Tensor, step: int) -> Tensor:
        """The estimates' sum over attributes (scalar), each times its factor, differentiable in z (n, d)."""
        # λ enters as λ_a / λ for each attribute a: the step multiplies the sum by λ itself
        total = z.new_zeros(())
        for name, estimator in self.estimators.items():
            sample = sample_of(batch, z, name, weighted=self.weighted)
            total = total + self.factor(name) * estimator.penalty(sample, self.generator("penalty", name, step))
        return total

    def factor(self, name: str) -> float:
        """λ of one attribute relative to `settings.weight`."""
        # an attribute with a budget has the λ that keeps it; the others share debias.weight
        if self.budget is not None and name in self.budget.budget_bits:
            return self.budget.weights()[name] / self.settings.weight
        return self.settings.attribute_weights.get(name, 1.0)

    def penalised(self, weight: float) -> list[str]:
        """The attributes whose penalty counts at a λ."""
        return [name for name in self.estimators if weight * self.factor(name) > 0]

    def weight_metrics(self, weight: float) -> StepMetrics:
        """λ of each attribute, where attributes differ."""
        if self.budget is None and not self.settings.attribute_weights:
            return {}
        return {f"{name}/mi_weight": weight * self.factor(name) for name in self.estimators}

    def state_dict(self) -> DebiaserState:
        """Everything that a resumed run needs."""
        return {
            "estimators": {name: e.state_dict() for name, e in self.estimators.items()},
            "monitors": {name: m.state_dict() for name, m in self.monitors.items()},
            "queue": None if self.queue is None else self.queue.state_dict(),
            "budget": None if self.budget is None else self.budget.state_dict(),
            "watch": None if self.watch is None else self.watch.state_dict(),
            "signal": self.signal.state_dict(),
        }

    def load_state_dict(self, state: DebiaserState, device: torch.device) -> None:
        """Restore what `state_dict` gave."""
        for name, estimator in self.estimators.items():
            estimator.load_state_dict(state["estimators"][name])
            self.monitors[name].load_state_dict(state["monitors"][name])
        if self.queue is not None and state["queue"] is not None:
            self.queue.load_state_dict(state["queue"], device)
        if self.budget is not None and state["budget"] is not None:
            self.budget.load_state_dict(state["budget"])
        # checkpoints of before it was watched have none
        self.signal.load_state_dict(state.get("signal", {}))
        # last: it also sets the steps of the estimators that were restored above
        if self.watch is not None and state["watch"] is not None:
            self.watch.load_state_dict(state["watch"], self.estimators)

    def metrics(self, batch: Batch, z: Tensor, step: int) -> StepMetrics:
        """Estimated MI in bits and attribute-head accuracy per attribute on this batch."""
        result: StepMetrics = {}
        for name, estimator in self.estimators.items():
            sample = sample_of(batch, z.detach(), name, weighted=self.weighted)
            value = estimator.estimate(sample, self.generator("estimate", name, step))
            in_nats = estimator.unit == "nats"
            result[f"{name}/{'mi_bits' if in_nats else 'dependence'}"] = value / math.log(2) if in_nats else value
            # accuracy is unweighted: the share of the rows as they are
            result[f"{name}/head_accuracy"] = self.monitors[name].accuracy(replace(sample, weight=None))
            if self.watch is not None:
                result |= self.watch.metrics(name)
        return result


def live_figures(metrics: StepMetrics, debiaser: Debiaser | None, weight: float) -> StepMetrics:
    """What a user wants to see of a step while it runs: the task's loss, the estimate of leakage, and λ.

    Args:
        metrics: Of the step; `penalty_nats` is a sum over attributes, each times its factor.
        weight: λ at this step.
    """
    shown = {"loss": metrics["task_loss"]}
    if "skipped_steps" in metrics:
        shown["skipped steps"] = metrics["skipped_steps"]
    if debiaser is None or "penalty_nats" not in metrics:
        return shown
    factors = [debiaser.factor(name) for name in debiaser.estimators]
    in_nats = all(each.unit == "nats" for each in debiaser.estimators.values())
    # a sum that factors have changed is no estimate, unless they are all the same
    if in_nats and len(set(factors)) == 1 and factors[0] > 0:
        shown["leakage bits"] = metrics["penalty_nats"] / factors[0] / math.log(2)
    else:
        shown["penalty"] = metrics["penalty_nats"]
    own = {f"λ {key.removesuffix('/mi_weight')}": value for key, value in debiaser.weight_metrics(weight).items()}
    return shown | (own or {"λ": weight})
