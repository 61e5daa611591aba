"""What became of the task in plain words: what it cost, the worst group, and what got worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.task_findings import (
    Accuracies,
    GroupRow,
    LabelFindings,
    RegressionFindings,
    TaskChange,
    TaskSides,
)
from mibias_cli.report.numbers import (
    SPACE,
    direction,
    format_decimals,
    format_interval,
    format_number,
    format_percent,
    format_percent_interval,
    format_points,
)
from mibias_cli.report.task.score import headline_figure, kind_of, score_title, task_score
from mibias_cli.report.task.tables import FAIRNESS

__all__ = [
    "MAX_NAMED", "cost_sentence", "forgetting_sentence", "head_sentence", "worse_clauses", "worst_group_sentence",
]  # fmt: skip

MAX_NAMED = 3
"""Attributes or figures that a sentence lists by name."""
_LESS_IS_BETTER = [name for name in FAIRNESS if not name.endswith("ratio")]


def cost_sentence(findings: AuditFindings, *, bought: bool) -> str:
    """What the task's headline figure was and is, with the interval of the paired difference.

    `bought`: whether leakage fell or rows were forgotten, for which alone a figure can have paid.
    """
    if kind_of(findings) == "none":
        score = task_score(findings, "after")
        if score is None:
            return "What it cost in accuracy was not measured: the audit had no task."
        return (
            "There is no task; a linear map from the features gives back the original ones with an R² of "
            f"{format_decimals(score.estimate)}."
        )
    after = task_score(findings, "after")
    assert after is not None, "a task has a figure"
    return _changed(score_title(findings, after), findings.task, findings, bought=bought)


def head_sentence(findings: AuditFindings, *, bought: bool) -> str:
    """The same of the trained head's own predictions; empty without one."""
    if findings.head is None or kind_of(findings) == "none":
        return ""
    name = "R²" if kind_of(findings) == "regression" else "accuracy"
    return _changed(f"the trained head's own {name}", findings.head.task, findings, bought=bought)


def forgetting_sentence(findings: AuditFindings) -> str:
    """How far rows were forgotten, by the trained heads; empty where none were to be."""
    found = findings.forgetting
    if found is None:
        return ""
    after, before = found.after, found.before
    was = "" if before is None else f" (before: {format_percent(before.forgotten_accuracy)})"
    right = f"the trained head is right on {format_percent(after.forgotten_accuracy)}{was}"
    text = f"Of {found.n_forgotten} training rows that were to be forgotten {right}"
    told = after.membership_auroc
    if after.alike_accuracy is None:
        return (
            f"{text}; no audited row is of a group of theirs, so nobody can say what a head without them would come to."
        )
    text = f"{text}, of audited rows of their groups on {format_percent(after.alike_accuracy)}"
    if told is None:
        return f"{text}; they are too few to say whether their losses give them away."
    return (
        f"{text}; losses tell the two apart "
        f"with an AUROC of {format_decimals(told.estimate)} ({format_interval(told)}), .5 being not at all."
    )


def _changed(name: str, sides: TaskSides, findings: AuditFindings, *, bought: bool) -> str:
    assert sides.after is not None, "a task that was audited"
    after, before = headline_figure(sides.after), None if sides.before is None else headline_figure(sides.before)
    is_share = kind_of(findings) != "regression"
    written = format_percent if is_share else format_decimals
    subject = f"{name[0].upper()}{name[1:]}"
    confidence = f"{100 * findings.settings.confidence:g}{SPACE}% interval"
    if before is None:
        return f"{subject} is {written(after.estimate)} ({confidence} {_bounds(after, is_share)})."
    was, now = written(before.estimate), written(after.estimate)
    change = None if sides.change is None else (sides.change.accuracy if is_share else sides.change.r2)
    # of a report from before changes were measured only the figures are known
    if change is None:
        return f"{subject} was {was} and is {now}."
    paired = f"change {_signed(change.estimate, is_share)}, {confidence} {_signed_bounds(change, is_share)}"
    if not (change.upper < 0 or change.lower > 0):
        rows = f"these {findings.samples.audit} samples cannot tell a difference"
        return f"{subject} was {was} and is {now}: {rows} ({paired})."
    way = direction(change)
    if not way or was == now:
        return f"{subject} hardly changed: it was {was} and is {now} ({paired})."
    if way < 0:
        return f"{subject}{' paid for it: it' if bought else ''} fell from {was} to {now} ({paired})."
    return f"{subject}{' did not pay for it: it' if bought else ''} rose from {was} to {now} ({paired})."


