"""train, evaluate and export, each readable on one page: recipe in, folders and findings out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.errors import DataError, ExportError, MibiasError
from mibias_cli.export.export import write_export
from mibias_cli.export.heads_file import INFO, what_weights_give
from mibias_cli.export.load import load_export
from mibias_cli.export.onnx_file import ONNX_FILE
from mibias_cli.gates.rules import GateRules, all_rules, with_gates
from mibias_cli.methods.erasers.linear_eraser import require_leace
from mibias_cli.progress import Progress, Silent
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.recipe.begun import load_run_recipe
from mibias_cli.recipe.load import load_recipe, public_weights
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.unbelievable import debiased_target
from mibias_cli.report.document import Report
from mibias_cli.report.read import read_report
from mibias_cli.run.assemble import Parts, assemble, load_run_model
from mibias_cli.run.before.checks import check_start
from mibias_cli.run.before.files import tell
from mibias_cli.run.cached import cached_parts
from mibias_cli.run.discover import discover, with_discovered
from mibias_cli.run.evaluate import (
    NO_GATES,
    EvaluatedTarget,
    chosen_path,
    evaluate,
    run_target,
    write_audit,
)
from mibias_cli.run.resume.same_run import changed_settings
from mibias_cli.run.several import BY_RANK, on_its_ranks, splits_batchnorm
from mibias_cli.run.stages import Run, erase, fit_debiased, fit_original
from mibias_cli.run.unfinished import UNFINISHED, told_unfinished
from mibias_cli.run_folder import RunFolder, check_free, fresh_folder, lock_run, timestamp, write_environment
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.model import TaskModel
from mibias_cli.training.trackers.opened import open_trackers
from mibias_cli.training.trackers.tracker import Tracked

__all__ = ["EvaluatedTarget", "TrainedRun", "evaluate", "export", "load_run_recipe", "train"]


_WHERE_DATA_LIE = (
    "an export needs the data that the run was trained on; where they have moved, say so once: mibias train --resume "
    "{run} --set data.path=FILE"
)


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run: its folder, what its report says, and its export."""

    folder: Path
    report: Report
    export: Path


