"""Targets that are no classes, and what an audit finds of them: frozen data, numpy in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

__all__ = [
    "AuditedTarget",
    "ErrorRow",
    "Interval",
    "LabelFigures",
    "NumberFigures",
    "RegressionFindings",
]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its bootstrap interval; never clamped."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class AuditedTarget:
    """A target of labels or numbers, or that there is none; the audit's strata stand in for classes beside it.

    Args:
        kind: multilabel, regression or none.
        names: Names of the labels or columns.
        train, audit: Labels (0 or 1) or numbers in the user's units: (n_train, k) and (n, k).
    """

    kind: Literal["multilabel", "regression", "none"]
    names: tuple[str, ...]
    train: np.ndarray
    audit: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """One label of several: accuracy, the mean of both classes' recalls, AUROC (None where one class is absent)."""

    accuracy: float
    balanced_accuracy: float
    auroc: float | None
    prevalence: float


@dataclass(frozen=True, kw_only=True)
class NumberFigures:
    """One column of numbers: R² on the audited samples (None where they do not vary), errors in the user's units."""

    r2: float | None
    mae: float
    rmse: float
    worst_group_mae: float | None


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """One group of one attribute's channel: n, mean absolute error with its interval, and mean of prediction − truth.

    An interval needs two samples; a group of fewer than the settings' `min_cell` is shown but not `counted`.
    """

    attribute: str
    channel: str
    column: str
    c: str
    n: int
    mae: float | None
    lower: float | None
    upper: float | None
    rmse: float | None
    mean_error: float | None
    counted: bool


@dataclass(frozen=True, kw_only=True)
class RegressionFindings:
    """Figures of a target of numbers, by ridge regression on training features, scored on the audited samples.

    `r2`, `mae` and `rmse` are means over columns, as are `worst_group_mae` (the greatest of any group that counts) and
    `gap_mae`, what it lies above `mae`. `head_r2` is the trained head's own.
    """

    r2: Interval
    mae: Interval
    rmse: Interval
    worst_group_mae: float | None
    gap_mae: float | None
    head_r2: float | None
    columns: dict[str, NumberFigures] = field(default_factory=dict)
    group_errors: tuple[ErrorRow, ...] = ()
