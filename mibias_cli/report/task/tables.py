"""Tables of the task: accuracy in its several averages, fairness, cells, crossings of attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import Bounds, Interval, Side
from mibias_cli.evaluation.task_findings import (
    Accuracies,
    CellAccuracy,
    ErrorRow,
    GroupRow,
    ImpactGroup,
    Intersection,
    LabelFindings,
    RegressionFindings,
    TaskSides,
)
from mibias_cli.report.numbers import (
    ABSENT,
    format_decimals,
    format_interval,
    format_number,
    format_percent,
    format_points,
)
from mibias_cli.report.tables import (
    NAMES,
    Cell,
    Line,
    Table,
    head_sides,
    line,
    percent_cell,
    score_cell,
    sides_of,
    titles,
)
from mibias_cli.report.task.score import REFITTED, kind_of

__all__ = [
    "FAIRNESS", "MAX_LINES", "cell_table", "crossing_tables", "error_table", "fairness_table", "forgetting_table",
    "head_table", "impact_tables", "task_table",
]  # fmt: skip

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
DEVIATIONS = ", in standard deviations"
"""Of errors over several columns of numbers, each of its own unit."""
_OF_TRAINED_HEADS = (_PERCENT["head_accuracy"], _NUMBERS["head_r2"])
FAIRNESS = {
    "demographic_parity_difference": "Demographic parity difference",
    "demographic_parity_ratio": "Demographic parity ratio",
    "equal_opportunity_difference": "Equal opportunity difference",
    "equal_opportunity_ratio": "Equal opportunity ratio",
    "equalized_odds_difference": "Equalized odds difference",
    "equalized_odds_ratio": "Equalized odds ratio",
    "bias_amplification": "Bias amplification",
}
"""What fairness figures are called."""
_FORGETTING = {
    "forgotten_accuracy": "Accuracy on {found.n_forgotten} forgotten rows",
    "alike_accuracy": "Accuracy on alike audited rows",
    "retained_accuracy": "Accuracy on {found.n_retained} retained rows",
    "audit_accuracy": "Accuracy on all audited rows",
}
HEAD = "trained head"
"""What columns of trained heads are called."""
Values = Sequence[float | None]
Row = TypeVar("Row", GroupRow, ErrorRow)


def task_table(report: AuditFindings) -> Table:
    """The task's figures on every side, with the change; figures that nobody measured are left out."""
    title = "Task before and after" if report.head is None else f"{REFITTED.capitalize()}s"
    head = "ridge regression (errors are in the target's units)" if kind_of(report) == "regression" else "a head"
    caption = f"One rule before and after: {head} fitted on training features, scored on the audited ones."
    return _figures(report, report.task, sides_of(report), title, caption)


def head_table(report: AuditFindings) -> Table:
    """The same figures of the trained heads' own predictions; empty where no head was trained."""
    rule = "ridge" if kind_of(report) == "regression" else "logistic"
    refitted = f"Refitted heads (above): {rule} regression on the features, fitted by one rule on every side"
    caption = f"{refitted}. Trained heads: the model's own, as exported, which is what its users get."
    task = report.head.task if report.head else TaskSides()
    return _figures(report, task, head_sides(report), "Trained heads", caption)


def forgetting_table(report: AuditFindings) -> Table:
    """What trained heads make of the rows that were to be forgotten; empty where there were none."""
    found, lines = report.forgetting, list[Line]()
    sides = () if found is None else tuple(side for side in sides_of(report) if found.at(side) is not None)
    if found is not None:
        given = [found.at(side) for side in sides]
        for key, label in _FORGETTING.items():
            values = [_value(figures, key) for figures in given]
            cells = [percent_cell(value, None, None) for value in values]
            lines.append(line(label.format(found=found), *cells, *_points(values)))
        areas = [None if figures is None else figures.membership_auroc for figures in given]
        change = _compared("", [_value(figures, "membership_auroc") for figures in given], format_decimals, always=True)
        cells = [_decimals_cell(area, signed=False) for area in areas]
        lines.append(line("Membership, AUROC", *cells, *change[0].cells[1 + len(given) :]))
    caption = (
        "Rows that were to be forgotten, by the trained heads. A head that never saw them comes to about the accuracy "
        "of alike audited rows, weighted as the forgotten rows' groups. Membership: how often the loss of a forgotten "
        "row is less than that of an audited row of its group; .5: losses do not tell who was trained on."
    )
    header = ("Forgetting", *titles(sides), *(["Change"] if len(sides) > 1 else []))
    return Table(title="Forgotten rows", caption=caption, header=header, lines=tuple(lines))


