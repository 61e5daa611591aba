"""What a reviewer asks of a sweep over methods: the rule of the comparison, and what each gains over plain training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from mibias_cli.compare.comparison import spread
from mibias_cli.compare.records import Comparison, Group, Row, TaskOfRun
from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.recipe.tables import METHODS
from mibias_cli.report.numbers import ABSENT, format_decimals
from mibias_cli.report.tables import Cell, Table, line
from mibias_cli.report.task.score import Score

__all__ = ["METHOD", "PLAIN", "compares_methods", "gain_table", "protocol", "reads_bias"]

METHOD, PLAIN = "method", "plain"
"""The key of a recipe that names a method, and what it says for plain training."""
Value = Callable[[Row], float | Interval | Score | None]


def compares_methods(comparison: Comparison) -> bool:
    """Whether the runs are of several methods."""
    return METHOD in comparison.varied


def reads_bias(method: JsonValue) -> str:
    """Whether a method reads the attribute of training rows: `mi` and what the table of methods says of the others."""
    row = METHODS.get(str(method))
    # a report without a recipe does not say its method
    if method is None:
        return ABSENT
    return "yes" if row is None or row.reads_bias else "no"


def protocol(comparison: Comparison) -> Iterator[str]:
    """By what rule the methods were compared, as sentences; only what the runs themselves say."""
    methods = list(dict.fromkeys(str(group.settings[METHOD]) for group in comparison.groups))
    others = [key for key in comparison.settings if key != METHOD]
    but = f", but for {', '.join(others)}" if others else ""
    counts = sorted({len(group.runs) for group in comparison.groups})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield (
        f"{len(methods)} methods, {runs} {'run' if counts[-1] == 1 else 'runs'} for each line of the table below"
        + (f"; all else in the recipe is the same{but}." if comparison.shared else ", not all of them with a recipe.")
    )
    if len(methods) == len(comparison.groups):
        yield "Each method ran with one setting: nothing was tuned here."
    else:
        yield (
            "Some methods ran with several settings, a line for each. These figures are of audited rows: to take the "
            "best line of a method by them would be to choose on the test data."
        )
    if counts[0] == 1:
        yield "A single run tells nothing of the spread over seeds: --over seed=0,1,2 would."
    first = comparison.runs[0]
    rules = {(run.samples.audit, run.samples.train, run.probes) for run in comparison.runs}
    if comparison.same_data and len(rules) == 1:
        yield (
            f"Every model is audited by one rule, on {first.samples.audit} samples: probes ({', '.join(first.probes)}) "
            "are fitted on one part of them and scored on the other, and task heads are fitted anew on "
            f"{first.samples.train} training samples."
        )
    if any(run.head is not None for run in comparison.runs):
        yield (
            "Heads fitted anew compare features. What a method does to the head alone, such as dfr, shows under the "
            "trained head."
        )


def gain_table(comparison: Comparison) -> Table:
    """Each method less plain training under the same seed; empty where no run is plain."""
    # what to take, its scale and decimals, and whether more of it is better
    columns: dict[str, tuple[Value, float, int, bool]] = {
        "Accuracy, points": (lambda row: row.score.after, 100, 1, True),
        "Worst group, points": (lambda row: _worst(row.task.after), 100, 1, True),
        "Trained head: accuracy, points": (lambda row: _accuracy(_head(row)), 100, 1, True),
        "Trained head: worst group, points": (lambda row: _worst(_head(row)), 100, 1, True),
    }
    for name in comparison.attributes:
        columns[f"Leakage of {name}, bits"] = (_leakage(name), 1, 3, False)
        columns[f"Parity difference by {name}"] = (_parity(name), 1, 3, False)
    pairs = [(group, found) for group in comparison.groups if (found := _pairs(comparison, group))]
    rows = [[_cell(found, *column) for column in columns.values()] for _, found in pairs]
    # a figure that no run has is no column
    shown = [k for k in range(len(columns)) if any(row[k].text != ABSENT for row in rows)]
    heading = tuple(columns)
    return Table(
        title="Gain over plain training",
        caption="Each method less plain training under the same seed, mean and standard deviation of the differences; "
        "small print: under how many seeds it was better.",
        header=(comparison.settings[0] if len(comparison.settings) == 1 else "Setting", *(heading[k] for k in shown)),
        lines=tuple(
            line(comparison.label(group), *(row[k] for k in shown)) for (group, _), row in zip(pairs, rows, strict=True)
        ),
    )


def _pairs(comparison: Comparison, group: Group) -> list[tuple[Row, Row]]:
    """Runs of a group, each with the plain run that differs from it in the method alone."""
    rows = {row.name: row for row in comparison.runs}
    plain = {_but_method(row.settings): row for row in comparison.runs if row.settings[METHOD] == PLAIN}
    if group.settings[METHOD] == PLAIN or not comparison.same_data:
        return []
    alike = [(rows[name], _but_method(rows[name].settings)) for name in group.runs]
    return [(row, plain[key]) for row, key in alike if key in plain]


def _but_method(settings: Mapping[str, JsonValue]) -> str:
    return repr(sorted((key, repr(value)) for key, value in settings.items() if key != METHOD))


def _cell(pairs: Sequence[tuple[Row, Row]], value: Value, scale: float, digits: int, more: bool) -> Cell:
    """The mean difference with its spread, and under how many seeds it was for the better."""
    differences = []
    for row, plain in pairs:
        one, other = spread([value(row)]), spread([value(plain)])
        if one is None or other is None:
            return Cell(text=ABSENT)
        differences.append(scale * (one.mean - other.mean))
    found = spread(differences)
    assert found is not None, "differences of finite figures"
    better = sum(d > 0 if more else d < 0 for d in differences)
    sd = "" if found.sd is None else f" ± {format_decimals(found.sd, digits)}"
    text = f"{format_decimals(found.mean, digits, signed=True)}{sd}"
    return Cell(text=text, small=f"better in {better} of {len(differences)}")


def _head(row: Row) -> TaskOfRun | None:
    return None if row.head is None else row.head.task.after


def _accuracy(task: TaskOfRun | None) -> Interval | None:
    return None if task is None else task.accuracy


def _worst(task: TaskOfRun | None) -> float | None:
    return None if task is None else task.worst_group_accuracy


def _leakage(name: str) -> Value:
    return lambda row: row.leakage_of(name, "after")


def _parity(name: str) -> Value:
    return lambda row: row.fairness_of(name).demographic_parity_difference