def _bounds(interval: Interval, is_share: bool) -> str:
    if is_share:
        return format_percent_interval(interval.lower, interval.upper)
    return f"{format_decimals(interval.lower)} to {format_decimals(interval.upper)}"


def _signed(value: float, is_share: bool) -> str:
    return format_points(0.0, value) if is_share else format_decimals(value, signed=True)


def _signed_bounds(change: Interval, is_share: bool) -> str:
    if is_share:
        lower, upper = (format_decimals(100 * end, 1, signed=True) for end in (change.lower, change.upper))
        return f"{lower} to {upper}"
    return f"{format_decimals(change.lower, signed=True)} to {format_decimals(change.upper, signed=True)}"


@dataclass(frozen=True, kw_only=True)
class _Group:
    """A group that counts: its name, samples, and its accuracy, or mean absolute error, with the interval."""

    name: str
    n: int
    value: float
    lower: float | None
    upper: float | None
    unit: str = ""


_Groups = Mapping[tuple[str, ...], _Group]


def _groups(task: Accuracies | RegressionFindings | None) -> _Groups:
    """By attribute, channel and class (and class or label of the target), the groups that are large enough to count."""
    if isinstance(task, RegressionFindings):
        return _error_groups(task)
    several = isinstance(task, LabelFindings)
    return {
        (row.attribute, row.channel, row.c, row.y): _Group(
            name=_named(row, several), n=row.n, value=row.accuracy, lower=row.lower, upper=row.upper
        )
        for row in (() if task is None else task.groups)
        if row.counted and row.accuracy is not None
    }


def _error_groups(task: RegressionFindings) -> _Groups:
    """Of several columns of numbers a group has the mean error, in standard deviations, and no interval."""
    units = {name: column.unit or 1.0 for name, column in task.columns.items()}
    found: dict[tuple[str, ...], list[_Group]] = {}
    for row in task.group_errors:
        if row.counted and row.mae is not None:
            group = _Group(
                name=_channel(row.attribute, row.channel, row.c), n=row.n, value=row.mae / units.get(row.column, 1.0),
                lower=row.lower, upper=row.upper, unit=_unit(task),
            )  # fmt: skip
            found.setdefault((row.attribute, row.channel, row.c), []).append(group)
    return {
        key: columns[0]
        if len(columns) == 1
        else _Group(
            name=columns[0].name, n=columns[0].n, value=float(np.mean([column.value for column in columns])),
            lower=None, upper=None, unit=columns[0].unit,
        )
        for key, columns in found.items()
    }  # fmt: skip


def _unit(task: Accuracies | RegressionFindings | None) -> str:
    return " standard deviations" if isinstance(task, RegressionFindings) and task.in_deviations else ""


def _named(row: GroupRow, several: bool) -> str:
    return f"{'label' if several else 'target'} {row.y} with {_channel(row.attribute, row.channel, row.c)}"


def _channel(attribute: str, channel: str, c: str) -> str:
    return f"{attribute} {c}" if channel in ("", attribute) else f"{attribute} ({channel}) {c}"


def worst_group_sentence(findings: AuditFindings) -> str:
    """The group that is worst afterwards with its own figure before, and the one that was worst before, if another."""
    before, after = _groups(findings.task.before), _groups(findings.task.after)
    if kind_of(findings) == "none":
        return ""
    if not after:
        return f"No group holds {findings.settings.min_cell} samples: of the worst group nothing can be said."
    errors = kind_of(findings) == "regression"
    sign = -1.0 if errors else 1.0
    # of equally bad groups the one that was worse before, then the larger one
    now = min(after, key=lambda key: (sign * after[key].value, _before(before, key, sign), -after[key].n))
    group, earlier = after[now], before.get(now)
    ties = sum(other.value == group.value for other in after.values()) - 1
    others = f"; {ties} other group{'s are' if ties > 1 else ' is'} no better" if ties else ""
    least = min((sign * other.value for other in before.values()), default=None)
    if earlier is None or least is None:
        return f"The worst group is {group.name} ({group.n} samples): {_said(group, errors)}{others}."
    same = sign * earlier.value == least
    when = ", before and after," if same else " now"
    text = f"The worst group{when} is {group.name} ({group.n} samples): {_both(earlier, group, errors)}{others}."
    if same:
        return text
    was = min(before, key=lambda key: (sign * before[key].value, -before[key].n))
    return f"{text} Before, the worst was {before[was].name} ({before[was].n} samples): " + (
        f"{_both(before[was], after[was], errors)}." if was in after else f"{_said(before[was], errors)}."
    )


