"""What a dry run found, as text: samples per split, cells, and what the run would cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mibias_cli.cli.output import aligned, count_table

if TYPE_CHECKING:
    from mibias_cli.run.dry_run import DryRun

__all__ = ["dry_run_lines", "show_dry_run"]

MAX_COLUMNS = 12


def show_dry_run(found: DryRun) -> None:
    """Print the findings to stdout."""
    for line in dry_run_lines(found):
        typer.echo(line)


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """The findings line by line: figures first, then the cells of every split."""
    figures = {f"{split} samples": f"{n:,}" for split, n in found["splits"].items()} | {
        "parameters": f"{found['n_parameters']:,}",
        "trainable": f"{found['n_trainable']:,}",
        "steps": f"{found['steps']:,}",
        "seconds per step": f"{found['step_seconds']:.3f}",
        "training would take": _duration(found["estimated_training_seconds"]),
        "peak memory": f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB",
    }
    yield from aligned(list(figures.items()))
    # then a table for every split and attribute channel
    for split, channels in found["cells"].items():
        for channel, rows in channels.items():
            yield ""
            yield f"{split}: target × {channel}"
            # very wide tables are cut, with a note
            names = list(next(iter(rows.values()), {}))
            shown = names[:MAX_COLUMNS]
            counts = ((target, [row[name] for name in shown]) for target, row in rows.items())
            yield from (f"  {line}" for line in count_table(shown, counts))
            if len(names) > len(shown):
                yield f"  … and {len(names) - len(shown)} more classes (--format json has them all)"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
