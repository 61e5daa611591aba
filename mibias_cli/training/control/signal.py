"""Whether the penalty has a signal: what its critic finds on held-out rows, beside what shuffled labels give."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Generator

from mibias_cli.estimators.protocol import Estimator, Sample
from mibias_cli.estimators.rows import permutation, permutation_within

__all__ = ["SignalWatch", "beyond_chance", "for_a_signal"]

N_SHUFFLES = 19
"""Shuffles that a signal must exceed, all of them: a permutation test at 5 %."""
MAX_ROWS = 500
"""Held-out rows that are looked at: enough for any signal that training could follow, at little cost."""
PATIENCE = 2
"""Epochs in a row without a signal before it is said."""
_FEW_LABELLED, _SMALL_SHARE = 500, 0.5
"""Training rows with a label, and their share, below which it is labels that lack."""


def beyond_chance(estimator: Estimator, sample: Sample, generator: Generator, *, given_target: bool) -> float:
    """By how much an estimate on rows that were not fitted on exceeds what it would be without any dependence.

    That is the most that the estimator finds where labels are shuffled (given the target, within each of its classes):
    many measures are above 0 for any finite sample. Of a bound in nats that is not an upper one it is at least 0: below
    that a critic is worse than the frequencies of the classes. In the estimator's `unit`; nan without an estimate.
    """
    found = estimator.estimate(sample, generator)
    group = sample.y if given_target and sample.y is not None else torch.zeros(len(sample), device=sample.z.device)
    nothing = [0.0] if estimator.unit == "nats" and estimator.direction != "upper" else []
    for _ in range(N_SHUFFLES):
        # what belongs to a label goes with it
        order = permutation_within(group.long(), generator)
        weight = None if sample.weight is None else sample.weight[order]
        shuffled = replace(sample, c=sample.c[order], known=sample.known[order], weight=weight)
        nothing.append(estimator.estimate(shuffled, generator))
    return found - max(nothing)


def for_a_signal(train: np.ndarray, validation: np.ndarray, *, copies: bool = False) -> str:
    """What may give a critic that found nothing a signal: labels, or else less to memorise.

    Args:
        train, validation: Masks (n,) of the rows of each split that have a label of the attribute.
        copies: Whether it was fitted on copies, whose values are wrong where channel statistics do not show them.
    """
    labelled = int(train.sum())
    if labelled < min(_FEW_LABELLED, _SMALL_SHARE * len(train)):
        return f"Only {labelled:,} of {len(train):,} training rows have a label of it: label more, or leave it out"
    few = f"Unless {int(validation.sum()):,} held-out rows are too few to show one,"
    if copies:
        return f"{few} it is no matter of channel statistics, which is all that debias.mix.copies moves: leave that out"
    return (
        f"{few} set fewer features "
        "(representation.bottleneck), more training.weight_decay, or debias.estimator: closed_form with fewer "
        "debias.critic.n_random_features"
    )


def _is_settled(sample: Sample) -> bool:
    """Whether each of the target's classes has one value of the attribute here: then nothing is told beyond it."""
    if sample.y is None:
        return False
    pairs = torch.cat([sample.y[:, None].double(), sample.c.double()], dim=1)[sample.known]
    return len(torch.unique(pairs, dim=0)) == len(torch.unique(pairs[:, 0]))


class SignalWatch:
    """Looks at every critic on validation rows after each epoch, from the first one on.

    A critic that memorised its rows knows nothing of others, and its gradient is noise: the penalty then changes
    nothing, however large λ is. A critic that found something before and no longer does has done its work, or has
    overfitted since. Only the audit can tell these two apart.
    """

    def __init__(self, *, given_target: bool = False) -> None:
        self.given_target = given_target
        self._last: dict[str, float] = {}
        self._silent: dict[str, int] = {}
        self._heard: list[str] = []
        self._named: list[str] = []

    def look(self, name: str, estimator: Estimator, sample: Sample, generator: Generator) -> dict[str, float]:
        """Figures of one attribute's critic on validation rows."""
        sample = sample.take(permutation(len(sample), generator, sample.z.device)[:MAX_ROWS])
        found = estimator.estimate(sample, generator)
        in_nats = estimator.unit == "nats"
        figures = {"critic_bits": found / math.log(2)} if in_nats else {"critic_dependence": found}
        self._last.pop(name, None)
        if self.given_target and _is_settled(sample):
            return figures
        if name not in self._heard and name not in self._named:
            self._last[name] = beyond_chance(estimator, sample, generator, given_target=self.given_target)
            figures["critic_signal"] = self._last[name]
        elif in_nats and estimator.direction != "upper":
            # once there was a signal, shuffles are spared: bits at or below 0 say that it is gone
            self._last[name] = found
        return figures

    def silences(self, penalised: Collection[str]) -> Iterator[tuple[str, bool]]:
        """Attributes whose critics are silent for the second epoch, each named once, and whether there was a signal.

        Only those that are penalised count: without λ nobody needs a signal.
        """
        for name, signal in self._last.items():
            if name not in penalised or math.isnan(signal):
                continue
            self._silent[name] = 0 if signal > 0 else self._silent.get(name, 0) + 1
            if signal > 0 and name not in self._heard:
                self._heard.append(name)
            if self._silent[name] == PATIENCE and name not in self._named:
                self._named.append(name)
                yield name, name in self._heard

    def state_dict(self) -> dict[str, object]:
        """What a resumed run needs."""
        return {"silent": dict(self._silent), "heard": list(self._heard), "named": list(self._named)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` gave; empty in checkpoints of before there was a watch."""
        silent, heard, named = (state.get(key) for key in ("silent", "heard", "named"))
        self._silent = dict(silent) if isinstance(silent, dict) else {}
        self._heard = list(heard) if isinstance(heard, list) else []
        self._named = list(named) if isinstance(named, list) else []
