"""What a task predicts: classes, several labels, numbers, or nothing (features should then stay what they were)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Target", "TargetKind", "bin_codes", "classes_target", "r_squared"]

TargetKind = Literal["classes", "multilabel", "regression", "none"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target of a data set, and the discrete view of it that balancing and conditioning need.

    Everything that conditions on y (weights p(y)p(c)/p(y,c), I(z; c | y), cells of y and c) sees y through strata. For
    classes these are the classes. For labels and binned numbers they are the most frequent combinations of training;
    every other combination goes to the nearest of them. Without a target there is one stratum.

    Args:
        kind: classes, multilabel (columns of 0 and 1), regression (columns of numbers) or none.
        columns: Names of the target's columns.
        class_names: Names of the strata.
        mean, scale: Regression only: each column's mean and standard deviation in training, by which y is standardised.
        bin_edges: Regression only: inner edges of each column's bins, in standardised units.
        levels: Labels or bins (k) of each stratum; empty for classes and for none.

    Example:
        >>> target = Target(kind="multilabel", columns=("a", "b"), class_names=("none", "a"), levels=((0, 0), (1, 0)))
        >>> target.strata(np.array([[1, 0], [0, 1]], dtype=np.float32)).tolist()
        [1, 0]
    """

    kind: TargetKind
    columns: tuple[str, ...]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    bin_edges: tuple[tuple[float, ...], ...] = ()
    levels: tuple[tuple[int, ...], ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each number that a head gives is of: a class, a label or a column; empty where there is no target."""
        return self.class_names if self.kind == "classes" else self.columns

    @property
    def n_outputs(self) -> int:
        """How many numbers a head gives."""
        return len(self.output_names)

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Index in `class_names` (n,) int64 of targets y: (n,) of classes and none, (n, k) of labels and numbers."""
        if self.kind in ("classes", "none"):
            return np.asarray(y, dtype=np.int64)
        codes = self.codes(y)
        # each row goes to the nearest stratum: fewest labels that differ, or fewest bins in between
        apart = [np.abs(codes - np.asarray(level)).sum(axis=1) for level in self.levels]
        return np.asarray(np.argmin(apart, axis=0), dtype=np.int64)

    def codes(self, y: np.ndarray) -> np.ndarray:
        """Labels, or bins of numbers, (n, k) int64 of targets (n, k)."""
        if self.kind == "multilabel":
            return np.asarray(y, dtype=np.int64)
        return bin_codes(y, self.bin_edges)

    def in_units(self, y: np.ndarray) -> np.ndarray:
        """Targets or predictions (n, k) float64 in the user's units: numbers without their standardisation."""
        values = np.asarray(y, dtype=np.float64)
        return values * np.asarray(self.scale) + np.asarray(self.mean) if self.kind == "regression" else values


def bin_codes(values: np.ndarray, edges: Sequence[Sequence[float]]) -> np.ndarray:
    """Bins (n, k) int64 of values (n, k); `edges` are the inner edges of each column, which belong to the bin above."""
    columns = [np.searchsorted(np.asarray(inner), values[:, k], side="right") for k, inner in enumerate(edges)]
    return np.stack(columns, axis=1).astype(np.int64)


def classes_target(class_names: tuple[str, ...], column: str = "target") -> Target:
    """A target of classes.

    Example:
        >>> classes_target(("cat", "dog")).n_outputs
        2
    """
    return Target(kind="classes", columns=(column,), class_names=class_names)


def r_squared(y: np.ndarray, predicted: np.ndarray) -> float | None:
    """R² (1 less squared error over variance) of numbers (n, k), the mean over columns that vary; None where none does.

    Example:
        >>> r_squared(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[0.0, 4.0], [1.0, 4.0]]))
        0.5
    """
    # a constant column has no variance to explain: it would make the mean infinite
    spread = y.var(axis=0)
    varies = spread > 0
    if not varies.any():
        return None
    return float((1 - np.square(predicted - y).mean(axis=0)[varies] / spread[varies]).mean())