def _before(before: _Groups, key: tuple[str, ...], sign: float) -> float:
    return sign * before[key].value if key in before else 0.0


def _both(before: _Group, after: _Group, errors: bool) -> str:
    if not errors and before.value == after.value == 0:
        return f"no sample of this group is right, before or after{_interval(after, errors)}"
    return f"{_value(before, errors)} before, {_said(after, errors)} after"


def _said(group: _Group, errors: bool) -> str:
    return f"{_value(group, errors)}{_interval(group, errors)}"


def _value(group: _Group, errors: bool) -> str:
    if errors:
        return f"a mean absolute error of {format_number(group.value)}{group.unit}"
    return "no sample right" if group.value == 0 else f"{format_percent(group.value)} right"


def _interval(group: _Group, errors: bool) -> str:
    if group.lower is None or group.upper is None:
        return ""
    if errors:
        return f" (interval {format_number(group.lower)} to {format_number(group.upper)})"
    return f" (interval {format_percent_interval(group.lower, group.upper)})"


def worse_clauses(findings: AuditFindings) -> list[str]:
    """Every task figure that is measurably worse than before, but the one that `cost_sentence` speaks of."""
    clauses = [*_worse_figures(findings), *_worse_groups(findings)]
    heads = {} if findings.head is None else findings.head.fairness
    found = [
        (f"{FAIRNESS[figure].lower()} of {attribute}{whose}", change)
        for whose, by_attribute in (("", findings.fairness), (" by the trained head", heads))
        for attribute, sides in by_attribute.items()
        if sides.change is not None
        for figure in _LESS_IS_BETTER
        if (change := getattr(sides.change, figure)) is not None and direction(change) > 0
    ]
    clauses += [
        f"{name} rose by {format_decimals(change.estimate)} "
        f"({format_decimals(change.lower)} to {format_decimals(change.upper)})"
        for name, change in found[:MAX_NAMED]
    ]
    if len(found) > MAX_NAMED:
        n_more = len(found) - MAX_NAMED
        clauses.append(f"{n_more} further fairness figure{'s' if n_more > 1 else ''} rose")
    return clauses


def _worse_figures(findings: AuditFindings) -> Iterator[str]:
    """Balanced accuracy and mean error by their paired change; AUROC and calibration where intervals lie apart."""
    change = findings.task.change or TaskChange()
    balanced, mae = change.balanced_accuracy, change.mae
    # where accuracy fell as well, that says it
    if balanced is not None and direction(balanced) < 0 and not (change.accuracy and direction(change.accuracy) < 0):
        yield f"balanced accuracy fell by {_signed(-balanced.estimate, True).lstrip('+')}"
    if mae is not None and mae.lower > 0 and not (change.r2 and direction(change.r2) < 0):
        yield f"the mean absolute error rose by {format_number(mae.estimate)}{_unit(findings.task.after)}"
    before, after = findings.task.before, findings.task.after
    if not isinstance(before, Accuracies) or not isinstance(after, Accuracies):
        return
    areas = before.auroc_interval, after.auroc_interval
    if areas[0] is not None and areas[1] is not None and areas[1].upper < areas[0].lower:
        was, now = (format_decimals(task.auroc) for task in (before, after))
        if was != now:
            yield f"AUROC fell from {was} to {now}"
    errors = before.calibration_error_interval, after.calibration_error_interval
    if errors[0] is not None and errors[1] is not None and errors[1].lower > errors[0].upper:
        was, now = (format_percent(task.calibration_error) for task in (before, after))
        if was != now:
            yield f"the calibration error rose from {was} to {now}"


def _worse_groups(findings: AuditFindings) -> Sequence[str]:
    """Groups whose intervals before and after lie apart on the wrong side, the one that lost most by name."""
    before, after = _groups(findings.task.before), _groups(findings.task.after)
    errors = kind_of(findings) == "regression"
    fallen = [key for key in after if key in before and _is_worse(before[key], after[key], errors)]
    if not fallen:
        return ()
    most = max(fallen, key=lambda key: abs(after[key].value - before[key].value))
    more = f", and {len(fallen) - 1} other group{'s are' if len(fallen) > 2 else ' is'} worse" if fallen[1:] else ""
    return (f"{after[most].name} ({after[most].n} samples): {_both(before[most], after[most], errors)}{more}",)


def _is_worse(before: _Group, after: _Group, errors: bool) -> bool:
    worse, better = (after, before) if errors else (before, after)
    apart = worse.lower is not None and better.upper is not None and worse.lower > better.upper
    return apart and _value(before, errors) != _value(after, errors)
