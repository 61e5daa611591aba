"""What the data room hands to all others: attributes, batches, splits, and the whole data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mibias_cli.data.files.packed import Picked
from mibias_cli.data.input_rules import InputRules
from mibias_cli.data.target import Target, bin_codes

__all__ = ["OTHER_VIEW", "TASK_OFFSET", "Attribute", "Batch", "BiasedData", "Reader", "Split"]

OTHER_VIEW = 1 << 30
"""Added to an epoch it asks a reader for another augmented view than that epoch's own."""
TASK_OFFSET = "*offset*"
"""Key of what is added to class scores in training (n, k): a share of log p(y|c), most often less log p(y)."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A bias attribute of one or several channels.

    Attribute heads and probes see a continuous attribute through quantile bins (`bin_edges`, from the training split).

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
        return np.asarray(c, dtype=np.int64) if self.bin_edges is None else bin_codes(c, self.bin_edges)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch.

    Args:
        x: Inputs (n, …); on several ranks those of this rank's share of the rows (see `Share`).
        y: Targets: classes (n,) int64, labels or standardised numbers (n, k) float32, zeros (n,) without a target.
        c: By attribute, (n, channels): int64 where categorical, float32 where continuous.
        known: By attribute, (n,) bool: where False, the value in c means nothing.
        index: Positions in the split (n,).
        weight: Per row, computed beforehand from labels: balancing weights p(y)p(c)/p(y,c) (n,) with mean 1 over the
            training split, and numbers (n, k) that are added to class scores.
        stratum: The target's strata (n,) int64; None where y is classes.
        n_own: Rows from here on are not the epoch's: they were drawn in proportion to weights, for the estimator.
    """

    x: Tensor
    y: Tensor
    c: dict[str, Tensor]
    known: dict[str, Tensor]
    index: Tensor
    weight: dict[str, Tensor] = field(default_factory=dict)
    stratum: Tensor | None = None
    n_own: int | None = None

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def joined(cls, parts: Sequence[Batch]) -> Batch:
        """Batches one after the other, as one; none of them may have rows that were drawn."""
        first = parts[0]
        return cls(
            x=torch.cat([part.x for part in parts]),
            y=torch.cat([part.y for part in parts]),
            c={name: torch.cat([part.c[name] for part in parts]) for name in first.c},
            known={name: torch.cat([part.known[name] for part in parts]) for name in first.known},
            index=torch.cat([part.index for part in parts]),
            weight={name: torch.cat([part.weight[name] for part in parts]) for name in first.weight},
            stratum=None if first.stratum is None else torch.cat([part.strata for part in parts]),
        )

    @property
    def own(self) -> Batch:
        """The epoch's own rows: what the task learns from."""
        return self if self.n_own is None else self._each(lambda tensor: tensor[: self.n_own], n_own=None)

    @property
    def drawn(self) -> Batch:
        """What the estimator sees: the rows that were drawn for it, or the epoch's own where none were."""
        return self if self.n_own is None else self._each(lambda tensor: tensor[self.n_own :], n_own=None)

    def at(self, rows: Tensor) -> Batch:
        """The same of some rows: positions, or a mask (n,) bool; none of them drawn."""
        assert self.n_own is None, "rows that were drawn belong to those before them"
        return self._each(lambda tensor: tensor[rows], n_own=None)

    def with_attributes_of(self, partner: Tensor) -> Batch:
        """The batch with the attribute values of other rows of it (n,)."""
        c = {name: values[partner] for name, values in self.c.items()}
        return replace(self, c=c, known={name: values[partner] for name, values in self.known.items()})

    def _each(self, change: Callable[[Tensor], Tensor], n_own: int | None) -> Batch:
        """The batch with every tensor changed in the same way."""

        def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: change(tensor) for name, tensor in tensors.items()}

        return Batch(
            x=change(self.x),
            y=change(self.y),
            c=changed(self.c),
            known=changed(self.known),
            index=change(self.index),
            weight=changed(self.weight),
            stratum=None if self.stratum is None else change(self.stratum),
            n_own=n_own,
        )

    @property
    def strata(self) -> Tensor:
        """The target as classes (n,) int64: what is done given y is done given these."""
        return self.y if self.stratum is None else self.stratum

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        # non_blocking: copies from pinned memory run beside the computation of the step before
        return self._each(lambda tensor: tensor.to(device, non_blocking=True), n_own=self.n_own)


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
        forget: Marks (n,) bool of training rows that a model is to forget; None: nobody asked for any.
        kept, kept_known: Values (n, 1) and masks (n,) of the columns that good features should still tell, as c and
            known are of attributes.
    """

    name: str
    y: np.ndarray
    c: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    group: np.ndarray | None
    rows: np.ndarray
    row_names: Sequence[str]
    reader: Reader
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    kept_known: dict[str, np.ndarray] = field(default_factory=dict)
    stratum: np.ndarray | None = None
    forget: np.ndarray | None = None

    @property
    def strata(self) -> np.ndarray:
        """The target as classes (n,) int64: what is done given y is done given these."""
        return self.y if self.stratum is None else self.stratum

    def __len__(self) -> int:
        return len(self.y)

    @property
    def retained(self) -> np.ndarray:
        """Positions of the rows that nobody asked to be forgotten, in order."""
        return np.arange(len(self)) if self.forget is None else np.flatnonzero(~self.forget)

    def at(self, positions: np.ndarray) -> Split:
        """The split at some positions (n,), in this order."""
        return replace(
            self,
            y=self.y[positions],
            stratum=None if self.stratum is None else self.stratum[positions],
            c={name: c[positions] for name, c in self.c.items()},
            known={name: known[positions] for name, known in self.known.items()},
            group=None if self.group is None else self.group[positions],
            forget=None if self.forget is None else self.forget[positions],
            rows=self.rows[positions],
            row_names=Picked(self.row_names, positions),
        )


@dataclass(frozen=True, kw_only=True)
class BiasedData:
    """A whole data set: three splits and what they have in common.

    Args:
        train, validation, audit: The splits.
        attributes: By name.
        target: What the task predicts.
        input_shape: Shape of one input as the backbone gets it, for example (3, 96, 96) or (104,).
        fingerprint: sha256 over what the data are (labels, attributes, split, and paths or pixels).
        notes: What the user should know about reading (rows left out, a validation split that was drawn).
        kept: By name, the columns that good features should still tell, described as attributes are.
        inputs: How new data are read as these were.
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
    inputs: InputRules | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the target's classes, or of its strata."""
        return self.target.class_names
