"""Tables of the task: accuracy in its several averages, fairness, cells, crossings of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibias_cli.report.numbers import (
    ABSENT,
    format_number,
    format_percent,
    format_percent_interval,
    format_points,
    format_share,
)
from mibias_cli.report.score import kind_of
from mibias_cli.report.tables import Cell, Line, Table, sides_of

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
_SHARES = {"auroc": "AUROC"}
_NUMBERS = {
    "r2": "R²",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "worst_group_mae": "Mean absolute error of the worst group",
    "gap_mae": "Gap between the worst group and all",
    "head_r2": "Trained head's R²",
}
_TOLD_ELSEWHERE = ("accuracy", *_PERCENT, *_SHARES)
_FAIRNESS = {
    "demographic_parity_difference": "Demographic parity difference",
    "demographic_parity_ratio": "Demographic parity ratio",
    "equal_opportunity_difference": "Equal opportunity difference",
    "equal_opportunity_ratio": "Equal opportunity ratio",
    "equalized_odds_difference": "Equalized odds difference",
    "equalized_odds_ratio": "Equalized odds ratio",
    "bias_amplification": "Bias amplification",
}


def accuracy_cell(task: Mapping[str, Any] | None) -> Cell:
    """Accuracy above its interval."""
    if task is None or task.get("accuracy") is None:
        return Cell(text=ABSENT)
    interval = task.get("accuracy_interval") or {}
    small = format_percent_interval(interval.get("lower"), interval.get("upper"))
    return Cell(text=format_percent(task["accuracy"]), small="" if small == ABSENT else small)


def task_table(report: Mapping[str, Any]) -> Table:
    """The task's figures before and after, with the change in points; figures that nobody measured are left out."""
    kind = kind_of(report)
    if kind in ("regression", "none"):
        return _number_table(report) if kind == "regression" else Table(title="Task", caption="", header=(), lines=())
    task, sides = report["task"], sides_of(report)
    given = [task[side] or {} for side in sides]
    first = [Cell(text="Accuracy (plain average)"), *map(accuracy_cell, given)]
    lines = [[*first, *_change(report, "accuracy")]]
    if kind == "multilabel":
        lines[0][0] = Cell(text="Accuracy (mean over labels)")
    for key, label in _PERCENT.items():
        if any(side.get(key) is not None for side in given):
            cells = [Cell(text=format_percent(side.get(key))) for side in given]
            lines.append([Cell(text=label), *cells, *_change(report, key)])
    adjusted = task["after"].get("adjusted_accuracies") or {}
    for name in adjusted if len(adjusted) > 1 else ():
        values = [(side.get("adjusted_accuracies") or {}).get(name) for side in given]
        change = [Cell(text=format_points(*values))] if len(values) == 2 else []
        label = f"Adjusted accuracy, cells of {name}"
        lines.append([Cell(text=label), *(Cell(text=format_percent(v)) for v in values), *change])
    for key, label in _SHARES.items():
        if any(side.get(key) is not None for side in given):
            lines.append(_plain_line(label, [side.get(key) for side in given]))
    for key, value in task["after"].items():
        if key not in _TOLD_ELSEWHERE and isinstance(value, int | float):
            lines.append(_plain_line(key.replace("_", " ").capitalize(), [side.get(key) for side in given]))
    for name in task["after"].get("labels") or {}:
        aurocs = [(side.get("labels") or {}).get(name, {}).get("auroc") for side in given]
        lines.append(_plain_line(f"AUROC of {name}", aurocs))
    titles = [side.capitalize() for side in sides]
    return Table(
        title="Task before and after",
        caption="One rule before and after: a head fitted on training features, scored on the audited ones.",
        header=("Task", *titles, *(["Change"] if len(sides) == 2 else [])),
        lines=tuple(Line(cells=tuple(cells)) for cells in lines),
    )


