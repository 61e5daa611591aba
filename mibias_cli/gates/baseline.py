"""Gates against a baseline: a committed report of an earlier state that a new one must not be worse than."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mibias_cli.errors import GateError
from mibias_cli.evaluation.findings import QuestionName, RegressionFindings
from mibias_cli.gates.figure_names import Figure, find_figure
from mibias_cli.recipe.gate_expression import parse_gate, write_name
from mibias_cli.report.document import GateFigure, GateResult, Report

__all__ = ["Tolerance", "baseline_gates", "difference"]

_LEAKAGE: dict[QuestionName, str] = {"marginal": "leakage_bits", "conditional": "conditional_leakage_bits"}


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """By how much a report may be worse than its baseline: leakage in bits, accuracy (or R²) as a share."""

    leakage_bits: float = 0.0
    accuracy: float = 0.0


def baseline_gates(
    report: Report,
    baseline: Report,
    tolerance: Tolerance,
    *,
    name: str = "baseline",
    inconclusive: Literal["fail", "warn"] = "warn",
) -> list[GateResult]:
    """Compare every attribute's leakage and the task's accuracy with a baseline.

    How much worse a figure is has an interval of its own, made of both figures' intervals. It fails where all of that
    interval lies above the tolerance, is inconclusive where only its estimate does, and passes otherwise: the same
    report twice passes with any tolerance.

    Args:
        report: The new one.
        baseline: What it is compared with.
        tolerance: By how much it may be worse.
        name: What to call the baseline.
        inconclusive: What an inconclusive comparison counts as.
    """
    same_data = report.provenance.get("data_sha256") == baseline.provenance.get("data_sha256")
    note = "" if same_data else " (the audited data are not those of the baseline)"
    new, old = report.to_dict(), baseline.to_dict()
    results = []
    for figure, sign, allowed in _figures(baseline, tolerance):
        written = write_name(figure)
        text = f"{written} {'above' if sign > 0 else 'below'} {name} by more than {allowed:g}"
        looked_up = parse_gate(f"{written} > 0")
        try:
            found = _compare(find_figure(new, looked_up), find_figure(old, looked_up), sign, allowed, name, note)
        except GateError as error:
            found = _Compared(status="error", message=error.message, figure=None)
        results.append(
            GateResult(
                expression=text, source="baseline", threshold=allowed, inconclusive=inconclusive, status=found.status,
                figure=found.figure, message=found.message,
            )
        )  # fmt: skip
    return results


def _figures(baseline: Report, tolerance: Tolerance) -> Iterator[tuple[tuple[str, ...], int, float]]:
    """Name, sign of what is worse, and tolerance of every figure that is compared."""
    for attribute, found in baseline.attributes.items():
        for question, _ in found.after.questions:
            yield ("attributes", attribute, "after", _LEAKAGE[question]), 1, tolerance.leakage_bits
    if baseline.task.after is not None:
        figure = "r2" if isinstance(baseline.task.after, RegressionFindings) else "accuracy"
        yield ("task", "after", figure), -1, tolerance.accuracy


@dataclass(frozen=True, kw_only=True)
class _Compared:
    status: Literal["pass", "fail", "inconclusive", "error"]
    message: str
    figure: GateFigure | None


def _compare(new: Figure, old: Figure, sign: int, allowed: float, name: str, note: str) -> _Compared:
    """By how much a figure is worse than the baseline's, and whether that is more than is allowed."""
    worse = difference(new, old) if sign > 0 else difference(old, new)
    status: Literal["pass", "fail", "inconclusive"] = "pass" if worse.estimate <= allowed else "inconclusive"
    if status == "inconclusive" and (worse.lower is None or worse.lower > allowed):
        status = "fail"
    side = "worse" if worse.estimate > 0 else "better"
    interval = "" if worse.lower is None else f" (interval of worse − baseline: {worse.lower:.4g} to {worse.upper:.4g})"
    message = f"{new.estimate:.4g}, {name} {old.estimate:.4g}: {side} by {abs(worse.estimate):.4g}{interval}{note}"
    if worse.estimate == 0:
        message = f"{new.estimate:.4g}, as {name}{note}"
    shown = GateFigure(estimate=worse.estimate, lower=worse.lower, upper=worse.upper)
    return _Compared(status=status, message=message, figure=shown)


def difference(a: Figure, b: Figure) -> Figure:
    """a − b with an interval made of both intervals as if they were independent.

    Two audits of the same samples are correlated, which makes this interval wider than need be: it errs on the side of
    `inconclusive`.

    References: Zou and Donner, "Construction of confidence limits about effect measures" (Statistics in Medicine 2008).

    Example:
        >>> difference(Figure(estimate=3, lower=0, upper=6), Figure(estimate=1, lower=-3, upper=5))
        Figure(estimate=2, lower=-3.0, upper=7.0)
    """
    estimate = a.estimate - b.estimate
    if a.lower is None or a.upper is None or b.lower is None or b.upper is None:
        return Figure(estimate=estimate)
    below = math.hypot(a.estimate - a.lower, b.upper - b.estimate)
    above = math.hypot(a.upper - a.estimate, b.estimate - b.lower)
    return Figure(estimate=estimate, lower=estimate - below, upper=estimate + above)
