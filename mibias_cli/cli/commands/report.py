"""Commands on reports that are written already: gate, compare. They answer without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mibias_cli.cli.gate_options import (
    BaselineOption,
    FailOnOption,
    Inconclusive,
    InconclusiveOption,
    JunitOption,
    ToleranceOption,
    conclude,
    gate_rules,
)

__all__ = ["gate"]


def gate(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A leakage.json, a report's folder, a run or an export.")
    ],
    fail_on: FailOnOption = None,
    baseline: BaselineOption = None,
    tolerance: ToleranceOption = None,
    inconclusive: InconclusiveOption = Inconclusive.warn,
    junit: JunitOption = None,
) -> None:
    """Gate a report that is written already.

    Exits with 0 where it passes, with 1 where a gate fails, with 2 where one cannot be evaluated. The report itself
    stays as it is.
    """
    rules = gate_rules(fail_on, baseline, tolerance, inconclusive)
    if not rules.gates and rules.baseline is None:
        raise typer.BadParameter("nothing to gate by: give --fail-on or --baseline")
    from mibias_cli.gates.recipe_rules import with_gates
    from mibias_cli.report.read import find_report, read_report

    found = read_report(find_report(report))
    conclude(with_gates(found, rules), junit=junit)