def _number_table(report: Mapping[str, Any]) -> Table:
    """R² and errors before and after, of every column where there are several."""
    sides = sides_of(report)
    given = [report["task"][side] for side in sides]
    lines = [
        _number_line(label, [side.get(key) for side in given])
        for key, label in _NUMBERS.items()
        if any(side.get(key) is not None for side in given)
    ]
    columns = report["task"]["after"]["columns"]
    for name in columns if len(columns) > 1 else ():
        for key in ("r2", "mae", "rmse", "worst_group_mae"):
            lines.append(_number_line(f"{name}: {_NUMBERS[key]}", [side["columns"][name][key] for side in given]))
    return Table(
        title="Task before and after",
        caption="One rule before and after: ridge regression on training features, scored on the audited samples. "
        "Errors are in the units of the target.",
        header=("Task", *(side.capitalize() for side in sides), *(["Change"] if len(sides) == 2 else [])),
        lines=tuple(Line(cells=tuple(cells)) for cells in lines),
    )


def _number_line(label: str, values: list[float | None]) -> list[Cell]:
    change = []
    if len(values) == 2:
        before, after = values
        difference = None if before is None or after is None else after - before
        change = [Cell(text=format_number(difference, signed=True))]
    return [Cell(text=label), *(Cell(text=format_number(value)) for value in values), *change]


def error_table(report: Mapping[str, Any], attribute: str, *, limit: int = MAX_LINES) -> Table:
    """Errors of a target of numbers in every group of an attribute; empty for other targets."""
    sides = sides_of(report)
    tasks = {side: report["task"][side] or {} for side in sides}
    rows = [row for row in tasks["after"].get("group_errors") or () if row["attribute"] == attribute and row["n"]]
    by_key = {side: {_error_key(row): row for row in task.get("group_errors") or ()} for side, task in tasks.items()}
    several, channels = len({row["column"] for row in rows}) > 1, len({row["channel"] for row in rows}) > 1
    lines = []
    for row in rows[:limit]:
        name = row["c"] + (f" ({row['channel']})" if channels else "") + (f", {row['column']}" if several else "")
        cells = [Cell(text=name), Cell(text=str(row["n"]))]
        for side in sides:
            found = by_key[side].get(_error_key(row), {})
            bounds = [found.get(bound) for bound in ("lower", "upper")]
            small = "" if None in bounds else f"{format_number(bounds[0])} to {format_number(bounds[1])}"
            cells.append(Cell(text=format_number(found.get("mae")), small=small))
        cells.append(Cell(text=format_number(row["mean_error"], signed=True)))
        lines.append(Line(cells=tuple(cells), quiet=not row["counted"]))
    titles = [f"Error {side}" for side in sides]
    return Table(
        title=f"Errors by {attribute}",
        caption=f"Mean absolute error by {attribute}; the last column is the mean of prediction less truth.",
        header=(attribute, "n", *titles, "Mean of errors"),
        lines=tuple(lines),
    )


def _error_key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["channel"], row["column"], row["c"]


def _change(report: Mapping[str, Any], key: str) -> list[Cell]:
    before, after = report["task"]["before"], report["task"]["after"]
    return [] if before is None else [Cell(text=format_points(before.get(key), after.get(key)))]


def _plain_line(label: str, values: list[float | None]) -> list[Cell]:
    change = []
    if len(values) == 2:
        before, after = values
        difference = None if before is None or after is None else after - before
        change = [Cell(text=format_share(difference, signed=True))]
    return [Cell(text=label), *(Cell(text=format_share(value)) for value in values), *change]


def fairness_table(report: Mapping[str, Any]) -> Table:
    """Group fairness by attribute, as Fairlearn defines it."""
    sides = sides_of(report)
    lines = []
    for name, found in (report.get("fairness") or {}).items():
        given = [found.get(side) or {} for side in sides]
        left_out = found["after"].get("groups_left_out") or ()
        note = f"without {', '.join(left_out)}: too few samples" if left_out else ""
        for key, label in _FAIRNESS.items():
            if any(side.get(key) is not None for side in given):
                cells = [Cell(text=format_share(side.get(key))) for side in given]
                lines.append(Line(cells=(Cell(text=f"{name}: {label.lower()}", small=note), *cells)))
    positive = [found["after"].get("positive_class") for found in (report.get("fairness") or {}).values()]
    each = "Each label by itself" if kind_of(report) == "multilabel" else "Each class against the rest"
    what = f"{each}, the worst of them."
    if positive and positive[0] is not None:
        what = f"Positive class: {positive[0]}."
    caption = f"How the task's predictions treat groups: differences are best at 0, ratios at 1. {what}"
    header = ("Fairness", *(side.capitalize() for side in sides))
    return Table(title="Fairness", caption=caption, header=header, lines=tuple(lines))