def _figures(report: AuditFindings, task: TaskSides, sides: Sequence[Side], title: str, caption: str) -> Table:
    given, kind = [task.at(side) for side in sides], kind_of(report)
    lines: list[Line] = []
    if given and kind == "regression":
        lines = _number_lines([found if isinstance(found, RegressionFindings) else None for found in given])
    elif given and kind != "none":
        lines = _accuracy_lines([found if isinstance(found, Accuracies) else None for found in given])
    # trained heads have a table of their own
    lines = [each for each in lines if report.head is None or each.cells[0].text not in _OF_TRAINED_HEADS]
    name = "Task" if task is report.task and report.head is None else title
    header = (name, *titles(sides), *(["Change"] if len(sides) > 1 else []))
    return Table(title=title, caption=caption if lines else "", header=header, lines=tuple(lines))


def _accuracy_lines(given: Sequence[Accuracies | None]) -> list[Line]:
    after = given[-1]
    several = isinstance(after, LabelFindings)
    cells = [score_cell(None if task is None else task.accuracy) for task in given]
    name = "Accuracy (mean over labels)" if several else "Accuracy (plain average)"
    lines = [line(name, *cells, *_points([_value(task, "accuracy") for task in given]))]
    shares = {label: [_value(task, key) for task in given] for key, label in _PERCENT.items()}
    # of one attribute the least is its own, and stands among the figures above
    if after is not None and len(after.adjusted_accuracies) > 1:
        for attribute in after.adjusted_accuracies:
            shares[f"Adjusted accuracy, cells of {attribute}"] = [
                None if task is None else task.adjusted_accuracies.get(attribute) for task in given
            ]
    # a figure that was not asked for, such as calibration, has no line of dashes
    for label, values in shares.items():
        if any(value is not None for value in values):
            shown = [_percent_beside(task, label, value) for task, value in zip(given, values, strict=True)]
            lines.append(line(label, *shown, *_points(values)))
    areas = [_value(task, "auroc") for task in given]
    if any(area is not None for area in areas):
        cells = [_beside(task, "auroc", None if task is None else task.auroc_interval) for task in given]
        change = _compared("", areas, format_decimals)[0].cells[1 + len(given) :]
        lines.append(line("AUROC", *cells, *change))
    if isinstance(after, LabelFindings):
        for label in after.labels:
            values = [task.labels[label].auroc if isinstance(task, LabelFindings) else None for task in given]
            lines += _compared(f"AUROC of {label}", values, format_decimals, always=True)
    return lines


def _percent_beside(task: Accuracies | None, label: str, value: float | None) -> Cell:
    """A share, above its interval where it has one of its own."""
    bounds = None if task is None or label != _PERCENT["calibration_error"] else task.calibration_error_interval
    return percent_cell(value, None if bounds is None else bounds.lower, None if bounds is None else bounds.upper)


def _number_lines(given: Sequence[RegressionFindings | None]) -> list[Line]:
    """R² and errors before and after, of every column where there are several."""
    lines = []
    after = given[-1]
    assert after is not None, "a target of numbers has figures"
    for key, label in _NUMBERS.items():
        unit = DEVIATIONS if after.in_deviations and not key.endswith("r2") else ""
        lines += _compared(f"{label}{unit}", [_value(task, key) for task in given], format_number)
    # of a single column the figures above are its own
    for name in after.columns if len(after.columns) > 1 else ():
        for key in ("r2", "mae", "rmse", "worst_group_mae"):
            values = [None if task is None else _value(task.columns[name], key) for task in given]
            lines += _compared(f"{name}: {_NUMBERS[key]}", values, format_number, always=True)
    return lines


def _value(task: object, key: str) -> float | None:
    """A figure by its name; of one with an interval the estimate; None where it was not measured."""
    figure = getattr(task, key, None)
    value = getattr(figure, "estimate", figure)
    return None if value is None or math.isnan(value) else float(value)


def _points(values: Values) -> list[str]:
    """The change in percentage points from before to after, the last two sides, where there are two."""
    return [format_points(*values[-2:])] if len(values) > 1 else []


def _compared(label: str, values: Values, written: Callable[..., str], *, always: bool = False) -> list[Line]:
    """A line of a figure on each side, and after less before; none where it was not measured, unless `always`.

    Before and after are the last two.
    """
    if not always and all(value is None for value in values):
        return []
    change = []
    if len(values) > 1:
        before, after = values[-2:]
        # a change of a ratio or an error has no unit that needs points
        change = [written(None if before is None or after is None else after - before, signed=True)]
    return [line(label, *map(written, values), *change)]


