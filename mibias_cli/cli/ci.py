"""What continuous integration is told: annotations and the job summary of GitHub Actions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mibias_cli.cli.streams import unescaped
from mibias_cli.errors import Problem
from mibias_cli.output.text import shown

if TYPE_CHECKING:
    from mibias_cli.report.document import GateResult

__all__ = ["annotate", "annotate_gates", "annotate_problems", "append_summary", "fit_bytes"]

SUMMARY_BYTES = 1024 * 1024
"""A step's summary may hold so much, together with what other commands of the step have written."""
_MOST_ANNOTATIONS = 50
"""More annotations of one run GitHub does not show."""
_CUT = "\n\n… cut short here: the whole report is in the report's folder.\n"


def annotate(level: str, message: str, **properties: object) -> None:
    """A workflow command (`::error file=…,line=…::message`) on stderr, in GitHub Actions alone."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    stream = unescaped(sys.stderr)
    stream.write(f"::{level}{f' {given}' if given else ''}::{_data(message)}\n")
    stream.flush()


def annotate_problems(problems: Iterable[Problem]) -> None:
    """An annotation for each problem of a recipe, at its line."""
    for problem in islice(problems, _MOST_ANNOTATIONS):
        message = f"{problem.key}: {problem.message}" if problem.key else problem.message
        # a value from the command line stands in no file
        if problem.path.startswith("--"):
            annotate("error", f"{problem.path} {message}", title="mibias")
        else:
            place = {"file": _from_workspace(problem.path), "line": problem.line, "col": problem.column}
            annotate("error", message, **place, title="mibias")


def annotate_gates(results: Iterable[GateResult]) -> None:
    """An annotation for each gate that did not pass: an error where it fails the report, else a warning."""
    for result in results:
        if result.status != "pass":
            level = "error" if result.is_failure or result.status == "error" else "warning"
            annotate(level, f"{result.expression}: {result.message}", title=f"mibias gate: {result.status}")


def append_summary(render: Callable[[], str]) -> None:
    """Append Markdown to the job summary, if there is one, cut at a line's end where it would be too long."""
    # rendered only where somebody will read it
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    markdown = shown(render())
    path = Path(name)
    there = path.stat().st_size if path.is_file() else 0
    text = fit_bytes(f"\n{markdown}" if there else markdown, SUMMARY_BYTES - there)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def fit_bytes(text: str, limit: int) -> str:
    """The text, or as many whole lines of it as fit into so many bytes together with a note that it was cut.

    Example:
        >>> fit_bytes("short", 100)
        'short'
    """
    # GitHub counts bytes, not characters
    raw = text.encode("utf-8")
    if len(raw) <= limit:
        return text
    room = limit - len(_CUT.encode("utf-8"))
    if room <= 0:
        return ""
    # cut at a line's end, so that neither a character nor a row of a table is torn
    kept = raw[:room]
    return kept[: kept.rfind(b"\n") + 1].decode("utf-8", errors="ignore") + _CUT


def _from_workspace(path: str) -> str:
    # GitHub finds a file by its path from the checkout
    workspace = os.environ.get("GITHUB_WORKSPACE")
    absolute = Path(path).absolute()
    return str(absolute.relative_to(workspace)) if workspace and absolute.is_relative_to(workspace) else path


# The escapes that GitHub's workflow commands ask for: `%` and line breaks, in properties `:` and `,` as well.
def _data(text: str) -> str:
    return shown(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(str(value)).replace(":", "%3A").replace(",", "%2C")
