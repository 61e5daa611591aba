"""train, evaluate and export, each readable on one page: recipe in, folders and findings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.export.export import write_export
from mibias_cli.export.heads_file import INFO
from mibias_cli.gates.recipe_rules import all_rules, with_gates
from mibias_cli.gates.rules import GateRules
from mibias_cli.methods.leace import erase_linearly, erased_path
from mibias_cli.methods.linear_eraser import require_leace
from mibias_cli.progress import Progress
from mibias_cli.recipe.load import dump_recipe
from mibias_cli.recipe.schema import Recipe, TrainingSection
from mibias_cli.report.document import Report
from mibias_cli.report.read import FILES, read_report
from mibias_cli.run import build
from mibias_cli.run.audit import validation_leakage
from mibias_cli.run.debias import (
    balance_of,
    bias_log_probabilities,
    build_debiaser,
    build_weights,
    debiased_attributes,
)
from mibias_cli.run.discover import DISCOVERED_FILE, discover, with_discovered
from mibias_cli.run.evaluate import (
    NO_GATES,
    AuditJob,
    EvaluatedTarget,
    audit_run_folder,
    chosen_path,
    evaluate,
    load_run_model,
    load_run_recipe,
)
from mibias_cli.run.forewarnings import forewarnings
from mibias_cli.run_folder import (
    CHOICE,
    LEAKAGE_GIVEN_TARGET,
    RECIPE_FILE,
    claim_run_folder,
    fresh_folder,
    timestamp,
    write_environment,
)
from mibias_cli.seeds import derive_seed
from mibias_cli.training.checkpoint import StageState, load_checkpoint, load_weights, save_weights
from mibias_cli.training.control.recycle import Recycler
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.loop import StageTrainer, best_path, last_path, original_path
from mibias_cli.training.model import TaskModel, z_width
from mibias_cli.training.original import FrozenOriginal, freeze_original
from mibias_cli.training.run_log import RunLog
from mibias_cli.training.settings import OptimSettings
from mibias_cli.training.step import TASK_WEIGHT, task_loss

__all__ = [
    "EvaluatedTarget",
    "TrainedRun",
    "evaluate",
    "export",
    "load_run_recipe",
    "make_stage",
    "train",
    "train_stages",
]


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run: its folder, what its report says, and its export."""

    folder: Path
    report: Report
    export: Path


def train(
    recipe: Recipe,
    *,
    out: Path | None,
    resume: Path | None,
    overwrite: bool,
    offline: bool,
    progress: Progress,
    gates: GateRules = NO_GATES,
    n_examples: int = 0,
) -> TrainedRun:
    """Train a recipe to the end: original stage, debiasing, audit, export.

    A run that is resumed writes what it lacks: a report or an export that is there stays as it is.

    Args:
        recipe: What to do. When resuming, the run's own.
        out: The run's folder; None: runs/<name>/<time>.
        resume: A run to continue from its last checkpoint.
        overwrite: Whether an existing run in `out` may be replaced.
        offline: Whether to refuse downloads.
        progress: Told of what happens.
        gates: Gates beside the recipe's own.
        n_examples: Example images per (y, c) cell in the report's page.
    """
    rules = all_rules(recipe, gates)
    if recipe.debias.erase != "none":
        require_leace()
    run = resume or out or build.run_folder(recipe, timestamp())
    checkpoint = None
    if resume is None:
        claim_run_folder(run, overwrite=overwrite)
        (run / RECIPE_FILE).write_text(dump_recipe(recipe), encoding="utf-8")
    elif last_path(run).exists():
        checkpoint = load_checkpoint(last_path(run))
    progress.stage("loading data and backbone")
    fabric = make_fabric(recipe.training.device, recipe.training.precision, deterministic=recipe.training.deterministic)
    assembly = build.assemble(recipe, offline=offline)
    _tell(assembly, progress)
    if checkpoint is None:
        write_environment(run, device=str(fabric.device), precision=str(fabric.strategy.precision.precision))
    if recipe.discover is not None and not (run / DISCOVERED_FILE).is_file():
        discover(recipe, assembly, run, fabric, progress)
    assembly = with_discovered(recipe, assembly, run)
    train_stages(recipe, assembly, run, fabric, checkpoint, progress)
    if recipe.debias.erase != "none" and not erased_path(run).is_file():
        _erase(recipe, assembly, run, fabric, progress)
    report = _written_report(run / "report")
    if report is None:
        # what is there without leakage.json is what a kill left of a report
        job = AuditJob(
            fabric=fabric, folder=run / "report", rules=rules, progress=progress, n_examples=n_examples, overwrite=True
        )
        report = audit_run_folder(recipe, assembly, run, job).report
    if not (run / "export" / INFO).is_file():
        _export_run(recipe, assembly, run, run / "export", recipe.export.formats, progress)
    return TrainedRun(folder=run, report=with_gates(report, rules), export=run / "export")


