"""`mibias doctor`: whether this machine has what mibias needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from mibias_cli.cli.guard import EXIT_ERROR
from mibias_cli.cli.options import FormatOption, OfflineOption
from mibias_cli.cli.output import aligned, print_found

if TYPE_CHECKING:
    from mibias_cli.cli.doctor import Check

__all__ = ["check_lines", "doctor"]


def doctor(offline: OfflineOption = False, output: FormatOption = None) -> None:
    """Say whether this machine has what mibias needs.

    Looks at Python, packages, devices, folders that are written to, the hub and extras. Exit code 2 where something
    that every run needs is broken, else 0.
    """
    from mibias_cli.cli.doctor import broken, examine

    checks = examine(offline=offline)
    faults = broken(checks)
    print_found({"ok": not faults, "checks": [check.as_dict() for check in checks]}, check_lines(checks), output)
    if faults:
        raise typer.Exit(EXIT_ERROR)


def check_lines(checks: Sequence[Check]) -> Iterator[str]:
    """The checks as aligned text, what to do below each that is not well."""
    for line, check in zip(aligned([(check.state, check.name, check.found) for check in checks]), checks, strict=True):
        yield line
        if check.fix is not None:
            yield f"         → {check.fix}"
    n_broken, n_warnings = (sum(check.state == state for check in checks) for state in ("broken", "warning"))
    if n_broken:
        yield f"{n_broken} broken: mibias does not work so"
    else:
        yield f"mibias can work here{f'; {n_warnings} to heed' if n_warnings else ''}"
