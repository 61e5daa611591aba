"""Tables of the task: accuracy in its several averages, fairness, cells, crossings of attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mibias_cli.evaluation.findings import (
    Accuracies,
    AuditFindings,
    CellAccuracy,
    ErrorRow,
    GroupRow,
    Intersection,
    LabelFindings,
    RegressionFindings,
    Side,
)
from mibias_cli.report.numbers import (
    ABSENT,
    format_number,
    format_percent,
    format_percent_interval,
    format_points,
    format_share,
)
from mibias_cli.report.score import kind_of
from mibias_cli.report.tables import Cell, Line, Table, line, sides_of, titles

__all__ = ["MAX_LINES", "accuracy_cell", "cell_table", "crossing_tables", "error_table", "fairness_table", "task_table"]

MAX_LINES = 250
"""Cells in a table of the page: more are cut, leakage.json holds them all."""
_PERCENT = {
    "balanced_accuracy": "Balanced accuracy (average over classes)",
    "worst_group_accuracy": "Worst group",
    "gap": "Gap between accuracy and worst group",
    "adjusted_accuracy": "Adjusted accuracy (cells reweighted to p(y)p(c))",
    "exact_match": "Exact match (all labels right)",
    "head_accuracy": "Trained head's accuracy",
    "calibration_error": "Calibration error",
}
_NUMBERS = {
    "r2": "R²",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "worst_group_mae": "Mean absolute error of the worst group",
    "gap_mae": "Gap between the worst group and all",
    "head_r2": "Trained head's R²",
}
_FAIRNESS = {
    "demographic_parity_difference": "Demographic parity difference",
    "demographic_parity_ratio": "Demographic parity ratio",
    "equal_opportunity_difference": "Equal opportunity difference",
    "equal_opportunity_ratio": "Equal opportunity ratio",
    "equalized_odds_difference": "Equalized odds difference",
    "equalized_odds_ratio": "Equalized odds ratio",
    "bias_amplification": "Bias amplification",
}
Values = Sequence[float | None]


def accuracy_cell(task: Accuracies | RegressionFindings | None) -> Cell:
    """Accuracy above its interval."""
    if not isinstance(task, Accuracies):
        return Cell(text=ABSENT)
    return _percent_cell(task.accuracy.estimate, task.accuracy.lower, task.accuracy.upper)


def _percent_cell(share: float | None, lower: float | None, upper: float | None) -> Cell:
    small = format_percent_interval(lower, upper)
    return Cell(text=format_percent(share), small="" if small == ABSENT else small)


def task_table(report: AuditFindings) -> Table:
    """The task's figures before and after, with the change; figures that nobody measured are left out."""
    sides = sides_of(report)
    given = [report.task.at(side) for side in sides]
    lines: list[Line] = []
    caption = ""
    if kind_of(report) == "regression":
        lines = _number_lines([task if isinstance(task, RegressionFindings) else None for task in given])
        caption = (
            "One rule before and after: ridge regression on training features, scored on the audited samples. "
            "Errors are in the units of the target."
        )
    elif kind_of(report) != "none":
        lines = _accuracy_lines([task if isinstance(task, Accuracies) else None for task in given])
        caption = "One rule before and after: a head fitted on training features, scored on the audited ones."
    header = ("Task", *titles(sides), *(["Change"] if len(sides) == 2 else []))
    return Table(title="Task before and after", caption=caption, header=header, lines=tuple(lines))


