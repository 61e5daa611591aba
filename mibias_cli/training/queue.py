"""A queue of recent detached features: what the critic is fitted on without an extra extractor pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.estimators.protocol import Sample

__all__ = ["FeatureQueue", "sample_of"]


def sample_of(batch: Batch, z: Tensor, attribute: str, *, weighted: bool) -> Sample:
    """What an estimator of one attribute sees of a batch whose representation is z (n, d)."""
    return Sample(
        z=z,
        c=batch.c[attribute],
        y=batch.strata,
        weight=batch.weight.get(attribute) if weighted else None,
        known=batch.known[attribute],
    )


class FeatureQueue:
    """The last `capacity` samples, oldest overwritten first; one ring buffer per attribute field, one for z.

    Features of a few steps ago stand in for fresh ones: the extractor moves little in so many steps, and K critic
    steps then cost no forward pass of it.

    Args:
        capacity: Rows kept.
        weighted: Whether estimators see balancing weights.
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
        n = min(len(z), self.capacity)
        rows = (self._next + torch.arange(n, device=z.device)) % self.capacity
        for key, value in fields.items():
            if key not in self._buffers:
                self._buffers[key] = torch.zeros(
                    (self.capacity, *value.shape[1:]), dtype=value.dtype, device=value.device
                )
            self._buffers[key][rows] = value[-n:]
        self._next = int((self._next + n) % self.capacity)
        self._filled = min(self.capacity, self._filled + n)

    def sample(self, attribute: str) -> Sample:
        """All rows held, as an estimator of one attribute sees them."""
        held = {key: buffer[: self._filled] for key, buffer in self._buffers.items()}
        return Sample(
            z=held["z"],
            c=held[f"c/{attribute}"],
            y=held["y"],
            weight=held.get(f"weight/{attribute}"),
            known=held[f"known/{attribute}"],
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything held."""
        return {"buffers": dict(self._buffers), "next": self._next, "filled": self._filled}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` gave, on a device."""
        self._buffers = {key: value.to(device, copy=True) for key, value in state["buffers"].items()}
        self._next, self._filled = state["next"], state["filled"]
