"""`mibias gate`, and the gate options that it shares with `train` and `evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mibias_cli.cli.ci import annotate_gates, append_summary
from mibias_cli.cli.guard import EXIT_ERROR, EXIT_GATE
from mibias_cli.cli.options import file_option
from mibias_cli.cli.places import refuse_place
from mibias_cli.output.text import one_line
from mibias_cli.output.whole_files import write_atomically

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
    "gate",
    "gate_rules",
]

Inconclusive = Literal["fail", "warn"]
"""How a gate counts whose figure is uncertain: its interval contains the limit."""

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
        help="How much worse than --baseline is allowed: a number, or leakage_bits=X or accuracy=X. Repeatable. "
        "[default: 0]",
    ),
]
InconclusiveOption = Annotated[
    Inconclusive,
    typer.Option("--inconclusive", help="What to do where an interval contains the limit of --fail-on or --baseline."),
]
JunitOption = Annotated[Path | None, file_option("--junit", help="Write the gates as JUnit XML, a test case each.")]


def gate(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A leakage.json, a report's folder, a run or an export.")
    ],
    fail_on: FailOnOption = None,
    baseline: BaselineOption = None,
    tolerance: ToleranceOption = None,
    inconclusive: InconclusiveOption = "warn",
    junit: JunitOption = None,
) -> None:
    """Check gates on a report that exists already.

    Exits with 0 where it passes, with 1 where a gate fails, with 2 where one cannot be evaluated. The report itself
    stays as it is.
    """
    rules = gate_rules(fail_on, baseline, tolerance, inconclusive, junit)
    if not rules.gates and rules.baseline is None:
        raise typer.BadParameter("nothing to gate by: give --fail-on or --baseline")
    from mibias_cli.gates.rules import with_gates
    from mibias_cli.report.document import unfinished_line
    from mibias_cli.report.read import find_report, read_report

    found = read_report(find_report(report))
    if found.unfinished is not None:
        typer.echo(f"warning: {unfinished_line(found.unfinished)}", err=True)
    conclude(with_gates(found, rules), junit=junit)


def gate_rules(
    fail_on: Sequence[str] | None,
    baseline: Path | None,
    tolerance: Sequence[str] | None,
    inconclusive: Inconclusive,
    junit: Path | None,
) -> GateRules:
    """The gates that the options give, checked as far as they can be before anything is computed.

    Raises:
        GateError: An expression cannot be read, or names what no report has.
        RunError: The baseline is no report, or `junit` no place for one.
    """
    from mibias_cli.gates.rules import GateRules, check_gates, make_gates

    if junit is not None:
        refuse_place(junit, option="--junit", what="JUnit XML", begins=b"<")
    if tolerance and baseline is None:
        raise typer.BadParameter("--tolerance is of a comparison with --baseline, which is missing")
    gates = make_gates(fail_on or (), inconclusive=inconclusive)
    check_gates(gates)
    if baseline is None:
        return GateRules(gates=gates)
    # read now: a baseline that is missing should not end a run of hours
    from mibias_cli.report.read import find_report, read_report

    return GateRules(
        gates=gates,
        baseline=read_report(find_report(baseline)),
        baseline_name=str(baseline),
        tolerance=_tolerance(tolerance or ()),
        inconclusive=inconclusive,
    )


def _tolerance(given: Sequence[str]) -> Tolerance:
    """`0.01` for both figures, `accuracy=0.02` for one, which wins over the first; each is given once."""
    from mibias_cli.errors import did_you_mean
    from mibias_cli.gates.baseline import Tolerance

    # a number alone sets both
    values = {"leakage_bits": 0.0, "accuracy": 0.0}
    seen: set[str] = set()
    for text in given:
        key, equals, number = text.partition("=") if "=" in text else ("", "", text)
        # `nan` and what is no number at all are refused alike
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not 0 <= value < float("inf"):
            raise typer.BadParameter(f"--tolerance {text}: a number of at least 0 is expected, not {number!r}")
        if equals and key not in values:
            hint = did_you_mean(key, values) or f"; there are {', '.join(values)}"
            raise typer.BadParameter(f"--tolerance {text}: there is no {key!r}{hint}")
        # R² and accuracies end at 1, so what is meant by more is points
        if value > 1 and key != "leakage_bits":
            raise typer.BadParameter(
                f"--tolerance {text}: accuracy is a share, of 1 at most; {number} points are accuracy={value / 100:g}"
            )
        if key in seen:
            raise typer.BadParameter(f"--tolerance {text}: is given twice; keep one of the two")
        seen.add(key)
        values.update({key: value} if equals else dict.fromkeys(values, value))
    return Tolerance(**values)


def conclude(report: Report, *, junit: Path | None, seconds: float = 0.0) -> None:
    """Report the gates' results to JUnit, stderr and continuous integration, and end the command by them.

    Raises:
        typer.Exit: With 1 where a gate failed, with 2 where one could not be evaluated.
    """
    from mibias_cli.gates.junit import render_junit
    from mibias_cli.gates.rules import outcome
    from mibias_cli.report.markdown import render_markdown

    results = report.gates
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(junit, render_junit(report, seconds=seconds))
    for result in results:
        print(_line(result), file=sys.stderr, flush=True)
    annotate_gates(results)
    append_summary(lambda: render_markdown(report))
    code = {"pass": 0, "fail": EXIT_GATE, "error": EXIT_ERROR}[outcome(results)]
    if code:
        raise typer.Exit(code)


def _line(result: GateResult) -> str:
    # whether an uncertain figure counts depends on --inconclusive, so the line says it
    counts = f" ({'fails' if result.inconclusive == 'fail' else 'passes with a warning'})"
    status = result.status + (counts if result.status == "inconclusive" else "")
    return one_line(f"gate {status}: {result.expression}: {result.message}")