def _accuracy_lines(given: Sequence[Accuracies | None]) -> list[Line]:
    after = given[-1]
    several = isinstance(after, LabelFindings)
    name = "Accuracy (mean over labels)" if several else "Accuracy (plain average)"
    estimates = [None if task is None else task.accuracy.estimate for task in given]
    lines = [line(name, *map(accuracy_cell, given), *_points(estimates))]
    for key, label in _PERCENT.items():
        values = [_value(task, key) for task in given]
        if any(value is not None for value in values):
            lines.append(line(label, *map(format_percent, values), *_points(values)))
    adjusted = [{} if task is None else task.adjusted_accuracies for task in given]
    for attribute in adjusted[-1] if len(adjusted[-1]) > 1 else ():
        values = [side.get(attribute) for side in adjusted]
        lines.append(line(f"Adjusted accuracy, cells of {attribute}", *map(format_percent, values), *_points(values)))
    aurocs = [_value(task, "auroc") for task in given]
    if any(value is not None for value in aurocs):
        lines.append(_compared("AUROC", aurocs, format_share))
    if isinstance(after, LabelFindings):
        for label in after.labels:
            values = [task.labels[label].auroc if isinstance(task, LabelFindings) else None for task in given]
            lines.append(_compared(f"AUROC of {label}", values, format_share))
    return lines


def _number_lines(given: Sequence[RegressionFindings | None]) -> list[Line]:
    """R² and errors before and after, of every column where there are several."""
    lines = []
    for key, label in _NUMBERS.items():
        values = [_value(task, key) for task in given]
        if any(value is not None for value in values):
            lines.append(_compared(label, values, format_number))
    after = given[-1]
    assert after is not None, "a target of numbers has figures"
    for name in after.columns if len(after.columns) > 1 else ():
        for key in ("r2", "mae", "rmse", "worst_group_mae"):
            values = [None if task is None else _value(task.columns[name], key) for task in given]
            lines.append(_compared(f"{name}: {_NUMBERS[key]}", values, format_number))
    return lines


def _value(task: object, key: str) -> float | None:
    """A figure by its name; of one with an interval the estimate; None where it was not measured."""
    figure = getattr(task, key, None)
    value = getattr(figure, "estimate", figure)
    return None if value is None or math.isnan(value) else float(value)


def _points(values: Values) -> list[str]:
    """The change in percentage points, where there are two sides."""
    return [format_points(*values)] if len(values) == 2 else []


def _compared(label: str, values: Values, written: Callable[..., str]) -> Line:
    """A figure on each side, and after less before."""
    change = []
    if len(values) == 2:
        before, after = values
        change = [written(None if before is None or after is None else after - before, signed=True)]
    return line(label, *map(written, values), *change)


def error_table(report: AuditFindings, attribute: str, *, limit: int = MAX_LINES) -> Table:
    """Errors of a target of numbers in every group of an attribute; empty for other targets."""
    sides = sides_of(report)
    by_key = {side: {_error_key(row): row for row in _errors(report, side, attribute)} for side in sides}
    rows = [row for row in _errors(report, "after", attribute) if row.n]
    several, channels = len({row.column for row in rows}) > 1, len({row.channel for row in rows}) > 1
    lines = []
    for row in rows[:limit]:
        name = row.c + (f" ({row.channel})" if channels else "") + (f", {row.column}" if several else "")
        cells = [_error_cell(by_key[side].get(_error_key(row))) for side in sides]
        lines.append(line(name, str(row.n), *cells, format_number(row.mean_error, signed=True), quiet=not row.counted))
    return Table(
        title=f"Errors by {attribute}",
        caption=f"Mean absolute error by {attribute}; the last column is the mean of prediction less truth.",
        header=(attribute, "n", *(f"Error {side}" for side in sides), "Mean of errors"),
        lines=tuple(lines),
    )


def _errors(report: AuditFindings, side: Side, attribute: str) -> list[ErrorRow]:
    task = report.task.at(side)
    return (
        [row for row in task.group_errors if row.attribute == attribute] if isinstance(task, RegressionFindings) else []
    )


def _error_key(row: ErrorRow) -> tuple[str, str, str]:
    return row.channel, row.column, row.c


def _error_cell(row: ErrorRow | None) -> Cell:
    if row is None:
        return Cell(text=ABSENT)
    small = f"{format_number(row.lower)} to {format_number(row.upper)}"
    return Cell(text=format_number(row.mae), small="" if ABSENT in small else small)


