"""Reads rows of numbers: from an array in memory, or from stored features that stay in their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.files.stored_features import StoredFeatures

__all__ = ["IN_MEMORY_BYTES", "ArrayReader", "StoredReader", "hold_rows"]

IN_MEMORY_BYTES = 2**30
"""Features that take more, as float32, stay in their file."""


class ArrayReader:
    """Rows of an array (n, d) float32; there is no augmentation, so every epoch reads the same.

    Example:
        >>> ArrayReader(np.eye(3, dtype=np.float32)).read(np.array([2]), None).tolist()
        [[0.0, 0.0, 1.0]]
    """

    def __init__(self, x: np.ndarray) -> None:
        self._x = torch.from_numpy(np.require(x, np.float32, ["C", "W"]))

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, d) of these rows."""
        return self._x[torch.tensor(rows, dtype=torch.int64)]


class StoredReader:
    """Rows of features (n, d) that stay in their file, each at its position there."""

    def __init__(self, features: StoredFeatures, positions: np.ndarray) -> None:
        self._features, self._positions = features, positions
        self._held: tuple[np.ndarray, np.ndarray] | None = None

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, d) of these rows."""
        # what was taken out beforehand serves only where it has every row that is asked for
        if self._held is not None:
            held, values = self._held
            at = np.searchsorted(held, rows)
            if (at < len(held)).all() and (held[at] == rows).all():
                return torch.from_numpy(values[at])
        return torch.from_numpy(self._features.take(self._positions[rows]))

    def holding(self, rows: np.ndarray) -> StoredReader:
        """A reader of the same rows that has some of them in memory, taken out in one pass over the file."""
        reader = StoredReader(self._features, self._positions)
        held = np.unique(rows)
        reader._held = (held, self._features.take(self._positions[held]))
        return reader


def hold_rows(data: BiasedData, chosen: Mapping[str, np.ndarray]) -> BiasedData:
    """The data with some samples' inputs in memory, by positions in each split; as is without a `StoredReader`."""
    reader = data.train.reader
    if not isinstance(reader, StoredReader):
        return data
    # one pass over the file for the rows of all three splits
    splits = {split.name: split for split in (data.train, data.validation, data.audit)}
    held = reader.holding(np.concatenate([splits[name].rows[positions] for name, positions in chosen.items()]))
    splits = {name: replace(split, reader=held) for name, split in splits.items()}
    return replace(data, train=splits["train"], validation=splits["validation"], audit=splits["audit"])
