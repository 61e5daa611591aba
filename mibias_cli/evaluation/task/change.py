"""What became of the task: after less before on the same rows, with intervals of the paired difference."""

from __future__ import annotations

import numpy as np

from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.statistics.resampling import CHANGE
from mibias_cli.evaluation.task.numbers import figure_draws, mean_r2
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import TaskChange

__all__ = ["class_change", "label_change", "number_change"]


def class_change(y: np.ndarray, before: np.ndarray, after: np.ndarray, terms: Terms) -> TaskChange:
    """Of predicted classes (n,) on both sides, for classes y (n,)."""
    gained = (after == y).astype(np.float64) - (before == y).astype(np.float64)
    # balanced accuracy is a mean of means: in a resample it moves, to first order, by the mean of what each row adds
    present = np.unique(y)
    by_class = np.array([gained[y == k].mean() for k in present])
    index = np.searchsorted(present, y)
    weight = len(y) / (len(present) * np.bincount(index))[index]
    return TaskChange(
        accuracy=_mean_change(gained, terms),
        balanced_accuracy=_mean_change(weight * (gained - by_class[index]), terms, around=float(by_class.mean())),
    )


def label_change(y: np.ndarray, before: np.ndarray, after: np.ndarray, terms: Terms) -> TaskChange:
    """Of labels (n, k), 0 or 1, on both sides: the mean over labels."""
    gained = (after == y).mean(axis=1) - (before == y).mean(axis=1)
    return TaskChange(accuracy=_mean_change(gained, terms))


def number_change(y: np.ndarray, before: np.ndarray, after: np.ndarray, terms: Terms) -> TaskChange:
    """Of predicted numbers (n, k) on both sides: means over columns, which have one unit (`AuditedTarget.units`)."""
    draws = [figure_draws(predicted - y, y, terms.resamples) for predicted in (before, after)]
    r2 = [mean_r2(y, predicted) for predicted in (before, after)]
    mae = [float(np.abs(predicted - y).mean(axis=0).mean()) for predicted in (before, after)]

    def change(name: str, values: list[float]) -> Interval:
        return terms.interval(values[1] - values[0], draws[1][name] - draws[0][name], (-np.inf, np.inf))

    known = [value for value in r2 if value is not None]
    return TaskChange(r2=change("r2", known) if len(known) == 2 else None, mae=change("mae", mae))


def _mean_change(gained: np.ndarray, terms: Terms, *, around: float = 0.0) -> Interval:
    """The interval of a mean over rows (n,), to which `around` is added."""
    draws = terms.resamples.means(gained[:, None])[:, 0] + around
    return terms.interval(float(gained.mean()) + around, draws, CHANGE)
