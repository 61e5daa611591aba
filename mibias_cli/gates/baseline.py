"""Gates against a baseline: a committed report of an earlier state that a new one must not be worse than."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mibias_cli.errors import GateError
from mibias_cli.gates.figure_names import Figure, find_figure
from mibias_cli.recipe.gate_expression import parse_gate, write_name

__all__ = ["Tolerance", "baseline_gates", "difference"]

_LEAKAGE = ("leakage_bits", "conditional_leakage_bits")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """By how much a report may be worse than its baseline: leakage in bits, accuracy (or R²) as a share."""

    leakage_bits: float = 0.0
    accuracy: float = 0.0


def baseline_gates(
    report: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: Tolerance, *, name: str = "baseline"
) -> list[dict[str, Any]]:
    """Compare every attribute's leakage and the task's accuracy with a baseline.

    How much worse a figure is has an interval of its own, made of both figures' intervals. It fails where all of that
    interval lies above the tolerance, is inconclusive where only its estimate does, and passes otherwise: the same
    report twice passes with any tolerance.

    Args:
        report, baseline: In the form of leakage.json.
        tolerance: By how much it may be worse.
        name: What to call the baseline.

    Returns:
        As :func:`mibias_cli.gates.rules.gate_results`, without `inconclusive`.
    """
    other_data = _data_of(report) != _data_of(baseline)
    note = " (the audited data are not those of the baseline)" if other_data else ""
    return [
        _result(report, baseline, figure, sign, allowed, name, note)
        for figure, sign, allowed in _figures(baseline, tolerance)
    ]


def _figures(baseline: Mapping[str, Any], tolerance: Tolerance) -> Iterator[tuple[tuple[str, ...], int, float]]:
    """Name, sign of what is worse, and tolerance of every figure that is compared."""
    for attribute in baseline["attributes"]:
        for key in _LEAKAGE:
            if baseline["attributes"][attribute]["after"].get(key) is None:
                continue
            yield ("attributes", attribute, "after", key), 1, tolerance.leakage_bits
    if "r2" in (baseline["task"]["after"] or {}):
        yield ("task", "after", "r2"), -1, tolerance.accuracy
    if "accuracy" in (baseline["task"]["after"] or {}):
        yield ("task", "after", "accuracy"), -1, tolerance.accuracy


def _result(
    report: Mapping[str, Any],
    baseline: Mapping[str, Any],
    figure: tuple[str, ...],
    sign: int,
    allowed: float,
    name: str,
    note: str,
) -> dict[str, Any]:
    written = write_name(figure)
    text = f"{written} {'above' if sign > 0 else 'below'} {name} by more than {allowed:g}"
    result: dict[str, Any] = {"expression": text, "source": "baseline", "threshold": allowed}
    looked_up = parse_gate(f"{written} > 0")
    try:
        new, old = find_figure(report, looked_up), find_figure(baseline, looked_up)
    except GateError as error:
        return result | {"status": "error", "figure": None, "message": error.message}
    worse = difference(new, old) if sign > 0 else difference(old, new)
    shown = {"estimate": worse.estimate, "lower": worse.lower, "upper": worse.upper}
    status = "pass" if worse.estimate <= allowed else "inconclusive"
    if status == "inconclusive" and (worse.lower is None or worse.lower > allowed):
        status = "fail"
    side = "worse" if worse.estimate > 0 else "better"
    interval = "" if worse.lower is None else f" (interval of worse − baseline: {worse.lower:.4g} to {worse.upper:.4g})"
    message = f"{new.estimate:.4g}, {name} {old.estimate:.4g}: {side} by {abs(worse.estimate):.4g}{interval}{note}"
    if worse.estimate == 0:
        message = f"{new.estimate:.4g}, as {name}{note}"
    return result | {"status": status, "figure": shown, "message": message}


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


def _data_of(report: Mapping[str, Any]) -> Any:
    return report.get("provenance", {}).get("data_sha256")
