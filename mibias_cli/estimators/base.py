"""What all estimators share: a critic that learns by steps, rows that are known, and what a checkpoint keeps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, Self

import torch
from torch import Generator, Tensor, nn

from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.old_layouts import present_layout
from mibias_cli.estimators.parameters import full_precision, held_fixed, make_optimizer
from mibias_cli.estimators.protocol import EstimatorSpec, EstimatorState, Sample
from mibias_cli.estimators.rows import blocks, comparable_rows, minibatches, no_penalty, target_classes

__all__ = ["BaseEstimator"]


class BaseEstimator(nn.Module):
    """The skeleton of an estimator: a new one overrides `values`, and `loss` where it has a critic.

    `fit` is: `prepare`, then K steps of the optimizer down `loss`, then `solve`. `penalty` is the sum of `values` over
    channels with the critic held fixed, `estimate` the largest of `reported`. All of them see only rows whose attribute
    is known, in full precision; what must survive a checkpoint beside the critic is a buffer.
    """

    unit: Literal["nats", "own"] = "nats"
    direction: Literal["lower", "upper", "none"] = "lower"
    least: int = 2
    """Fewer rows than this change nothing, are worth no penalty, and have no estimate."""
    block: int | None = None
    """For critics that compare all pairs of a batch: most rows that are paired at a time."""
    reads_values: bool = True
    """Whether a continuous attribute enters as numbers, standardised by the first fit; else by its bins alone."""

    like: Tensor
    value_mean: Tensor | None
    value_scale: Tensor | None

    def __init__(self, spec: EstimatorSpec, critic: nn.Module | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.n_targets = spec.targets_seen
        self.critic: nn.Module = nn.Identity() if critic is None else critic
        self.optimizer: torch.optim.Optimizer | None = None
        if critic is not None:
            self.steps = spec.steps
            self.optimizer = self._fresh_optimizer()
        # tells the device and floating type that samples are brought to, with or without a critic
        like = next(self.critic.parameters(), torch.zeros(())).detach().new_zeros(())
        self.register_buffer("like", like, persistent=False)
        self.register_buffer("value_mean", None)
        self.register_buffer("value_scale", None)

    # What an estimator is made of: hooks, most of which have a default.

    def rows(self, sample: Sample) -> Sample:
        """The rows that can be used: known, of positive weight, and given y not alone in their target class."""
        return comparable_rows(sample, self.like.dtype, self.n_targets)

    def measured(self, sample: Sample) -> Sample:
        """The rows that have a value; fewer than `rows` where a solution does not cover all, or there is none yet."""
        return self.rows(sample)

    def prepare(self, rows: Sample, generator: Generator) -> None:
        """What a fit does before the critic's steps: statistics of the sample, random features."""
        # of a continuous attribute, the first time alone: what the critic learned keeps its meaning
        if not self.reads_values or self.spec.value_classes is not None or self.value_mean is not None:
            return
        values = rows.c.to(self.like.dtype)
        deviation = values.std(dim=0, unbiased=False)
        self.value_mean = values.mean(dim=0)
        self.value_scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def loss(self, rows: Sample, generator: Generator) -> Tensor:
        """What one step of the critic descends on a minibatch, a scalar."""
        raise NotImplementedError

    def solve(self, rows: Sample, generator: Generator) -> None:
        """What a fit does after the critic's steps, without gradients: closed-form solutions."""

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        """The estimate per channel, or one where channels enter together: scalars, differentiable in rows.z."""
        raise NotImplementedError

    def reported(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        """What `estimate` reports, where that is not what is minimised."""
        return self.values(rows, generator)

    def objective(self, rows: Sample, generator: Generator) -> Tensor:
        """What `penalty` is where there are enough rows: the sum over channels."""
        return torch.stack(list(self.values(rows, generator))).sum()

    # What the training loop calls.

    def fit(self, sample: Sample, generator: Generator) -> None:
        """Improve the critic on this sample; z is detached, and too few rows change nothing."""
        rows = self.rows(sample)
        if len(rows) < self.least:
            return
        rows = replace(rows, z=rows.z.detach())
        with full_precision(rows.z.device):
            self.prepare(rows, generator)
            if self.optimizer is not None:
                # metrics are taken without gradients, and a fit may be called from there
                with torch.enable_grad():
                    for part in self.batches(rows, generator):
                        self.optimizer.zero_grad(set_to_none=True)
                        self.loss(part, generator).backward()
                        self.optimizer.step()
            with torch.no_grad():
                self.solve(rows, generator)

    def penalty(self, sample: Sample, generator: Generator) -> Tensor:
        """Sum over channels in `unit` with the critic held fixed, a scalar, differentiable in sample.z (n, d)."""
        rows = self.measured(sample)
        if len(rows) < self.least:
            return no_penalty(sample.z)
        # the extractor's backward pass must not reach the critic: it minimises what the critic maximises
        with held_fixed(self.critic), full_precision(rows.z.device):
            return self.objective(rows, generator)

    def estimate(self, sample: Sample, generator: Generator) -> float:
        """The largest channel's value in `unit`, since sums over channels bound nothing; nan for too few rows."""
        rows = self.measured(sample)
        if len(rows) < self.least:
            return math.nan
        with torch.no_grad(), full_precision(rows.z.device):
            return max(float(value) for value in self.reported(rows, generator))

    def state_dict(self) -> EstimatorState:  # type: ignore[override]  # a module's, and its optimizer's
        """A copy of critic, optimizer state and buffers."""
        optimizer = None if self.optimizer is None else self.optimizer.state_dict()
        state: EstimatorState = {"tensors": super().state_dict(), "optimizer": optimizer}
        return copy.deepcopy(state)

    def load_state_dict(self, state: EstimatorState) -> None:  # type: ignore[override]
        """Restore what `state_dict` gave, here or in an older version, onto the present device and floating type."""
        state = copy.deepcopy(present_layout(state))
        for name, value in state["tensors"].items():
            # statistics and solutions do not exist, or have no size, before the first fit
            if not name.startswith("critic."):
                self.register_buffer(name, value.to(self.like))
        super().load_state_dict(state["tensors"])
        if self.optimizer is not None:
            assert state["optimizer"] is not None, "the critic was saved with its optimizer"
            self.optimizer.load_state_dict(state["optimizer"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move everything, as `to` does: the optimizer's state follows its parameters."""
        super()._apply(fn, recurse)
        if self.optimizer is not None:
            state, self.optimizer = self.optimizer.state_dict(), self._fresh_optimizer()
            for kept, fresh in zip(state["param_groups"], self.optimizer.param_groups, strict=True):
                kept["fused"] = fresh["fused"]  # the new device's choice; all else goes on as it was
            self.optimizer.load_state_dict(state)
        return self

    def _fresh_optimizer(self) -> torch.optim.Optimizer:
        spec = self.spec
        return make_optimizer(spec.optimizer, self.critic, spec.learning_rate, spec.beta1)

    # What several estimators do to their rows.

    def batches(self, rows: Sample, generator: Generator) -> Iterator[Sample]:
        """The minibatches of a fit, one per step; a step without enough rows to compare is left out."""
        # an estimator that hides `steps` from the watch keeps the recipe's K
        steps, size = getattr(self, "steps", self.spec.steps), self.spec.batch_size
        if self.block is None:
            yield from minibatches(rows, size, steps, generator)
            return
        for part in minibatches(rows, min(size or self.block, self.block), steps, generator):
            # a minibatch may hold a single row of a target class: it has no partner there
            part = comparable_rows(part, part.z.dtype, self.n_targets)
            if len(part) >= self.least:
                yield part

    def parts(self, rows: Sample, generator: Generator) -> list[Sample]:
        """The rows in random blocks of at most `block`, since all pairs of a long sample do not fit into memory."""
        assert self.block is not None, "only what compares pairs is cut into blocks"
        parts = [comparable_rows(p, p.z.dtype, self.n_targets) for p in blocks(rows, self.block, generator)]
        return [part for part in parts if len(part) >= self.least]

    def group(self, rows: Sample) -> Tensor:
        """Which rows are compared or solved together (n,): those of a target class, or all as group 0."""
        if self.n_targets is not None:
            return target_classes(rows)
        return torch.zeros(len(rows), dtype=torch.int64, device=rows.z.device)

    def hold(self, tensors: dict[str, Tensor]) -> None:
        """Keep a solution: tensors by name, for `held`."""
        for name, value in tensors.items():
            self.register_buffer(name, value)

    def held(self) -> dict[str, Tensor]:
        """Everything that is kept beside the critic, by name."""
        return dict(self.named_buffers(recurse=False))

    def encoded(self, c: Tensor) -> Tensor:
        """c (n, channels) as a critic takes it (n, width): one-hot classes, or values standardised by the first fit."""
        found = encode_attribute(c, self.spec.value_classes, self.like.dtype)
        if self.value_mean is None or self.value_scale is None:
            return found
        return (found - self.value_mean) / self.value_scale
