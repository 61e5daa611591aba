"""Whether the critic keeps up: on rows that neither was fitted on, it is compared with a fresh linear fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Generator, Tensor

from mibias_cli.estimators.protocol import Estimator, Sample

__all__ = ["CriticWatch"]

_EVERY = 50
_DECAY = 0.7
_LAG_NATS = 0.02
_MOST = 4


class CriticWatch:
    """Adapts the number of critic steps K to how the critic does beside a fresh linear classifier.

    Training minimises a lower bound, so a critic that lags looks like success. Every 50 steps a linear head is fitted
    from scratch on the queue's features, and both are scored on the present batch, which neither has seen. Where the
    linear fit is ahead by more than 0.02 nats, averaged over looks, K rises by half; where the critic is ahead by as
    much, K falls back.

    `steps` is K at the start, which is also the smallest; four times as many are the most.
    """

    def __init__(self, make_linear: Mapping[str, Callable[[], Estimator]], *, steps: int) -> None:
        self.make_linear = make_linear
        self.steps = steps
        self._lag: dict[str, float] = {}
        self._steps: dict[str, int] = {}

    def look(
        self, name: str, estimator: Estimator, queue: Sample, batch: Sample, step: int, generator: Generator
    ) -> None:
        """Compare and adapt, at every fiftieth step; an estimator without critic steps is left alone."""
        if step % _EVERY or not hasattr(estimator, "steps") or estimator.unit != "nats":
            return
        linear: Estimator = self.make_linear[name]().to(queue.z.device, queue.z.dtype)
        # standardised by the queue, so that one learning rate fits features of any scale
        mean, spread = queue.z.mean(dim=0), queue.z.std(dim=0) + 1e-6
        linear.fit(_scaled(queue, mean, spread), generator)
        lag = linear.estimate(_scaled(batch, mean, spread), generator) - estimator.estimate(batch, generator)
        if not math.isfinite(lag):
            return
        # a single batch's difference is noise: K follows its moving average
        smoothed = _DECAY * self._lag.get(name, lag) + (1 - _DECAY) * lag
        self._lag[name] = smoothed
        present = self._steps.get(name, self.steps)
        if smoothed > _LAG_NATS:
            present = min(math.ceil(1.5 * present), _MOST * self.steps)
        elif smoothed < -_LAG_NATS:
            present = max(math.floor(present / 1.5), self.steps)
        self._steps[name] = present
        estimator.steps = present

    def metrics(self, name: str) -> dict[str, float]:
        """The present K and by how many nats the linear fit is ahead."""
        if name not in self._lag:
            return {}
        return {f"{name}/critic_steps": float(self._steps[name]), f"{name}/critic_lag_nats": self._lag[name]}

    def state_dict(self) -> dict[str, Mapping[str, float]]:
        """What a resumed run needs."""
        return {"lag": dict(self._lag), "steps": dict(self._steps)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]], estimators: Mapping[str, Estimator]) -> None:
        """Restore what `state_dict` gave, the estimators' K included."""
        self._lag, self._steps = dict(state["lag"]), {name: int(k) for name, k in state["steps"].items()}
        for name, steps in self._steps.items():
            estimators[name].steps = steps  # type: ignore[attr-defined]  # only estimators that have steps are there


def _scaled(sample: Sample, mean: Tensor, spread: Tensor) -> Sample:
    return replace(sample, z=(sample.z.detach() - mean) / spread)