def _by_side(
    rows: Callable[[Side], Sequence[Row]], key: Callable[[Row], object], attribute: str, sides: Sequence[Side]
) -> tuple[list[Row], list[list[Row | None]]]:
    """An attribute's rows that hold samples after, and for each of them its row on every side."""
    # audits of before and after may list cells in another order, so they are joined by what they are of
    own = {side: {key(row): row for row in rows(side) if row.attribute == attribute} for side in sides}
    filled = [row for row in own["after"].values() if row.n]
    return filled, [[own[side].get(key(row)) for side in sides] for row in filled]


def error_table(report: AuditFindings, attribute: str) -> Table:
    """Errors of a target of numbers in every group of an attribute; empty for other targets."""
    sides = sides_of(report)

    def rows(side: Side) -> Sequence[ErrorRow]:
        task = report.task.at(side)
        return task.group_errors if isinstance(task, RegressionFindings) else ()

    filled, paired = _by_side(rows, lambda row: (row.channel, row.column, row.c), attribute, sides)
    # what all rows share is left out of their headings
    several, channels = len({row.column for row in filled}) > 1, len({row.channel for row in filled}) > 1
    lines = []
    for row, pair in list(zip(filled, paired, strict=True))[:MAX_LINES]:
        name = row.c + (f" ({row.channel})" if channels else "") + (f", {row.column}" if several else "")
        bias = format_number(row.mean_error, signed=True)
        lines.append(line(name, str(row.n), *map(_error_cell, pair), bias, quiet=not row.counted))
    caption = f"Mean absolute error by {attribute}; the last column is the mean of prediction less truth."
    header = (attribute, "n", *(f"Error {NAMES[side]}" for side in sides), "Mean of errors")
    return Table(title=f"Errors by {attribute}", caption=caption, header=header, lines=tuple(lines))


def _error_cell(row: ErrorRow | None) -> Cell:
    if row is None:
        return Cell(text=ABSENT)
    small = f"{format_number(row.lower)} to {format_number(row.upper)}"
    return Cell(text=format_number(row.mae), small="" if ABSENT in small else small)


def fairness_table(report: AuditFindings) -> Table:
    """Group fairness by attribute, as Fairlearn defines it."""
    sides, own = sides_of(report), head_sides(report)
    heads = {} if report.head is None else report.head.fairness
    lines = []
    for name, found in report.fairness.items():
        left_out = found.after.groups_left_out
        note = f"without {', '.join(left_out)}: too few samples" if left_out else ""
        for key, label in FAIRNESS.items():
            given = [found.at(side) for side in sides]
            given += [heads[name].at(side) if name in heads else None for side in own]
            if any(_value(figures, key) is not None for figures in given):
                cells = [_beside(figures, key, None if figures is None else figures.bounds(key)) for figures in given]
                change = None if found.change is None else getattr(found.change, key)
                changes = [_decimals_cell(change)] if len(sides) > 1 else []
                lines.append(line(Cell(text=f"{name}: {label.lower()}", small=note), *cells, *changes))
    # differences and ratios are of one class against the rest: two classes have one such question, more have several
    positive = next((found.after.positive_class for found in report.fairness.values()), None)
    each = "Each label by itself" if kind_of(report) == "multilabel" else "Each class against the rest"
    what = f"{each}, the worst of them." if positive is None else f"Positive class: {positive}."
    caption = f"How the task's predictions treat groups: differences are best at 0, ratios at 1. {what}"
    header = ("Fairness", *titles(sides), *titles(own, HEAD), *(["Change"] if len(sides) > 1 else []))
    return Table(title="Fairness", caption=caption, header=header, lines=tuple(lines))


def _beside(figures: object, key: str, bounds: Bounds | None) -> Cell:
    """A figure above its interval, where it has one."""
    return _beside_bounds(_value(figures, key), bounds)


def _beside_bounds(value: float | None, bounds: Bounds | None) -> Cell:
    small = "" if bounds is None else f"{format_decimals(bounds.lower)} to {format_decimals(bounds.upper)}"
    return Cell(text=format_decimals(value), small=small)


def _decimals_cell(found: Interval | None, *, signed: bool = True) -> Cell:
    """A change, or a figure that is none, above its interval."""
    if found is None:
        return Cell(text=ABSENT)
    return Cell(text=format_decimals(found.estimate, signed=signed), small=format_interval(found))


