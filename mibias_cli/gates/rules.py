"""Gates: conditions on a report's figures under which it fails, with respect for their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mibias_cli.errors import GateError
from mibias_cli.gates.baseline import Tolerance, baseline_gates
from mibias_cli.gates.figure_names import Figure, check_name, find_figure
from mibias_cli.recipe.gate_expression import Comparison, GateExpression, parse_gate
from mibias_cli.report.schema import load_schema

__all__ = ["Gate", "GateRules", "check_gates", "gate_results", "is_failure", "make_gates", "outcome"]

Inconclusive = Literal["fail", "warn"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate: the report fails where the expression holds.

    Args:
        expression: Of a figure's name, a comparison and a number.
        inconclusive: What an interval that holds the threshold means: `fail`, or `warn` and pass.
        source: Where it was given: in the recipe, or by an option.
    """

    expression: GateExpression
    inconclusive: Inconclusive = "warn"
    source: Literal["recipe", "option"] = "option"


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """Everything that a report is gated by.

    Args:
        gates: Conditions on figures.
        baseline: An earlier report that this one must not be worse than, or None.
        baseline_name: What to call it.
        tolerance: By how much it may be worse.
        inconclusive: For comparisons with the baseline.
    """

    gates: tuple[Gate, ...] = ()
    baseline: Mapping[str, Any] | None = None
    baseline_name: str = "baseline"
    tolerance: Tolerance = field(default_factory=Tolerance)
    inconclusive: Inconclusive = "warn"


def make_gates(
    expressions: Iterable[str], *, inconclusive: Inconclusive = "warn", source: Literal["recipe", "option"] = "option"
) -> tuple[Gate, ...]:
    """Gates of expressions.

    Raises:
        GateError: One of them cannot be read.
    """
    return tuple(Gate(expression=parse_gate(e), inconclusive=inconclusive, source=source) for e in expressions)


def check_gates(gates: Iterable[Gate]) -> None:
    """Refuse names that no report can have, before anything is computed.

    Raises:
        GateError: The first of them.
    """
    schema = load_schema()
    for gate in gates:
        check_name(schema, gate.expression)


def gate_results(report: Mapping[str, Any], rules: GateRules) -> list[dict[str, Any]]:
    """What became of every gate, in the form in which leakage.json holds it.

    A figure with an interval fails a gate where all of the interval is past the threshold, passes where none of it is,
    and is inconclusive in between; a figure without one is compared as it is. A name that this report does not have, or
    a figure that was not measured, is an error: a gate on nothing must not pass.

    Args:
        report: In the form of leakage.json.
        rules: The gates.

    Returns:
        Per gate: `expression`, `source`, `status` (pass, fail, inconclusive, error), `inconclusive` (what that means
        here), `figure` (estimate, lower, upper, or None), `threshold`, `message`.
    """
    results = [_result(report, gate) for gate in rules.gates]
    if rules.baseline is not None:
        found = baseline_gates(report, rules.baseline, rules.tolerance, name=rules.baseline_name)
        results += [{**result, "inconclusive": rules.inconclusive} for result in found]
    return results


def is_failure(result: Mapping[str, Any]) -> bool:
    """Whether a gate's result fails the report: it failed, or was inconclusive where that counts as failing."""
    return result["status"] == "fail" or (result["status"] == "inconclusive" and result["inconclusive"] == "fail")


def outcome(results: Sequence[Mapping[str, Any]]) -> Literal["pass", "fail", "error"]:
    """What the gates come to: an error where one could not be evaluated, else fail or pass."""
    if any(result["status"] == "error" for result in results):
        return "error"
    return "fail" if any(map(is_failure, results)) else "pass"


def _result(report: Mapping[str, Any], gate: Gate) -> dict[str, Any]:
    expression = gate.expression
    result: dict[str, Any] = {
        "expression": expression.text,
        "source": gate.source,
        "inconclusive": gate.inconclusive,
        "threshold": expression.threshold,
    }
    try:
        figure = find_figure(report, expression)
    except GateError as error:
        return result | {"status": "error", "figure": None, "message": error.message}
    status, message = _judge(figure, expression.comparison, expression.threshold)
    shown = {"estimate": figure.estimate, "lower": figure.lower, "upper": figure.upper}
    return result | {"status": status, "figure": shown, "message": message}


def _judge(figure: Figure, comparison: Comparison, threshold: float) -> tuple[str, str]:
    """Status and why: a bound that is past the threshold with all of the interval, with none, or with a part of it."""
    limit = f"{comparison} {threshold:g}"
    if figure.lower is None or figure.upper is None:
        holds = _holds(figure.estimate, comparison, threshold)
        return (
            ("fail", f"{figure.estimate:.4g} is {limit}")
            if holds
            else ("pass", f"{figure.estimate:.4g} is not {limit}")
        )
    near, far = (figure.lower, figure.upper) if comparison.startswith(">") else (figure.upper, figure.lower)
    interval = f"{figure.estimate:.4g} (interval {figure.lower:.4g} to {figure.upper:.4g})"
    if _holds(near, comparison, threshold):
        return "fail", f"{interval} is {limit} as a whole"
    if not _holds(far, comparison, threshold):
        return "pass", f"{interval} is nowhere {limit}"
    return "inconclusive", f"{interval} reaches over {threshold:g}: these samples cannot tell"


def _holds(value: float, comparison: Comparison, threshold: float) -> bool:
    if comparison == ">":
        return value > threshold
    if comparison == ">=":
        return value >= threshold
    return value < threshold if comparison == "<" else value <= threshold
