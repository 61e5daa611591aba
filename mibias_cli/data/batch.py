"""What flows from data to everything after it: attributes, batches, splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mibias_cli.data.target import Target

__all__ = ["Attribute", "Batch", "BiasedData", "Reader", "Split"]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A bias attribute of one or several channels.

    A categorical attribute has `n_classes` per channel. A continuous one has quantile bins per channel
    (`bin_edges`, from the training split) through which attribute heads and probes see it.

    Args:
        name: The attribute's name in recipe and report.
        kind: categorical or continuous.
        channels: Names of its channels; an attribute of one channel has its own name there.
        n_classes: Classes (or bins) per channel.
        class_names: Names of the classes (or bins) per channel.
        bin_edges: Continuous only: inner edges per channel, each of length n_classes − 1.
    """

    name: str
    kind: Literal["categorical", "continuous"]
    channels: tuple[str, ...]
    n_classes: tuple[int, ...]
    class_names: tuple[tuple[str, ...], ...]
    bin_edges: tuple[tuple[float, ...], ...] | None = None

    def classes(self, c: np.ndarray) -> np.ndarray:
        """Class indices (n, channels) int64 of attribute values (n, channels): bins where continuous."""
        if self.bin_edges is None:
            return np.asarray(c, dtype=np.int64)
        columns = [np.searchsorted(np.asarray(e), c[:, k], side="right") for k, e in enumerate(self.bin_edges)]
        return np.stack(columns, axis=1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch: inputs x (n, …), targets y, attributes c[name] (n, channels), known[name] (n,), rows index (n,).

    y is int64 (n,) of classes, float32 (n, k) of labels or standardised numbers, zeros (n,) without a target; `stratum`
    (n,) is its discrete view, None where y is that itself.
    c is int64 for a categorical attribute and float32 for a continuous one; where `known` is False its value means
    nothing. `weight` holds what was made of labels beforehand: balancing weights p(y)p(c)/p(y,c) (n,) with mean 1 over
    the training split, and what is added to class scores (n, k).
    Rows from `n_own` on are not the epoch's: they were drawn in proportion to weights, for the estimator.
    """

    x: Tensor
    y: Tensor
    c: dict[str, Tensor]
    known: dict[str, Tensor]
    index: Tensor
    weight: dict[str, Tensor] = field(default_factory=dict)
    stratum: Tensor | None = None
    n_own: int | None = None

    @property
    def own(self) -> Batch:
        """The epoch's own rows: what the task learns from."""
        return self if self.n_own is None else self._part(slice(self.n_own))

    @property
    def drawn(self) -> Batch:
        """What the estimator sees: the rows that were drawn for it, or the epoch's own where none were."""
        return self if self.n_own is None else self._part(slice(self.n_own, None))

    def _part(self, rows: slice) -> Batch:
        def cut(d: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v[rows] for k, v in d.items()}

        return Batch(
            x=self.x[rows],
            y=self.y[rows],
            c=cut(self.c),
            known=cut(self.known),
            index=self.index[rows],
            weight=cut(self.weight),
            stratum=None if self.stratum is None else self.stratum[rows],
        )

    @property
    def strata(self) -> Tensor:
        """The target as classes (n,) int64: what is done given y is done given these."""
        return self.y if self.stratum is None else self.stratum

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""

        def move(d: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(device, non_blocking=True) for k, v in d.items()}

        return Batch(
            x=self.x.to(device, non_blocking=True),
            y=self.y.to(device, non_blocking=True),
            c=move(self.c),
            known=move(self.known),
            index=self.index.to(device, non_blocking=True),
            weight=move(self.weight),
            stratum=None if self.stratum is None else self.stratum.to(device, non_blocking=True),
            n_own=self.n_own,
        )


class Reader(Protocol):
    """Reads inputs by row. What it returns depends on (rows, epoch, seed it was made with) alone."""

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, …) of these rows; epoch None: the evaluation transform, else training's, seeded by the epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """One named split: labels in memory, inputs read on demand.

    Args:
        name: train, validation or audit.
        y: Targets, as in a batch: classes (n,) int64, labels or standardised numbers (n, k) float32, or zeros (n,).
        c: Attributes by name, (n, channels): int64 where categorical, float32 where continuous.
        known: By attribute name, (n,) bool: False where the attribute is missing.
        group: Group ids (n,) or None.
        rows: Row of each sample in the reader (n,) int64.
        row_names: What to call each sample in an error (a path, or `row 17`), length n.
        reader: Reads the inputs.
        stratum: The target's strata (n,) int64, None where y is classes.
        kept, kept_known: Values (n, 1) and masks (n,) of the columns that good features should still tell, as c and
            known are of attributes.
    """

    name: str
    y: np.ndarray
    c: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    group: np.ndarray | None
    rows: np.ndarray
    row_names: list[str]
    reader: Reader
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    kept_known: dict[str, np.ndarray] = field(default_factory=dict)
    stratum: np.ndarray | None = None

    @property
    def strata(self) -> np.ndarray:
        """The target as classes (n,) int64: what is done given y is done given these."""
        return self.y if self.stratum is None else self.stratum

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class BiasedData:
    """A whole data set: three splits and what they have in common.

    Args:
        train, validation, audit: The splits.
        attributes: By name.
        target: What the task predicts.
        input_shape: Shape of one input as the backbone gets it, for example (3, 96, 96) or (104,).
        fingerprint: sha256 over what the data are (labels, attributes, split, and paths or pixels).
        notes: What the user should know of how the data were read (rows left out, a validation split that was drawn).
        kept: By name, the columns that good features should still tell, described as attributes are.
    """

    train: Split
    validation: Split
    audit: Split
    attributes: dict[str, Attribute]
    target: Target
    input_shape: tuple[int, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    kept: dict[str, Attribute] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the target's classes, or of its strata."""
        return self.target.class_names