def fairness_table(report: AuditFindings) -> Table:
    """Group fairness by attribute, as Fairlearn defines it."""
    sides = sides_of(report)
    lines = []
    for name, found in report.fairness.items():
        left_out = found.after.groups_left_out
        note = f"without {', '.join(left_out)}: too few samples" if left_out else ""
        for key, label in _FAIRNESS.items():
            values = [_value(found.at(side), key) for side in sides]
            if any(value is not None for value in values):
                heading = Cell(text=f"{name}: {label.lower()}", small=note)
                lines.append(Line(cells=(heading, *(Cell(text=format_share(value)) for value in values))))
    positive = [found.after.positive_class for found in report.fairness.values()]
    each = "Each label by itself" if kind_of(report) == "multilabel" else "Each class against the rest"
    what = f"{each}, the worst of them."
    if positive and positive[0] is not None:
        what = f"Positive class: {positive[0]}."
    caption = f"How the task's predictions treat groups: differences are best at 0, ratios at 1. {what}"
    return Table(title="Fairness", caption=caption, header=("Fairness", *titles(sides)), lines=tuple(lines))


def cell_table(report: AuditFindings, attribute: str, *, limit: int = MAX_LINES) -> Table:
    """Every cell of target and attribute that holds samples, or the first of them."""
    sides = sides_of(report)
    by_key = {side: {_key(row): row for row in _groups(report, side, attribute)} for side in sides}
    rows = [row for row in _groups(report, "after", attribute) if row.n]
    channels = len({row.channel for row in rows}) > 1
    calibrated = any(row.calibration_error is not None for row in rows)
    lines = []
    for row in rows[:limit]:
        shown = [_row_cell(by_key[side].get(_key(row))) for side in sides]
        name = f"{row.y} / {row.c}" + (f" ({row.channel})" if channels else "")
        error = [format_percent(row.calibration_error)] if calibrated else []
        lines.append(line(name, str(row.n), *shown, *error, quiet=not row.counted))
    more = f" The first {limit} of {len(rows)}: leakage.json has them all." if len(rows) > limit else ""
    return Table(
        title=f"Cells of {attribute}",
        caption=f"Accuracy by target and {attribute}.{more}",
        header=(f"Target / {attribute}", "n", *titles(sides), *(["Calibration error"] if calibrated else [])),
        lines=tuple(lines),
    )


def _groups(report: AuditFindings, side: Side, attribute: str) -> list[GroupRow]:
    task = report.task.at(side)
    return [] if task is None else [row for row in task.groups if row.attribute == attribute]


def _key(row: GroupRow) -> tuple[str, str, str]:
    return row.channel, row.y, row.c


def _row_cell(row: GroupRow | CellAccuracy | None) -> Cell:
    return Cell(text=ABSENT) if row is None else _percent_cell(row.accuracy, row.lower, row.upper)


def crossing_tables(report: AuditFindings) -> list[Table]:
    """Per crossing of several attributes: every cell that holds samples, the worst first."""
    return [_crossing_table(found, sides_of(report)) for found in report.intersections]


def _crossing_table(found: Intersection, sides: tuple[Side, ...]) -> Table:
    name = " × ".join(found.attributes)
    # cells that do not count come last, and among each kind the lowest accuracy first
    cells = sorted(
        (cell for cell in found.cells if cell.n),
        key=lambda cell: (not cell.counted, 2.0 if cell.after.accuracy is None else cell.after.accuracy),
    )
    lines = [
        line(
            " / ".join([cell.y, *cell.c]),
            str(cell.n),
            *(_row_cell(cell.at(side)) for side in sides),
            quiet=not cell.counted,
        )
        for cell in cells[:MAX_LINES]
    ]
    said = ", ".join(f"{side} {format_percent(found.worst_group_accuracy.at(side))}" for side in sides)
    more = f" The lowest {MAX_LINES} of {len(cells)}: leakage.json has them all." if len(cells) > MAX_LINES else ""
    header = (f"Target / {' / '.join(found.attributes)}", "n", *titles(sides))
    caption = f"Accuracy where {name} cross. Worst group: {said}.{more}"
    return Table(title=f"Crossing of {name}", caption=caption, header=header, lines=tuple(lines))
