"""Gates on the command line: the options that `evaluate`, `train` and `gate` share, and how a command ends by them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.ci import annotate_gates, append_summary
from mibias_cli.cli.guard import EXIT_ERROR, EXIT_GATE

if TYPE_CHECKING:
    from mibias_cli.gates.baseline import Tolerance
    from mibias_cli.gates.rules import GateRules
    from mibias_cli.report.document import GateResult, Report

__all__ = [
    "BaselineOption",
    "FailOnOption",
    "Inconclusive",
    "InconclusiveOption",
    "JunitOption",
    "ToleranceOption",
    "conclude",
    "gate_lines",
    "gate_rules",
]


class Inconclusive(StrEnum):
    """What a gate means whose interval holds the limit."""

    fail = "fail"
    warn = "warn"


FailOnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="EXPR",
        help='Exit with 1 where this holds, for example "attributes.colour.after.leakage_bits > 0.05". Repeatable.',
    ),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="REPORT", help="Exit with 1 where leakage or accuracy is worse than there."),
]
ToleranceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tolerance",
        metavar="X",
        help="By how much it may be worse than --baseline: a number, or leakage_bits=X or accuracy=X. Repeatable. "
        "[default: 0]",
    ),
]
InconclusiveOption = Annotated[
    Inconclusive,
    typer.Option("--inconclusive", help="What it means that an interval holds the limit of --fail-on or --baseline."),
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write the gates as JUnit XML, a test case each.")
]


def gate_rules(
    fail_on: Sequence[str] | None,
    baseline: Path | None,
    tolerance: Sequence[str] | None,
    inconclusive: Inconclusive,
) -> GateRules:
    """The gates that the options give, checked as far as they can be before anything is computed.

    Raises:
        GateError: An expression cannot be read, or names what no report has.
        RunError: The baseline is no report.
    """
    from mibias_cli.gates.rules import GateRules, check_gates, make_gates

    if tolerance and baseline is None:
        raise typer.BadParameter("--tolerance is of a comparison with --baseline, which is missing")
    gates = make_gates(fail_on or (), inconclusive=inconclusive.value)
    check_gates(gates)
    if baseline is None:
        return GateRules(gates=gates)
    from mibias_cli.report.read import find_report, read_report

    found = find_report(baseline)
    return GateRules(
        gates=gates,
        baseline=read_report(found),
        baseline_name=str(baseline),
        tolerance=_tolerance(tolerance or ()),
        inconclusive=inconclusive.value,
    )


def _tolerance(given: Sequence[str]) -> Tolerance:
    """`0.01` for both figures, `accuracy=0.02` for one; the last of several wins."""
    from mibias_cli.errors import did_you_mean
    from mibias_cli.gates.baseline import Tolerance

    values = {"leakage_bits": 0.0, "accuracy": 0.0}
    for text in given:
        key, equals, number = text.partition("=") if "=" in text else ("", "", text)
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not 0 <= value < float("inf"):
            raise typer.BadParameter(f"--tolerance {text}: a number of at least 0 is expected, not {number!r}")
        if equals and key not in values:
            hint = did_you_mean(key, values) or f"; there are {', '.join(values)}"
            raise typer.BadParameter(f"--tolerance {text}: there is no {key!r}{hint}")
        values.update({key: value} if equals else dict.fromkeys(values, value))
    return Tolerance(**values)


def conclude(report: Report, *, junit: Path | None, seconds: float = 0.0) -> None:
    """Say what became of the gates wherever it is wanted, and end the command by it.

    Raises:
        typer.Exit: With 1 where a gate failed, with 2 where one could not be evaluated.
    """
    from mibias_cli.gates.junit import render_junit
    from mibias_cli.gates.rules import outcome

    results = report.gates
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_text(render_junit(report, seconds=seconds), encoding="utf-8")
    for line in gate_lines(results):
        print(line, file=sys.stderr, flush=True)
    annotate_gates(results)
    append_summary(lambda: _markdown(report))
    code = {"pass": 0, "fail": EXIT_GATE, "error": EXIT_ERROR}[outcome(results)]
    if code:
        raise typer.Exit(code)


def _markdown(report: Report) -> str:
    from mibias_cli.report.markdown import render_markdown

    return render_markdown(report)


def gate_lines(results: Sequence[GateResult]) -> list[str]:
    """A line for every gate."""
    lines = []
    for result in results:
        counts = f" ({'fails' if result.inconclusive == 'fail' else 'passes with a warning'})"
        status = result.status + (counts if result.status == "inconclusive" else "")
        lines.append(f"gate {status}: {result.expression}: {result.message}")
    return lines
