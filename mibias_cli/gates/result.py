"""One gate's result, the same for conditions on figures and for comparisons with a baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from mibias_cli.errors import GateError
from mibias_cli.gates.figure_names import Figure
from mibias_cli.report.document import GateFigure, GateResult

__all__ = ["Inconclusive", "Status", "gate_result"]

Inconclusive = Literal["fail", "warn"]
Status = Literal["pass", "fail", "inconclusive", "error"]


def gate_result(
    judge: Callable[[], tuple[Status, str, Figure]],
    *,
    expression: str,
    source: Literal["recipe", "option", "baseline"],
    threshold: float,
    inconclusive: Inconclusive,
) -> GateResult:
    """What became of a gate; a figure that is missing makes it an error, because a gate on nothing must not pass.

    `judge` looks the figure up and returns status, message and figure.
    """
    status: Status = "error"
    figure = None
    try:
        status, message, found = judge()
        figure = GateFigure(**asdict(found))
    except GateError as error:
        message = error.message
    return GateResult(
        expression=expression, source=source, threshold=threshold, inconclusive=inconclusive, status=status,
        figure=figure, message=message,
    )  # fmt: skip
