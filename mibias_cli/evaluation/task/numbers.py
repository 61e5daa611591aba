"""Figures of a target of numbers: R², errors in the user's units, and errors by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy

from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import ErrorRow, NumberFigures, RegressionFindings

__all__ = ["error_rows", "figure_draws", "mean_r2", "regression_findings"]

_WITHIN = {"r2": (-np.inf, 1.0), "mae": (0.0, np.inf), "rmse": (0.0, np.inf)}


def mean_r2(y: np.ndarray, predicted: np.ndarray) -> float | None:
    """R² (1 less squared error over variance) of (n, k), the mean over columns that vary; None where none does.

    Example:
        >>> mean_r2(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]]))
        0.5
    """
    from sklearn.metrics import r2_score

    varies = y.var(axis=0) > 0
    if not varies.any():
        return None
    return float(r2_score(y[:, varies], predicted[:, varies]))


def regression_findings(
    predicted: np.ndarray, target: AuditedTarget, head_predicted: np.ndarray | None, terms: Terms
) -> RegressionFindings:
    """Every figure of predictions (n, k) in the user's units, with bootstrap intervals by sample or group.

    What is averaged over several columns is in their standard deviations (`AuditedTarget.units`).
    """
    units = target.units
    y = target.audit / units
    rows = tuple(row for a in terms.attributes for row in error_rows(predicted, target, a, terms))
    error = predicted / units - y
    # R² tells share of variance, whatever the units
    figures = {"r2": mean_r2(target.audit, predicted), "mae": float(np.abs(error).mean(axis=0).mean())}
    figures["rmse"] = float(np.sqrt(np.square(error).mean(axis=0)).mean())
    # every figure of every resample from a few means, so that nothing is predicted again
    draws = figure_draws(error, y, terms.resamples)
    intervals = {
        name: terms.interval(float("nan") if value is None else value, draws[name], _WITHIN[name])
        for name, value in figures.items()
    }
    of_column = dict(zip(target.names, units.tolist(), strict=True))
    worst = _worst(rows, of_column)
    mae = intervals["mae"].estimate
    return RegressionFindings(
        **intervals,
        worst_group_mae=worst,
        gap_mae=None if worst is None else worst - mae,
        head_r2=None if head_predicted is None else mean_r2(target.audit, head_predicted),
        columns={name: _column(k, predicted, target, rows) for k, name in enumerate(target.names)},
        group_errors=rows,
    )


def _column(k: int, predicted: np.ndarray, target: AuditedTarget, rows: Sequence[ErrorRow]) -> NumberFigures:
    y, name = target.audit, target.names[k]
    error = predicted[:, k] - y[:, k]
    return NumberFigures(
        r2=mean_r2(y[:, [k]], predicted[:, [k]]),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt(np.square(error).mean())),
        worst_group_mae=_worst([row for row in rows if row.column == name], {name: 1.0}),
        unit=float(target.units[k]),
    )


def figure_draws(error: np.ndarray, y: np.ndarray, resamples: Resamples) -> dict[str, np.ndarray]:
    """R², mean absolute error and rmse of errors (n, k) in every resample, from the means of a few terms."""
    k = y.shape[1]
    centred = y - y.mean(axis=0)
    # var(y) = E[y²] − E[y]²: two means are all that a resample needs; y is centred for precision
    means = resamples.means(np.concatenate([np.abs(error), np.square(error), centred, np.square(centred)], axis=1))
    mae, square, first, second = (means[:, i * k : (i + 1) * k] for i in range(4))
    spread = second - first**2
    varies = y.var(axis=0) > 0
    r2 = np.full(len(means), np.nan)
    if varies.any():
        # a resample may hold one value of y alone
        tiny = np.finfo(np.float64).tiny
        r2 = (1 - square[:, varies] / np.maximum(spread[:, varies], tiny)).mean(axis=1)
    return {"r2": r2, "mae": mae.mean(axis=1), "rmse": np.sqrt(square).mean(axis=1)}


def error_rows(
    predicted: np.ndarray, target: AuditedTarget, attribute: AuditedAttribute, terms: Terms
) -> Iterator[ErrorRow]:
    """One row per column and group of the attribute, channel by channel, with Student's interval of the mean error."""
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        for k, column in enumerate(target.names):
            error = predicted[:, k] - target.audit[:, k]
            for index, name in enumerate(names):
                own = error[attribute.known & (c == index)]
                yield _row(attribute.name, channel, column, name, own, terms)


def _row(attribute: str, channel: str, column: str, c: str, error: np.ndarray, terms: Terms) -> ErrorRow:
    n = len(error)
    mae = float(np.abs(error).mean()) if n else None
    half = None
    if n > 1:
        # Student's interval of a mean of absolute errors; it needs two of them
        half = float(scipy.stats.t.ppf(0.5 + terms.confidence / 2, n - 1) * np.abs(error).std(ddof=1) / np.sqrt(n))
    return ErrorRow(
        attribute=attribute, channel=channel, column=column, c=c, n=n, mae=mae,
        lower=None if half is None or mae is None else max(mae - half, 0.0),
        upper=None if half is None or mae is None else mae + half,
        rmse=float(np.sqrt(np.square(error).mean())) if n else None,
        mean_error=float(error.mean()) if n else None, counted=terms.counts(n),
    )  # fmt: skip


def _worst(rows: Sequence[ErrorRow], units: Mapping[str, float]) -> float | None:
    """The greatest error of a group that counts, of several columns the mean over them, each in its unit."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.counted and row.mae is not None:
            groups.setdefault((row.attribute, row.channel, row.c), []).append(row.mae / units[row.column])
    return max((float(np.mean(values)) for values in groups.values()), default=None)