def _written_report(folder: Path) -> Report | None:
    path = folder / FILES["json"]
    return read_report(path) if path.is_file() else None


def _tell(assembly: build.Assembly, progress: Progress) -> None:
    for note in assembly.data.notes:
        progress.note(note)
    if assembly.data.target.kind == "none":
        progress.note(
            "no target: features are to stay close to the original's, and samples are not balanced (debias.balance is "
            "none: its weights are made from a target)"
        )
    report = assembly.backbone.load_report
    if report is not None:
        for note in report.notes():
            progress.note(note)
        for warning in report.warnings():
            progress.warn(warning)


def train_stages(
    recipe: Recipe,
    assembly: build.Assembly,
    run: Path,
    fabric: Any,
    checkpoint: StageState | None,
    progress: Progress,
) -> None:
    """The original and the debiasing stage of a recipe, from the start or from a checkpoint, into a run's folder."""
    model = build.build_model(recipe, assembly)
    initial = {k: v.clone() for k, v in model.state_dict().items()}
    stage = None if checkpoint is None else checkpoint["stage"]
    keep = 0 if checkpoint is None else checkpoint["metrics_bytes"]
    with RunLog(run, keep_bytes=keep) as run_log:
        if recipe.original is None:
            save_weights(original_path(run), model)
        elif stage in (None, "original"):
            progress.stage("training the original extractor on the task alone")
            trainer = make_stage(recipe, assembly, run, fabric, model, run_log, progress, name="original")
            trainer.fit(checkpoint)
        else:
            load_weights(original_path(run), model)
        if recipe.original is not None and recipe.original.start_debiasing_from == "initial":
            model.load_state_dict(initial)
        progress.stage("debiasing" if recipe.debias.estimator != "none" else "training")
        trainer = make_stage(recipe, assembly, run, fabric, model, run_log, progress, name="debias")
        trainer.fit(checkpoint if stage == "debias" else None)
        leakage = validation_leakage(model, recipe, assembly.data, fabric)
        if leakage is not None:
            run_log.record(CHOICE, step=trainer.n_steps, **{LEAKAGE_GIVEN_TARGET: leakage})


def _erase(recipe: Recipe, assembly: build.Assembly, run: Path, fabric: Any, progress: Progress) -> None:
    """The best weights with an eraser behind them and a head fitted on what it leaves, in a file of their own."""
    progress.stage("erasing linearly (LEACE)")
    model = load_run_model(recipe, assembly, best_path(run))
    weighted = recipe.debias.estimator != "none" and balance_of(recipe, assembly.data) in ("task", "both")
    done = erase_linearly(
        model,
        assembly.data,
        debiased_attributes(recipe, assembly.data),
        loss=partial(task_loss, kind=assembly.data.target.kind),
        weight=build_weights(recipe, assembly.data)["train"][TASK_WEIGHT] if weighted else None,
        batch_size=recipe.training.batch_size,
        num_workers=recipe.training.num_workers,
        device=fabric.device,
        seed=derive_seed(recipe.seed, "erase"),
    )
    told = progress.note if done.n_erased < done.n_features else progress.warn
    text = f"LEACE erased {done.n_erased} of {done.n_features} directions"
    if done.loss_before is not None:
        text += f"; task loss on training features {done.loss_before:.4f} with the trained head"
        text += f", {done.loss_after:.4f} with the head fitted anew"
    told(text)
    save_weights(erased_path(run), model)


