"""Gates: conditions on a report's figures under which it fails, with respect for their intervals."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mibias_cli.evaluation.task_findings import RegressionFindings
from mibias_cli.gates.baseline import Tolerance, baseline_gates
from mibias_cli.gates.figure_names import Figure, check_name, find_figure
from mibias_cli.gates.result import Inconclusive, Status, gate_result
from mibias_cli.recipe.checks import unknown_attribute
from mibias_cli.recipe.gate_expression import Comparison, GateExpression, parse_gate
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.document import GateResult, Report
from mibias_cli.report.schema_file import load_schema

__all__ = ["Gate", "GateRules", "all_rules", "check_gates", "gate_results", "make_gates", "outcome", "with_gates"]

_COMPARISONS: dict[Comparison, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ERRORS = ("mae", "rmse", "worst_group_mae", "gap_mae")
_DEVIATIONS = "; errors over several columns are in standard deviations, those of one are at task.after.columns"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate: the report fails where it holds; `inconclusive`: what an interval around the threshold means."""

    expression: GateExpression
    inconclusive: Inconclusive = "warn"
    source: Literal["recipe", "option"] = "option"


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """Everything that a report is gated by.

    A comparison with an earlier report, the baseline, allows what `tolerance` says; `inconclusive` is for it alone.
    """

    gates: tuple[Gate, ...] = ()
    baseline: Report | None = None
    baseline_name: str = "baseline"
    tolerance: Tolerance = field(default_factory=Tolerance)
    inconclusive: Inconclusive = "warn"


def make_gates(
    expressions: Iterable[str], *, inconclusive: Inconclusive = "warn", source: Literal["recipe", "option"] = "option"
) -> tuple[Gate, ...]:
    """Gates of expressions; a GateError where one of them cannot be read."""
    return tuple(Gate(expression=parse_gate(e), inconclusive=inconclusive, source=source) for e in expressions)


def check_gates(gates: Iterable[Gate]) -> None:
    """Refuse names that no report can have, before anything is computed: a GateError for the first of them."""
    schema = load_schema()
    for gate in gates:
        check_name(schema, gate.expression)


def all_rules(recipe: Recipe, given: GateRules) -> GateRules:
    """The recipe's gates, followed by those given otherwise; a GateError where one names what no report can have."""
    own = [
        gate
        for section in recipe.gates
        for gate in make_gates([section.fail_on], inconclusive=section.inconclusive, source="recipe")
    ]
    # all are checked before the audit, which may take hours
    rules = replace(given, gates=(*own, *given.gates))
    check_gates(rules.gates)
    for gate in given.gates:
        reason = unknown_attribute(recipe.model_dump(mode="json"), gate.expression)
        if reason is not None:
            raise gate.expression.error(reason, part=1)
    return rules


def with_gates(report: Report, rules: GateRules) -> Report:
    """A report with what became of the gates."""
    return report.model_copy(update={"gates": gate_results(report, rules)})


def gate_results(report: Report, rules: GateRules) -> tuple[GateResult, ...]:
    """What became of every gate.

    A figure with an interval fails a gate where all of the interval is past the threshold, passes where none of it is,
    and is inconclusive in between; a figure without one is compared as it is. A name that this report does not have, or
    a figure that was not measured, is an error: a gate on nothing must not pass.
    """
    # names are looked up in what leakage.json holds, so that a gate means the same for a report read from a file
    written = report.to_dict()
    results = [_result(written, gate) for gate in rules.gates]
    for index, gate in enumerate(rules.gates):
        if _in_deviations(report, gate.expression):
            # said once: a limit in old units, such as kilograms, would pass in silence
            results[index] = results[index].model_copy(update={"message": results[index].message + _DEVIATIONS})
            break
    if rules.baseline is not None:
        results += baseline_gates(
            report, rules.baseline, rules.tolerance, name=rules.baseline_name, inconclusive=rules.inconclusive
        )
    return tuple(results)


def outcome(results: Sequence[GateResult]) -> Literal["pass", "fail", "error"]:
    """What the gates come to: an error where one could not be evaluated, else fail or pass."""
    # a gate that could not be evaluated says nothing either way, which is worse than a failure
    if any(result.status == "error" for result in results):
        return "error"
    return "fail" if any(result.is_failure for result in results) else "pass"


def _result(report: Mapping[str, object], gate: Gate) -> GateResult:
    expression = gate.expression
    return gate_result(
        lambda: _judge(find_figure(report, expression), expression),
        expression=expression.text,
        source=gate.source,
        threshold=expression.threshold,
        inconclusive=gate.inconclusive,
    )


def _in_deviations(report: Report, gate: GateExpression) -> bool:
    """Whether a gate is on an error that is averaged over columns of units of their own."""
    of_task = "task" in gate.name[:2]  # the refitted head's, or the trained one's: head.task
    is_error = not set(gate.name).isdisjoint(_ERRORS) and "columns" not in gate.name
    task = report.task.after
    return of_task and is_error and isinstance(task, RegressionFindings) and task.in_deviations


def _judge(figure: Figure, gate: GateExpression) -> tuple[Status, str, Figure]:
    """Status and why: all of the interval is past the threshold, none of it, or a part."""
    holds, threshold = _COMPARISONS[gate.comparison], gate.threshold
    limit = f"{gate.comparison} {threshold:g}"
    if figure.lower is None or figure.upper is None:
        if holds(figure.estimate, threshold):
            return "fail", f"{figure.estimate:.4g} is {limit}", figure
        return "pass", f"{figure.estimate:.4g} is not {limit}", figure
    # the bound that crosses the threshold last: if even it is past, the whole interval is
    near, far = (figure.lower, figure.upper) if gate.comparison.startswith(">") else (figure.upper, figure.lower)
    interval = f"{figure.estimate:.4g} (interval {figure.lower:.4g} to {figure.upper:.4g})"
    if holds(near, threshold):
        return "fail", f"{interval} is {limit} as a whole", figure
    if not holds(far, threshold):
        return "pass", f"{interval} is nowhere {limit}", figure
    return "inconclusive", f"{interval} reaches over {threshold:g}: these samples cannot tell", figure
