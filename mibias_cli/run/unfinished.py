"""Whether a run has ended: what is audited or exported before that is told apart from what the run is for."""

from __future__ import annotations

from pathlib import Path

from mibias_cli.errors import RunError
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.document import unfinished_line
from mibias_cli.report.read import read_report
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.checkpoint import load_checkpoint

__all__ = ["UNFINISHED", "told_unfinished", "what_is_lacking"]

UNFINISHED = "unfinished"
"""Ends the names of folders with reports and exports of such runs."""


def what_is_lacking(run: RunFolder, recipe: Recipe) -> str | None:
    """What a run with this recipe of its own has not done yet, in words; None: its training has ended."""
    if not run.last.is_file():
        # a checkpoint may have been removed to save space; a run's own report is written after all training
        if run.best.is_file() and run.leakage.is_file() and read_report(run.leakage).unfinished is None:
            return None
        return "it has no checkpoint"
    state = load_checkpoint(run.last)
    stage, position = state["stage"], state["position"]
    if stage != "debias":
        return f"the original has done {position['epoch']} of {recipe.original.epochs if recipe.original else 0} epochs"
    if not position["finished"]:
        return f"debiasing has done {position['epoch']} of {recipe.training.epochs} epochs"
    if recipe.debias.erase != "none" and not run.erased.is_file():
        return "nothing is erased yet"
    return None


def told_unfinished(
    run: RunFolder, recipe: Recipe, *, allowed: bool, out: Path | None, progress: Progress
) -> str | None:
    """The same, told to the user.

    Args:
        recipe: The run's own.
        allowed: Whether the user asked for a run that has not ended.
        out: Where the user wants what is made of it.

    Raises:
        RunError: The run has not ended, and the user has not asked for that; or `out` is where it will write itself.
    """
    lacking = what_is_lacking(run, recipe)
    if lacking is None:
        return None
    if not allowed:
        raise RunError(
            f"{run.path}: this run has not ended ({lacking}); end it with `mibias train --resume {run.path}`, or take "
            "its weights as they are with --unfinished"
        )
    # a resumed run takes what is there for its own work, and does it no more
    if out is not None and out.absolute() in (run.report.absolute(), run.export.absolute()):
        raise RunError(f"{out}: is where the run will write when it ends; choose another folder with --out")
    # as the report says it, so that no command says it twice
    progress.warn(unfinished_line(lacking))
    return lacking
