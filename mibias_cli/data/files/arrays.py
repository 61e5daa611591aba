"""Reads rows of a float array in memory: tables and stored embeddings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["ArrayReader"]


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