def make_stage(
    recipe: Recipe,
    assembly: build.Assembly,
    run: Path,
    fabric: Any,
    model: TaskModel,
    run_log: RunLog,
    progress: Progress,
    *,
    name: str,
) -> StageTrainer:
    """The trainer of one stage of a recipe, `original` or `debias`, around a model."""
    plain = name == "original"
    settings = build.optim_settings(recipe.training)
    if plain and recipe.original is not None:
        rate, epochs = recipe.original.learning_rate, recipe.original.epochs
        settings = build.optim_settings(recipe.training, epochs=epochs, rate=rate)
    if not plain and recipe.debias.budget_bits is not None:
        settings = _for_a_budget(settings, recipe.training)
    section = recipe.backbone
    groups = parameter_groups(
        model.extractor,
        train=section.train,
        learning_rate=settings.learning_rate,
        layer_decay=section.layer_decay,
        weight_decay=settings.weight_decay,
        batchnorm_frozen=section.freeze_batchnorm,
    )
    head = {"params": list(model.head.parameters()), "lr": settings.learning_rate}
    if head["params"]:
        groups.append(head | {"weight_decay": settings.weight_decay})
    model.to(fabric.device)
    if recipe.training.channels_last:
        model.to(memory_format=torch.channels_last)
    original = _original(recipe, assembly, model, fabric) if assembly.data.target.kind == "none" else None
    width = z_width(model, assembly.data.input_shape)
    debiaser = None if plain else build_debiaser(recipe, assembly.data, width, fabric.device)
    if debiaser is None:
        weights: dict[str, dict[str, Any]] = {"train": {}, "validation": bias_log_probabilities(recipe, assembly.data)}
    else:
        weights = build_weights(recipe, assembly.data, run_log.line)

    if debiaser is not None:
        for warning in forewarnings(recipe, assembly.data, weights["train"]):
            progress.warn(warning)
            run_log.line(f"warning: {warning}")
    recycler, every = None, recipe.debias.recycle_every_steps
    if debiaser is not None and every is not None:
        recycler = Recycler(model.extractor.backbone, recipe.representation.layers, every_steps=every)
    return StageTrainer(
        stage=name,
        fabric=fabric,
        model=model,
        groups=groups,
        debiaser=debiaser,
        data=assembly.data,
        weights=weights,
        settings=settings,
        run=run,
        out_path=original_path(run) if plain else best_path(run),
        run_log=run_log,
        progress=progress,
        seed=recipe.seed,
        recycler=recycler,
        original=original,
    )


def _for_a_budget(settings: OptimSettings, section: TrainingSection) -> OptimSettings:
    """What the recipe leaves open, so that a budget is kept: features that can follow λ to the end, on average."""
    if section.final_share is None:  # at a rate of 0 they stay as they are, whatever λ says
        settings = replace(settings, final_share=0.2)
    if section.average_decay is None:  # leakage of one step's weights differs from that of the next by half
        settings = replace(settings, average_decay=0.99)
    return settings


def _original(recipe: Recipe, assembly: build.Assembly, model: TaskModel, fabric: Any) -> FrozenOriginal:
    """The extractor as it was loaded, frozen: without a target, the features are to stay close to its own."""
    return freeze_original(
        model,
        assembly.data.train,
        batch_size=recipe.training.batch_size,
        num_workers=recipe.training.num_workers,
        device=fabric.device,
        precision=recipe.training.precision,
    )


def export(run: Path, *, out: Path | None, formats: Sequence[str], offline: bool, progress: Progress) -> Path:
    """Export a run's debiased weights and report to a folder, reloaded and compared before it is called done.

    Args:
        run: A run's folder.
        out: Where to; None: a new folder in the run.
        formats: safetensors, onnx; empty: what the run's recipe says.
        offline: Whether to refuse downloads.
        progress: Told of what happens.
    """
    recipe = load_run_recipe(run)
    assembly = build.assemble(recipe, offline=offline)
    folder = out or fresh_folder(run, "export")
    return _export_run(recipe, assembly, run, folder, formats or recipe.export.formats, progress)


def _export_run(
    recipe: Recipe,
    assembly: build.Assembly,
    run: Path,
    folder: Path,
    formats: Sequence[str],
    progress: Progress,
) -> Path:
    import numpy as np

    progress.stage("exporting")
    model = load_run_model(recipe, assembly, chosen_path(run)).eval()
    report_file = run / "report" / "leakage.json"
    report = read_report(report_file) if report_file.is_file() else None
    audit, target = assembly.data.audit, assembly.data.target
    exported = write_export(
        folder,
        backbone=assembly.backbone,
        extractor=model.extractor,
        head=None if target.kind == "none" else model.head,
        class_names=target.class_names if target.kind == "classes" else target.columns,
        representation=recipe.representation.model_dump(mode="json"),
        report=report,
        report_folder=run / "report" if report is not None else None,
        sample_inputs=audit.reader.read(audit.rows[np.arange(min(8, len(audit)))], None),
        formats=tuple(formats),
        base_weights=recipe.backbone.weights,
        erased=debiased_attributes(recipe, assembly.data),
    )
    return exported.folder