def cell_table(report: Mapping[str, Any], attribute: str, *, limit: int = MAX_LINES) -> Table:
    """Every cell of target and attribute that holds samples, or the first of them."""
    sides = sides_of(report)
    after = report["task"]["after"] or {"groups": []}
    rows = [row for row in after["groups"] if row["attribute"] == attribute and row["n"]]
    before = {_key(row): row for row in (report["task"]["before"] or {"groups": []})["groups"]}
    channels = len({row["channel"] for row in rows}) > 1
    calibrated = any(row.get("calibration_error") is not None for row in rows)
    lines = []
    for row in rows[:limit]:
        earlier = before.get(_key(row), {})
        shown = [_row_cell(earlier if side == "before" else row) for side in sides]
        name = f"{row['y']} / {row['c']}" + (f" ({row['channel']})" if channels else "")
        error = [Cell(text=format_percent(row.get("calibration_error")))] if calibrated else []
        cells = (Cell(text=name), Cell(text=str(row["n"])), *shown, *error)
        lines.append(Line(cells=cells, quiet=not row["counted"]))
    more = f" The first {limit} of {len(rows)}: leakage.json has them all." if len(rows) > limit else ""
    titles = [side.capitalize() for side in sides]
    return Table(
        title=f"Cells of {attribute}",
        caption=f"Accuracy by target and {attribute}.{more}",
        header=(f"Target / {attribute}", "n", *titles, *(["Calibration error"] if calibrated else [])),
        lines=tuple(lines),
    )


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["attribute"], row["channel"], row["y"], row["c"]


def _row_cell(row: Mapping[str, Any] | None) -> Cell:
    if not row or row.get("accuracy") is None:
        return Cell(text=ABSENT)
    small = format_percent_interval(row.get("lower"), row.get("upper"))
    return Cell(text=format_percent(row["accuracy"]), small="" if small == ABSENT else small)


def crossing_tables(report: Mapping[str, Any]) -> list[Table]:
    """Per crossing of several attributes: every cell that holds samples, the worst first."""
    return [_crossing_table(found, sides_of(report)) for found in report.get("intersections") or ()]


def _crossing_table(found: Mapping[str, Any], sides: tuple[str, ...]) -> Table:
    name = " × ".join(found["attributes"])
    cells = [cell for cell in found["cells"] if cell["n"]]
    cells.sort(key=lambda cell: (not cell["counted"], _accuracy_of(cell)))
    lines = [
        Line(
            cells=(
                Cell(text=" / ".join([cell["y"], *cell["c"]])),
                Cell(text=str(cell["n"])),
                *(_row_cell(cell.get(side)) for side in sides),
            ),
            quiet=not cell["counted"],
        )
        for cell in cells[:MAX_LINES]
    ]
    worst = found.get("worst_group_accuracy") or {}
    said = ", ".join(f"{side} {format_percent(worst.get(side))}" for side in sides)
    more = f" The lowest {MAX_LINES} of {len(cells)}: leakage.json has them all." if len(cells) > MAX_LINES else ""
    header = (f"Target / {' / '.join(found['attributes'])}", "n", *(side.capitalize() for side in sides))
    caption = f"Accuracy where {name} cross. Worst group: {said}.{more}"
    return Table(title=f"Crossing of {name}", caption=caption, header=header, lines=tuple(lines))


def _accuracy_of(cell: Mapping[str, Any]) -> float:
    accuracy = cell["after"].get("accuracy")
    return 2.0 if accuracy is None else float(accuracy)