def impact_tables(report: AuditFindings) -> list[Table]:
    """Per attribute and crossing the table of New York City's Local Law 144: rows, selection rate, impact ratio.

    It is of the trained head's decisions where there is one, for those are what people get.
    """
    shown = report.impact if report.head is None or not report.head.impact else report.head.impact
    whose = "the trained head" if shown is not report.impact else "a head fitted on training features"
    tables = []
    for found in shown.values():
        names, after = " × ".join(found.after.attributes), found.after
        lines = []
        for name, group in after.groups.items():
            before = None if found.before is None else found.before.groups.get(name)
            rate = _beside_bounds(group.selection_rate, group.selection_rate_interval)
            then = [] if found.before is None else [_ratio_cell(before)]
            small = Cell(text=name, small="" if group.counted else "less than 2 % of rows, or too few")
            lines.append(line(small, str(group.n), rate, *then, _ratio_cell(group), quiet=not group.counted))
        lines += [line("unknown", str(after.n_unknown), ABSENT, *([ABSENT] * (1 + (found.before is not None))))]
        caption = (
            f"Selected: predicted {after.positive_class} by {whose}. Impact ratio: a group's selection rate over the "
            "highest group's, with its interval. < 4/5 marks a ratio below four fifths: a mark, no verdict."
        )
        then_title = [] if found.before is None else ["Impact ratio before"]
        header = (names, "n", "Selection rate", *then_title, "Impact ratio")
        tables.append(Table(title=f"Impact ratios by {names}", caption=caption, header=header, lines=tuple(lines)))
    return tables


def _ratio_cell(group: ImpactGroup | None) -> Cell:
    """An impact ratio above its interval, marked below four fifths."""
    if group is None or group.impact_ratio is None:
        return Cell(text=ABSENT)
    cell = _beside_bounds(group.impact_ratio, group.impact_ratio_interval)
    return Cell(text=f"{cell.text} (< 4/5)", small=cell.small) if group.below_four_fifths else cell


def cell_table(report: AuditFindings, attribute: str, *, limit: int = MAX_LINES) -> Table:
    """Every cell of target and attribute that holds samples, or the first of them."""
    sides, own = sides_of(report), head_sides(report)

    def rows(side: Side) -> Sequence[GroupRow]:
        task = report.task.at(side)
        return () if task is None else task.groups

    filled, paired = _by_side(rows, _cell_of, attribute, sides)
    tasks = [None if report.head is None else report.head.task.at(side) for side in own]
    # cells of each trained head by what they are of
    heads = [{_cell_of(row): row for row in task.groups if row.attribute == attribute} for task in tasks if task]
    channels = len({row.channel for row in filled}) > 1
    calibrated = any(row.calibration_error is not None for row in filled)
    lines = []
    for row, pair in list(zip(filled, paired, strict=True))[:limit]:
        name = f"{row.y} / {row.c}" + (f" ({row.channel})" if channels else "")
        error = [format_percent(row.calibration_error)] if calibrated else []
        cells = map(_row_cell, [*pair, *(found.get(_cell_of(row)) for found in heads)])
        lines.append(line(name, str(row.n), *cells, *error, quiet=not row.counted))
    more = f" The first {limit} of {len(filled)}: leakage.json has them all." if len(filled) > limit else ""
    caption = f"Accuracy by target and {attribute}.{more}"
    errors = ["Calibration error"] if calibrated else []
    header = (f"Target / {attribute}", "n", *titles(sides), *titles(own, HEAD), *errors)
    return Table(title=f"Cells of {attribute}", caption=caption, header=header, lines=tuple(lines))


def _cell_of(row: GroupRow) -> object:
    return row.channel, row.y, row.c


def _row_cell(row: GroupRow | CellAccuracy | None) -> Cell:
    return Cell(text=ABSENT) if row is None else percent_cell(row.accuracy, row.lower, row.upper)


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
    lines = []
    for cell in cells[:MAX_LINES]:
        figures = [_row_cell(cell.at(side)) for side in sides]
        lines.append(line(" / ".join([cell.y, *cell.c]), str(cell.n), *figures, quiet=not cell.counted))
    said = ", ".join(f"{NAMES[side]} {format_percent(found.worst_group_accuracy.at(side))}" for side in sides)
    more = f" The lowest {MAX_LINES} of {len(cells)}: leakage.json has them all." if len(cells) > MAX_LINES else ""
    caption = f"Accuracy where {name} cross. Worst group: {said}.{more}"
    header = (f"Target / {' / '.join(found.attributes)}", "n", *titles(sides))
    return Table(title=f"Crossing of {name}", caption=caption, header=header, lines=tuple(lines))
