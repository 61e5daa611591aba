"""Gates against a baseline: a committed report of an earlier state that a new one must not be worse than."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mibias_cli.errors import GateError
from mibias_cli.evaluation.leakage_findings import QuestionName
from mibias_cli.evaluation.task_findings import RegressionFindings
from mibias_cli.gates.figure_names import Figure, find_figure
from mibias_cli.gates.result import Inconclusive, Status, gate_result
from mibias_cli.recipe.gate_expression import GateExpression, parse_gate, write_name
from mibias_cli.report.document import GateResult, Report

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
    inconclusive: Inconclusive = "warn",
) -> list[GateResult]:
    """Compare every attribute's leakage and the task's accuracy with a baseline.

    How much worse a figure is has an interval of its own, made of both figures' intervals. It fails where all of that
    interval lies above the tolerance, is inconclusive where only its estimate does, and passes otherwise: the same
    report twice passes with any tolerance.
    """
    same_data = report.data_sha256 == baseline.data_sha256
    note = "" if same_data else " (the audited data are not those of the baseline)"
    # a probe more may find what was there before
    now, then = _probes(report), _probes(baseline)
    others, gone = [p for p in now if p not in then], [p for p in then if p not in now]
    if others or gone:
        said = [f"{words} {', '.join(names)}" for words, names in (("with", others), ("without", gone)) if names]
        note += f" (audited {' and '.join(said)}, unlike the baseline)"
    new, old = report.to_dict(), baseline.to_dict()

    def result(figure: tuple[str, ...], sign: int, allowed: float) -> GateResult:
        written = write_name(figure)
        looked_up = parse_gate(f"{written} > 0")  # only its name counts
        return gate_result(
            lambda: _judge(
                find_figure(new, looked_up), _baseline_figure(old, looked_up, name), sign, allowed, name, note
            ),
            expression=f"{written} {'above' if sign > 0 else 'below'} {name} by more than {allowed:g}",
            source="baseline",
            threshold=allowed,
            inconclusive=inconclusive,
        )

    return [result(*compared) for compared in _figures(report, baseline, tolerance)]


def _probes(report: Report) -> list[str]:
    """The probes that were asked; `head` only where the audited extractor had one for it to read."""
    asked = {probe for found in report.attributes.values() for probe in found.after.marginal.probes}
    return [probe for probe in report.settings.probes if probe != "head" or probe in asked]


def _baseline_figure(old: Mapping[str, object], looked_up: GateExpression, name: str) -> Figure:
    try:
        return find_figure(old, looked_up)
    except GateError as error:
        message = f"{name}: {error.message}; make the baseline anew"
        raise GateError(message, text=error.text, message=message) from error


def _figures(report: Report, baseline: Report, tolerance: Tolerance) -> Iterator[tuple[tuple[str, ...], int, float]]:
    """Name, sign (1: more is worse) and tolerance of every figure that is compared."""
    # the attributes of both: one that is gone, and one that the baseline says nothing of, must show as an error
    new = {name: found for name, found in report.attributes.items() if name not in baseline.attributes}
    for attribute, found in {**baseline.attributes, **new}.items():
        for question, _ in found.after.questions:
            yield ("attributes", attribute, "after", _LEAKAGE[question]), 1, tolerance.leakage_bits
    if baseline.task.after is not None:
        figure = "r2" if isinstance(baseline.task.after, RegressionFindings) else "accuracy"
        yield ("task", "after", figure), -1, tolerance.accuracy


def _judge(new: Figure, old: Figure, sign: int, allowed: float, name: str, note: str) -> tuple[Status, str, Figure]:
    """Whether a figure is worse than the baseline's by more than is allowed, why, and by how much."""
    worse = difference(new, old) if sign > 0 else difference(old, new)
    status: Status = "pass"
    if worse.estimate > allowed:
        # a rise that the interval does not rule out as chance is no failure yet
        status = "fail" if worse.lower is None or worse.lower > allowed else "inconclusive"
    if worse.estimate == 0:
        return status, f"{new.estimate:.4g}, as {name}{note}", worse
    side = "worse" if worse.estimate > 0 else "better"
    interval = "" if worse.lower is None else f" (interval of worse − baseline: {worse.lower:.4g} to {worse.upper:.4g})"
    change = f"{side} by {abs(worse.estimate):.4g}{interval}{note}"
    return status, f"{new.estimate:.4g}, {name} {old.estimate:.4g}: {change}", worse


def difference(a: Figure, b: Figure) -> Figure:
    """a − b with an interval made of both intervals as if they were independent.

    Two audits of the same samples are correlated, so this interval is wider than need be and errs towards
    `inconclusive`.

    References: Zou and Donner, "Construction of confidence limits about effect measures" (Statistics in Medicine 2008).

    Example:
        >>> difference(Figure(estimate=3, lower=0, upper=6), Figure(estimate=1, lower=-3, upper=5))
        Figure(estimate=2, lower=-3.0, upper=7.0)
    """
    estimate = a.estimate - b.estimate
    if a.lower is None or a.upper is None or b.lower is None or b.upper is None:
        return Figure(estimate=estimate)
    # each bound is as far off as the two distances that move it, added as independent errors are
    below = math.hypot(a.estimate - a.lower, b.upper - b.estimate)
    above = math.hypot(a.upper - a.estimate, b.estimate - b.lower)
    return Figure(estimate=estimate, lower=estimate - below, upper=estimate + above)
