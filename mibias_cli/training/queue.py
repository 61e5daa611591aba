"""A queue of recent detached features: what the critic is fitted on without an extra extractor pass."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from mibias_cli.data.batch import Batch, Split
from mibias_cli.estimators.protocol import Sample

__all__ = ["FeatureQueue", "QueueState", "sample_of", "split_sample"]


def sample_of(batch: Batch, z: Tensor, attribute: str, *, weighted: bool) -> Sample:
    """What an estimator of one attribute sees of a batch whose representation is z (n, d)."""
    return Sample(
        z=z,
        c=batch.c[attribute],
        y=batch.strata,
        weight=batch.weight.get(attribute) if weighted else None,
        known=batch.known[attribute],
    )


def split_sample(split: Split, rows: np.ndarray, attribute: str, z: Tensor) -> Sample:
    """What an estimator sees, unweighted, of positions `rows` (n,) of a split whose representation is z (n, d)."""

    def at(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[rows]).to(z.device)

    return Sample(z=z, c=at(split.c[attribute]), y=at(split.strata), weight=None, known=at(split.known[attribute]))


class QueueState(TypedDict):
    """What a checkpoint stores of a queue."""

    buffers: dict[str, Tensor]
    next: int
    filled: int


class FeatureQueue:
    """The last `capacity` rows of z with their labels, in ring buffers: the oldest are overwritten first.

    Features of a few steps ago stand in for fresh ones: the extractor moves little in so many steps, and K critic
    steps then cost no forward pass of it.
    """

    def __init__(self, capacity: int, *, weighted: bool) -> None:
        self.capacity = capacity
        self.weighted = weighted
        self._buffers: dict[str, Tensor] = {}
        self._next = 0
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def push(self, batch: Batch, z: Tensor) -> None:
        """Add a batch with its detached representation z (n, d)."""
        fields = {"z": z.detach(), "y": batch.strata}
        for name, c in batch.c.items():
            fields[f"c/{name}"] = c
            fields[f"known/{name}"] = batch.known[name]
            if self.weighted and name in batch.weight:
                fields[f"weight/{name}"] = batch.weight[name]
        # a batch larger than the queue leaves its last rows there
        n = min(len(z), self.capacity)
        rows = (self._next + torch.arange(n, device=z.device)) % self.capacity
        for key, value in fields.items():
            # the first batch says which fields there are, of what type and on which device
            if key not in self._buffers:
                self._buffers[key] = value.new_zeros((self.capacity, *value.shape[1:]))
            self._buffers[key][rows] = value[-n:]
        self._next = int((self._next + n) % self.capacity)
        self._filled = min(self.capacity, self._filled + n)

    def sample(self, attribute: str) -> Sample:
        """All rows held, as an estimator of one attribute sees them."""
        # in the order of the ring, not of time: whoever takes minibatches of it draws them at random
        held = {key: buffer[: self._filled] for key, buffer in self._buffers.items()}
        return Sample(
            z=held["z"],
            c=held[f"c/{attribute}"],
            y=held["y"],
            weight=held.get(f"weight/{attribute}"),
            known=held[f"known/{attribute}"],
        )

    def state_dict(self) -> QueueState:
        """Everything held."""
        return {"buffers": dict(self._buffers), "next": self._next, "filled": self._filled}

    def load_state_dict(self, state: QueueState, device: torch.device) -> None:
        """Restore what `state_dict` gave, on a device."""
        self._buffers = {key: value.to(device, copy=True) for key, value in state["buffers"].items()}
        self._next, self._filled = state["next"], state["filled"]
