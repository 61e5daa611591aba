"""Commands that compute: train, evaluate, export. They import torch, and so only when they are called."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.commands.gate import (
    BaselineOption,
    FailOnOption,
    InconclusiveOption,
    JunitOption,
    ToleranceOption,
    conclude,
    gate_rules,
)
from mibias_cli.cli.options import (
    CheckFilesOption,
    DeviceOption,
    DevicesOption,
    DryRunOption,
    ExamplesOption,
    ExportFormat,
    JobsOption,
    NodesOption,
    OfflineOption,
    PrecisionOption,
    ReportFormat,
    SetOption,
    UnfinishedOption,
    folder_option,
    seed_option,
)
from mibias_cli.cli.output import dry_run_lines, print_found, show_report
from mibias_cli.cli.progress import shown_progress
from mibias_cli.cli.ranks import joined, run_ranks
from mibias_cli.cli.recipe_checks import recipe_checks, unread_keys
from mibias_cli.cli.stopping import on_stop
from mibias_cli.progress import Progress
from mibias_cli.ranks.place import Place
from mibias_cli.run_folder import RECIPE_FILE, RunFolder, is_run

if TYPE_CHECKING:
    from mibias_cli.export.push import HubTarget
    from mibias_cli.recipe.schema import Recipe

__all__ = ["evaluate", "export", "train"]


def train(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="Recipe to train; not needed with --resume.")
    ] = None,
    out: Annotated[Path | None, folder_option("--out", help="The run's folder. [default: runs/NAME/TIME]")] = None,
    overrides: SetOption = None,
    seed: Annotated[int | None, seed_option(help="Seed of the run.")] = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    num_nodes: NodesOption = None,
    precision: PrecisionOption = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Continue a run exactly where its last checkpoint is."),
    ] = None,
    dry_run: DryRunOption = False,
    output: Annotated[
        ReportFormat | None,
        typer.Option("--format", help="Output format of --dry-run. [default: text on a terminal, json elsewhere]"),
    ] = None,
    offline: OfflineOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that exists in --out.")] = False,
    check_files: CheckFilesOption = False,
    examples: ExamplesOption = 0,
    jobs: JobsOption = None,
    fail_on: FailOnOption = None,
    baseline: BaselineOption = None,
    tolerance: ToleranceOption = None,
    inconclusive: InconclusiveOption = "warn",
    junit: JunitOption = None,
) -> None:
    """Debias, audit and export, as a recipe says.

    Ends with the leakage report, before → after, and with an export that timm loads. A gate that fails ends it with
    exit code 1.

    With --devices it starts a process for each device; under torchrun and srun it joins those that these have started.
    """
    # what no recipe can mend is said before one is read
    if resume is not None and (out is not None or overwrite):
        raise typer.BadParameter("a resumed run stays in its own folder: leave out --out and --overwrite")
    if recipe is None and resume is None:
        raise typer.BadParameter("name a RECIPE to train, or a run to --resume")
    if output is not None and not dry_run:
        raise typer.BadParameter("--format is about --dry-run, which is missing")
    rules = gate_rules(fail_on, baseline, tolerance, inconclusive, junit)
    place, ranks = _joined(devices, num_nodes)
    options = {"seed": seed, "training.device": device, "training.precision": precision, **ranks}
    loaded = _load(recipe, resume, _overrides(overrides, options), trains=True)
    is_first = place is None or place.rank == 0
    if dry_run:
        if is_first:
            _dry_run(loaded, resume, offline, output, check_files)
        return
    started, section = time.time(), loaded.training
    stopping = on_stop(lambda: _how_to_resume(resume or out, loaded.name, started))
    if place is None and section.devices * section.num_nodes > 1:
        with stopping:
            raise typer.Exit(run_ranks(sys.argv[1:], devices=section.devices, nodes=section.num_nodes))
    # torch is loaded from here on: faults of a recipe are told at once
    from mibias_cli.run import workflow

    with stopping, shown_progress() if is_first else nullcontext() as progress:
        run = workflow.train(
            loaded,
            out=out,
            resume=resume,
            overwrite=overwrite,
            offline=offline,
            progress=progress,
            gates=rules,
            n_examples=examples,
            jobs=jobs,
            check_files=check_files,
        )
    if progress is not None:
        show_report(run.report, progress.warned)
        _say_where(RunFolder(run.folder).report, run.export)
        conclude(run.report, junit=junit, seconds=time.time() - started)


def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A run, an exported folder, a timm model, or stored embeddings.")
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that names the data. [default: the run's own]")
    ] = None,
    overrides: SetOption = None,
    out: Annotated[
        Path | None,
        folder_option("--out", help="Folder of the report. [default: a new one in the run, or in runs/evaluate]"),
    ] = None,
    device: DeviceOption = None,
    offline: OfflineOption = False,
    unfinished: UnfinishedOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that is in --out.")] = False,
    output: Annotated[ReportFormat, typer.Option("--format", help="json writes the report to stdout.")] = "text",
    examples: ExamplesOption = 0,
    jobs: JobsOption = None,
    fail_on: FailOnOption = None,
    baseline: BaselineOption = None,
    tolerance: ToleranceOption = None,
    inconclusive: InconclusiveOption = "warn",
    junit: JunitOption = None,
) -> None:
    """Audit a model for leakage of its bias attributes.

    Fits fresh probes on held-out features, and gives accuracy by group. A run is audited on its own data; all else
    needs --recipe. A gate (--fail-on, --baseline, or the recipe's own) that fails ends it with exit code 1.
    """
    rules = gate_rules(fail_on, baseline, tolerance, inconclusive, junit)
    settings = _overrides(overrides, {"training.device": device})
    # the data: of the recipe that was named, else of the run's own, changed by the options in both cases
    loaded = None
    if recipe is not None:
        loaded = _load(recipe, None, settings)
    elif is_run(Path(target)):
        loaded = _load(None, Path(target), settings)
    elif settings:
        raise typer.BadParameter(f"{target} is no run with a recipe of its own; --set and --device need --recipe")
    from mibias_cli.run import workflow

    started = time.time()
    with shown_progress() as progress:
        if unread := unread_keys(overrides or ()):
            progress.warn(f"--set {', '.join(unread)}: an audit does not read this, so nothing changes by it")
        evaluated = workflow.evaluate(
            target,
            recipe=loaded,
            out=out,
            offline=offline,
            progress=progress,
            gates=rules,
            n_examples=examples,
            unfinished=unfinished,
            jobs=jobs,
            overwrite=overwrite,
        )
    if output == "json":
        typer.echo(evaluated.report.to_json(), nl=False)
    else:
        show_report(evaluated.report, progress.warned)
    _say_where(evaluated.folder)
    conclude(evaluated.report, junit=junit, seconds=time.time() - started)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[
        Path | None, folder_option("--out", help="Folder of the export. [default: a new one in the run]")
    ] = None,
    formats: Annotated[
        list[ExportFormat] | None,
        typer.Option(
            "--format", metavar="FORMAT", help="safetensors or onnx. Repeatable. [default: as the run's recipe says]"
        ),
    ] = None,
    offline: OfflineOption = False,
    unfinished: UnfinishedOption = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option("--push-to-hub", metavar="ORG/NAME", help="Also upload the export to the Hugging Face hub."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push-to-hub: let everybody see it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --push-to-hub: list what would be uploaded, without network.")
    ] = False,
) -> None:
    """Write a run's weights to a folder that timm loads.

    With them go the model card and the report. What was written is loaded again and compared before this says done.
    With --push-to-hub the folder goes to a private repository of the hub, by the login of `hf auth login`.
    """
    if push_to_hub is None and (public or dry_run):
        raise typer.BadParameter("--public and --dry-run are about --push-to-hub ORG/NAME")
    if dry_run and out is not None:
        raise typer.BadParameter("--dry-run keeps no export: leave out --out, or --dry-run")
    if push_to_hub is not None and offline and not dry_run:
        raise typer.BadParameter("--offline refuses the network that --push-to-hub needs: leave one of them out")
    from mibias_cli.export.push import HubTarget, push
    from mibias_cli.run import workflow

    target = None if push_to_hub is None else HubTarget.of(push_to_hub, public=public)
    write = partial(workflow.export, run, formats=tuple(each.value for each in formats or ()), unfinished=unfinished)
    if dry_run and target is not None:
        _list_push(target, lambda folder, progress: write(out=folder, offline=True, progress=progress))
        return
    # what would stop the push is said before the export is made
    if target is not None:
        target.check()
    with shown_progress() as progress:
        folder = write(out=out, offline=offline, progress=progress)
    typer.echo(f"exported to {folder}", err=True)
    # the hub's client has a progress display of its own
    if target is not None:
        typer.echo(f"pushed to {push(folder, target)}", err=True)


def _list_push(target: HubTarget, write: Callable[[Path, Progress], Path]) -> None:
    """What would be pushed: the files of an export that is written to a temporary folder, with their sizes."""
    from mibias_cli.export.push import files_to_push

    with TemporaryDirectory() as folder, shown_progress() as progress:
        files = files_to_push(write(Path(folder, "export"), progress))
    typer.echo(f"would go to {target.url} ({'public' if target.public else 'private'}):")
    rows = [(f"{size:,}", name) for name, size in [*files, ("bytes together", sum(size for _, size in files))]]
    width = max(len(size) for size, _ in rows)
    for size, name in rows:
        typer.echo(f"{size:>{width}}  {name}")


def _joined(devices: int | None, num_nodes: int | None) -> tuple[Place | None, dict[str, int | None]]:
    """What `joined` says, and the recipe's keys that say how many ranks there are."""
    place = joined(devices, num_nodes)
    if place is None:
        return None, {"training.devices": devices, "training.num_nodes": num_nodes}
    return place, {"training.devices": place.devices, "training.num_nodes": place.nodes}


def _dry_run(
    recipe: Recipe, resume: Path | None, offline: bool, output: ReportFormat | None, check_files: bool
) -> None:
    """What a run would do, on stdout: tables for people, JSON for programs."""
    from mibias_cli.run import dry_run

    if resume is not None:
        from mibias_cli.run.resume.same_run import changed_settings

        changed_settings(RunFolder(resume), recipe)
    with shown_progress() as progress:
        findings = dry_run.dry_run(recipe, offline=offline, progress=progress, check_files=check_files)
    # tables go to every terminal, also to one that wants no bars
    on_terminal: ReportFormat = "text" if sys.stdout.isatty() else "json"
    print_found(findings, dry_run_lines(findings), output or on_terminal)


def _overrides(given: Sequence[str] | None, options: Mapping[str, object | None]) -> list[str]:
    """--set options, followed by the options that are short for one, by the key that they set."""
    from mibias_cli.recipe.overrides import refuse_undone

    settings = [*(given or ()), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    refuse_undone(settings)
    return settings


def _load(recipe: Path | None, run: Path | None, settings: Sequence[str], *, trains: bool = False) -> Recipe:
    """The recipe of a file, or else of a run."""
    if recipe is not None:
        from mibias_cli.recipe.load import load_recipe

        # an audit may be told a run's own recipe; what is trained anew is judged as any other
        begun = not trains and recipe.name == RECIPE_FILE
        return load_recipe(recipe, settings, checks=recipe_checks(trains=trains), begun=begun)
    from mibias_cli.run import workflow

    assert run is not None, "either a recipe or a run"
    return workflow.load_run_recipe(run, settings, resumes=trains)


def _how_to_resume(folder: Path | None, name: str, started: float) -> str:
    """How to go on with the run that was interrupted: in its folder, or in the newest one begun since."""
    if folder is None:
        # a run that was given no folder named one by the time at which it began
        begun = [path for path in Path("runs", name).glob("*") if path.is_dir() and path.stat().st_mtime >= started - 1]
        folder = max(begun, key=lambda path: path.stat().st_mtime, default=None)
    if folder is None or not any(RunFolder(folder).checkpoints.glob("*")):
        return "no checkpoint was written yet"
    return f"resume with: mibias train --resume {folder}"


def _say_where(report: Path, export: Path | None = None) -> None:
    """Where the report and the export are."""
    for name, path in (("report", report / "leakage.html"), ("export", export)):
        if path is not None and path.exists():
            typer.echo(f"{name}: {path}", err=True)
