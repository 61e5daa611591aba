"""What a dry run found, as text: samples per split, cells, and what the run would cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

__all__ = ["dry_run_lines", "show_dry_run"]

MAX_COLUMNS = 12


def show_dry_run(findings: Mapping[str, Any]) -> None:
    """Print the findings to stdout.

    Args:
        findings: As `mibias_cli.run.dry_run.dry_run` gives them.
    """
    for line in dry_run_lines(findings):
        typer.echo(line)


def dry_run_lines(findings: Mapping[str, Any]) -> Iterator[str]:
    """The findings line by line: figures first, then the cells of every split.

    Example:
        >>> found = {"steps": 1200, "step_seconds": 0.05, "estimated_training_seconds": 60.0}
        >>> print("\\n".join(dry_run_lines(found)))
        steps                1,200
        seconds per step     0.050
        training would take  1 min
    """
    figures = list(_figures(findings))
    width = max((len(name) for name, _ in figures), default=0)
    for name, value in figures:
        yield f"{name:{width}}  {value}"
    for split, channels in (findings.get("cells") or {}).items():
        for channel, rows in channels.items():
            yield ""
            yield f"{split}: target × {channel}"
            yield from _cells(rows)


def _figures(findings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for split, n in (findings.get("splits") or {}).items():
        yield f"{split} samples", f"{n:,}"
    for key, name in (("n_parameters", "parameters"), ("n_trainable", "trainable"), ("steps", "steps")):
        if findings.get(key) is not None:
            yield name, f"{findings[key]:,}"
    if findings.get("step_seconds") is not None:
        yield "seconds per step", f"{findings['step_seconds']:.3f}"
    if findings.get("estimated_training_seconds") is not None:
        yield "training would take", _duration(findings["estimated_training_seconds"])
    if findings.get("peak_memory_bytes") is not None:
        yield "peak memory", f"{findings['peak_memory_bytes'] / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _cells(rows: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A table of counts, targets down and classes across; very wide ones are cut with a note."""
    names = list(next(iter(rows.values()), {}))
    shown = names[:MAX_COLUMNS]
    table = [["", *shown], *([target, *(f"{row[name]:,}" for name in shown)] for target, row in rows.items())]
    widths = [max(len(line[k]) for line in table) for k in range(len(shown) + 1)]
    for line in table:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join([f"  {first}", *others]).rstrip()
    if len(names) > len(shown):
        yield f"  … and {len(names) - len(shown)} more classes (--format json has them all)"
