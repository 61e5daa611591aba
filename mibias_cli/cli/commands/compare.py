"""Commands on several runs: compare them, or make them by a sweep and compare those."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.guard import EXIT_ERROR
from mibias_cli.cli.options import DeviceOption, OfflineOption, ReportFormat, SetOption, folder_option
from mibias_cli.cli.output import aligned, print_table, print_words
from mibias_cli.cli.progress import shown_progress
from mibias_cli.cli.stopping import on_stop
from mibias_cli.errors import MibiasError

if TYPE_CHECKING:
    from mibias_cli.compare.records import Comparison
    from mibias_cli.report.tables import Table

__all__ = ["compare", "sweep"]

_FormatOption = Annotated[ReportFormat, typer.Option("--format", help="json writes the comparison to stdout.")]


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs, exports, report folders or leakage.json.")],
    out: Annotated[Path | None, folder_option("--out", help="Folder for compare.html, compare.json and SVGs.")] = None,
    output: _FormatOption = "text",
) -> None:
    """Compare runs: a table, and the frontier of accuracy and leakage.

    Runs that differ in seeds alone are one group, shown with its spread.
    """
    from mibias_cli.compare import runs as compare_runs
    from mibias_cli.compare.page import refuse_comparison

    if out is not None:
        refuse_comparison(out)
    _show(compare_runs.compare(runs), out, output)


def sweep(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe to sweep.")],
    over: Annotated[
        list[str],
        typer.Option(
            "--over", metavar="KEY=V,V,…", help="A key of the recipe and its values. Several make a grid. Repeatable."
        ),
    ],
    out: Annotated[Path | None, folder_option("--out", help="Folder of the runs. [default: runs/NAME/sweep]")] = None,
    overrides: SetOption = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time, each a process.")] = 1,
    device: DeviceOption = None,
    offline: OfflineOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs as JSON, without training.")] = False,
    output: _FormatOption = "text",
) -> None:
    """Train a recipe over a grid of settings and compare the runs.

    Given again, it skips what is finished and goes on with what is half finished. Given on several machines or in a
    SLURM array, with one folder, each trains what no other is at. Where there are several GPUs, each job has its own.
    """
    from mibias_cli.compare import sweep as sweeping
    from mibias_cli.compare.page import refuse_comparison
    from mibias_cli.data.files.tabular import first_rows
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.recipe.overrides import refuse_undone

    # a mistake in --over shows before anything runs
    points = sweeping.make_points([sweeping.parse_axis(text) for text in over])
    settings = [*(overrides or ()), *([] if device is None else [f"training.device={device}"])]
    refuse_undone([*settings, *points[0].overrides])
    folder = out or Path("runs") / load_recipe(recipe, settings).name / "sweep"
    refuse_comparison(folder)
    if dry_run:
        sweeping.points_to_run(recipe, points, folder, settings, offline=offline)
        typer.echo(json.dumps(sweeping.plain_points(points), indent=2))
        return
    again = f"give the same command again to go on; runs are in {folder}"
    with on_stop(lambda: again), shown_progress() as progress:
        result = sweeping.run_sweep(
            recipe, points, out=folder, overrides=settings, jobs=jobs, progress=progress,
            options=["--offline"] if offline else [], on_finished=_Page(folder).update,
        )  # fmt: skip
    # runs that failed do not keep the others from being compared
    if result.finished:
        _show(_compared(result.finished), folder, output)
    if result.elsewhere:
        typer.echo(
            f"{len(result.elsewhere)} of {len(points)} runs are being trained by other processes: "
            f"{first_rows(result.elsewhere)}; give the same command again once these have ended",
            err=True,
        )
    if result.failed:
        typer.echo(f"{len(result.failed)} of {len(points)} runs failed: {', '.join(result.failed)}", err=True)
        raise typer.Exit(EXIT_ERROR)


def _compared(finished: Mapping[str, Path]) -> Comparison:
    from mibias_cli.compare import runs as compare_runs

    return compare_runs.compare(list(finished.values()), names=list(finished))


class _Page:
    """A sweep's page, written again as runs end, but not so often that it takes a tenth of the time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.not_before = folder, 0.0

    def update(self, finished: Mapping[str, Path]) -> None:
        """Compare the runs that are finished."""
        from mibias_cli.compare.page import write_comparison

        started = time.monotonic()
        if started >= self.not_before:
            # what cannot be read or written is said at the end: it must not stop what still trains
            with suppress(MibiasError):
                write_comparison(self.folder, _compared(finished))
            self.not_before = time.monotonic() + 10 * (time.monotonic() - started)


def _show(comparison: Comparison, out: Path | None, output: ReportFormat) -> None:
    """JSON to stdout, or tables to stderr; and the files, if a folder is given."""
    from mibias_cli.compare.page import write_comparison
    from mibias_cli.compare.tables import group_table

    if output == "json":
        typer.echo(comparison.to_json(), nl=False)
    else:
        _print(group_table(comparison, brief=True))
        for note in comparison.notes:
            print_words(f"note: {note}")
    if out is not None:
        typer.echo(f"comparison: {write_comparison(out, comparison)}", err=True)


def _print(table: Table) -> None:
    """A table of the comparison's page; what is small there stands below the cell here, or behind it in brackets."""
    flat = [[f"{c.text} ({c.small})" if c.small else c.text for c in line.cells] for line in table.lines]
    rows = [[cell.text for cell in line.cells] for line in table.lines]
    small = [[cell.small for cell in line.cells] for line in table.lines]
    styles = [["dim" if line.quiet else ""] * len(line.cells) for line in table.lines]
    print_table(aligned([table.header, *flat]), table.header, rows, styles, below=small)