def train(
    recipe: Recipe | Path | str,
    *,
    out: Path | str | None = None,
    resume: Path | str | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
    gates: GateRules = NO_GATES,
    n_examples: int = 0,
    jobs: int | None = 1,
    check_files: bool = False,
) -> TrainedRun:
    """Train a recipe to the end: original stage, debiasing, audit, export.

    A run that is resumed writes what it lacks: a report or an export that is there stays as it is. Among several ranks,
    as torchrun or SLURM starts them, all train; the first writes, audits and exports, and the others return when it is
    done.

    Args:
        recipe: What to do, or the file that says it. When resuming, the run's own.
        out: The run's folder; None: runs/<name>/<time>.
        resume: A run to continue from its last checkpoint.
        overwrite: Whether an existing run in `out` may be replaced.
        offline: Whether to refuse downloads.
        progress: Told of what happens; None: nobody is.
        gates: Gates beside the recipe's own.
        n_examples: Example images per (y, c) cell in the report's page.
        jobs: Processes that fit the audit's probes; None: one for each core. The figures do not depend on it.
        check_files: Whether all images are read before the first step, and not some of those that are audited.

    Raises:
        MibiasError: Whatever the user can mend; each kind is a subclass.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    # what can be wrong without any data is said before a folder is touched
    rules = all_rules(recipe, gates)
    if recipe.debias.erase == "leace":
        require_leace()
    if resume is None:
        for key, reason in debiased_target(recipe.model_dump(mode="json")):
            raise MibiasError(f"{'.'.join(map(str, key))}: {reason}")

    recipe, place = on_its_ranks(recipe)
    section = recipe.training
    fabric = make_fabric(section.device, section.precision, deterministic=section.deterministic, place=place)
    ranks = ALONE if place is None else Ranks(fabric)
    told, new = progress if progress is not None and ranks.is_first else Silent(), resume is None
    # the time is in its name: that of rank 0
    folder = RunFolder(ranks.agreed(_path(resume) or _path(out) or Path("runs") / recipe.name / timestamp()))
    if ranks.is_first:
        check_free(folder.path, new=new, overwrite=overwrite)
        # and of a recipe that is not the run's own, before its data are looked for
        if not new:
            changed_settings(folder, recipe)
    told.stage("loading data and backbone")
    parts = assemble(recipe, offline=offline, fabric=fabric, ranks=ranks)
    check_start(parts, all_files=check_files)
    # claimed only now, and by one process
    with lock_run(folder.path) if ranks.is_first else nullcontext(True) as has_locks:
        if not has_locks:
            told.warn(f"{folder.path}: this file system has no locks; let no other process write this run")
        run = Run.open(parts, folder, new=new, overwrite=overwrite, progress=told)
        return _train(parts, run, rules=rules, n_examples=n_examples, jobs=jobs)


def _train(parts: Parts, run: Run, *, rules: GateRules, n_examples: int, jobs: int | None) -> TrainedRun:
    """What is still to do of a run that is open."""
    is_first, recipe = parts.ranks.is_first, parts.recipe
    tracked = Tracked(folder=run.folder.path, name=recipe.name, settings=recipe.model_dump(mode="json"))
    trackers = open_trackers(recipe.logging, tracked, run.progress.warn) if is_first else []
    # the same log for both stages: the checkpoint says how much of it counts
    with run.log(written=is_first, trackers=trackers) as log:
        parts, training = _prepared(parts, run)
        original = fit_original(training, run, log)
        fit_debiased(training, run, log, start=original)
        # the others wait for what the first makes of the weights
        if is_first:
            report = _finish(parts, training, run, rules=rules, n_examples=n_examples, jobs=jobs)
            log.attach("report", run.folder.report)
            log.attach("export", run.folder.export)
    parts.ranks.wait()
    if not is_first:
        report = read_report(run.folder.leakage)
    return TrainedRun(folder=run.folder.path, report=with_gates(report, rules), export=run.folder.export)


def _finish(parts: Parts, training: Parts, run: Run, *, rules: GateRules, n_examples: int, jobs: int | None) -> Report:
    """Erasing, audit and export of a run that is trained."""
    recipe, folder, told = parts.recipe, run.folder, run.progress
    # from here on every step reads the run's files, and one whose own files are there already is done
    if recipe.debias.erase != "none" and not folder.erased.is_file():
        erase(training, run)
    # leakage.json is written last: a report without it is what a kill left of one
    if folder.leakage.is_file():
        report = read_report(folder.leakage)
    else:
        target = run_target(parts, folder)
        report = write_audit(
            target, parts, folder.report, rules=rules, progress=told, n_examples=n_examples, overwrite=True, jobs=jobs
        ).report
    if (folder.export / INFO).is_file():
        # it stays as it is, if it is whole
        load_export(folder.export)
    else:
        _export(parts, folder, folder.export, recipe.export.formats, told)
    return report


def _prepared(parts: Parts, run: Run) -> tuple[Parts, Parts]:
    """The parts of a run, told of to the user, with an attribute that is discovered; and those that it trains on.

    Training reads what the frozen part of the backbone makes of the data, where that can be kept.
    """
    recipe = parts.recipe
    tell(parts, run.progress)
    if parts.ranks.share.size > 1 and splits_batchnorm(parts):
        run.progress.warn(f"figures are not quite those of one process: {BY_RANK}")
    if run.checkpoint is None and parts.ranks.is_first:
        precision = str(parts.fabric.strategy.precision.precision)
        write_environment(run.folder.path, device=str(parts.fabric.device), precision=precision)
    discovers = recipe.discover is not None and not run.folder.discovered.is_file()
    splits = (parts.data.train, parts.data.validation, parts.data.audit)[: 3 if discovers else 2]
    training = cached_parts(parts, run.progress, {split.name: np.arange(len(split)) for split in splits})
    # found once and kept in a file: every later command must see the same clusters
    if discovers:
        discover(training, run.folder, run.progress)
    return with_discovered(parts, run.folder), with_discovered(training, run.folder)


def export(
    run: Path | str,
    *,
    out: Path | str | None = None,
    formats: Sequence[str] = (),
    offline: bool = False,
    progress: Progress | None = None,
    unfinished: bool = False,
) -> Path:
    """Export a run's debiased weights and report to a folder, reloaded and compared before it is called done.

    Args:
        run: A run's folder.
        out: Where to; None: a new folder in the run.
        formats: safetensors, onnx; empty: what the run's recipe says.
        offline: Whether to refuse downloads.
        progress: Told of what happens; None: nobody is.
        unfinished: Whether to export a run that has not ended; its model card says so.

    Returns:
        The folder, which `load_extractor` and timm load.

    Raises:
        RunError: It is no run, or has not ended.
        ExportError: What was written and loaded again does not give the same features; or ONNX, which was asked for,
            cannot be written, and the folder is there without it.
    """
    run, told = Path(run), progress or Silent()
    recipe = load_run_recipe(run)
    lacking = told_unfinished(RunFolder(run), recipe, allowed=unfinished, out=_path(out), progress=told)
    # weights are copied and compared on the CPU: a run that was trained on a GPU is exported without one
    try:
        parts = assemble(recipe, offline=offline, fabric=make_fabric("cpu", "32", deterministic=False))
    except DataError as error:
        # this command takes no settings: what it needs can be said where they are taken
        raise DataError(f"{error}\n{_WHERE_DATA_LIE.format(run=run)}") from error
    parts = with_discovered(parts, RunFolder(run))
    folder = _path(out) or fresh_folder(run, "export" if lacking is None else f"export-{UNFINISHED}")
    _export(parts, RunFolder(run), folder, formats or recipe.export.formats, told, unfinished=lacking)
    # whoever asked for it by name must not think that it is there
    if "onnx" in formats and not (folder / ONNX_FILE).is_file():
        raise ExportError(f"{folder}: exported, but without {ONNX_FILE}, for the reason above")
    return folder


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)


def _export(
    parts: Parts,
    run: RunFolder,
    folder: Path,
    formats: Sequence[str],
    progress: Progress,
    *,
    unfinished: str | None = None,
) -> Path:
    progress.stage("exporting")
    model = load_run_model(parts, chosen_path(run, unfinished=unfinished is not None)).eval()
    # a report that is there already is not of weights that training goes on to change
    report = read_report(run.leakage) if run.leakage.is_file() and unfinished is None else None
    if report is None and unfinished is None:
        progress.warn(f"{run.path}: has no {run.leakage.name}, so this export has no figures; `mibias train --resume "
                      f"{run.path}` writes it")  # fmt: skip
    _check_audited(parts.recipe, model, report, run)
    audit, target = parts.data.audit, parts.data.target
    info = write_export(
        folder,
        backbone=parts.backbone,
        extractor=model.extractor,
        head=None if target.kind == "none" else model.head,
        class_names=target.output_names,
        layers=parts.recipe.representation.layers,
        report=report,
        report_folder=None if report is None else run.report,
        sample_inputs=audit.reader.read(audit.rows[np.arange(min(8, len(audit)))], None),
        formats=tuple(formats),
        base_weights=public_weights(parts.recipe.backbone.weights),
        erased=parts.debiased,
        unfinished=unfinished,
        inputs=parts.data.inputs,
        progress=progress,
    )
    # whoever takes the weights without the rest must know what they get
    if not info.is_bare:
        (progress.note if info.folded else progress.warn)(f"{folder}: {what_weights_give(info)}")
    return folder


def _check_audited(recipe: Recipe, model: TaskModel, report: Report | None, run: RunFolder) -> None:
    """Raise an ExportError where a run's report is not of the weights that are to be exported with it."""
    audited = None if report is None else report.provenance.get("weights_after_sha256")
    # exports hold float32, whatever the run was trained in
    if audited is None or recipe.training.precision == "64" or audited == weights_fingerprint(model.extractor):
        return
    raise ExportError(
        f"{run.leakage}: is of other weights than {run.checkpoints} holds; remove {run.report} and audit anew: mibias "
        f"train --resume {run.path}"
    )
