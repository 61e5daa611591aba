"""train, evaluate and export, each readable on one page: recipe in, folders and findings out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibias_cli import build
from mibias_cli.audit_run import AuditTarget, audit_target
from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.errors import MibiasError, RunError
from mibias_cli.export.export import load_export, write_export
from mibias_cli.export.heads_file import INFO
from mibias_cli.gating import all_rules, with_gates
from mibias_cli.progress import Progress
from mibias_cli.recipe.load import dump_recipe, load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.gates import GateRules
from mibias_cli.report.illustrations import Illustrations, read_metrics
from mibias_cli.report.read import FILES, read_report
from mibias_cli.report.write import write_report
from mibias_cli.run_folder import RECIPE_FILE, claim_run_folder, fresh_folder, is_run, timestamp, write_environment
from mibias_cli.training.checkpoint import load_checkpoint, load_weights, save_weights
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.loop import StageTrainer, best_path, last_path, original_path
from mibias_cli.training.model import TaskModel, z_width
from mibias_cli.training.run_log import RunLog

__all__ = ["EvaluatedTarget", "TrainedRun", "evaluate", "export", "load_run_recipe", "make_stage", "train"]

NO_GATES = GateRules()


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run: its folder, what its report says (the content of leakage.json), and its export."""

    folder: Path
    report: dict[str, Any]
    export: Path


@dataclass(frozen=True, kw_only=True)
class EvaluatedTarget:
    """An audit: where its report is, and what it says (the content of leakage.json)."""

    folder: Path
    report: dict[str, Any]


def load_run_recipe(run: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The resolved recipe of a run.

    Raises:
        RunError: The folder is not a run.
    """
    if not is_run(run):
        raise RunError(f"{run}: is not a run (it has no {RECIPE_FILE})")
    return load_recipe(run / RECIPE_FILE, overrides)


def train(
    recipe: Recipe,
    *,
    out: Path | None,
    resume: Path | None,
    overwrite: bool,
    offline: bool,
    progress: Progress,
    gates: GateRules = NO_GATES,
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
    """
    rules = all_rules(recipe, gates)
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
        write_environment(run, device=str(fabric.device))
    _train_stages(recipe, assembly, run, fabric, checkpoint, progress)
    report = _written_report(run / "report")
    if report is None:
        # what is there without leakage.json is what a kill left of a report
        report = _audit_run(recipe, assembly, run, fabric, run / "report", progress, rules, overwrite=True).report
    if not (run / "export" / INFO).is_file():
        _export_run(recipe, assembly, run, run / "export", recipe.export.formats, progress)
    return TrainedRun(folder=run, report=with_gates(report, rules), export=run / "export")


def _written_report(folder: Path) -> dict[str, Any] | None:
    path = folder / FILES["json"]
    return read_report(path) if path.is_file() else None


def _tell(assembly: build.Assembly, progress: Progress) -> None:
    for note in assembly.data.notes:
        progress.note(note)
    report = assembly.backbone.load_report
    if report is not None:
        for note in report.notes():
            progress.note(note)
        for warning in report.warnings():
            progress.warn(warning)


def _train_stages(
    recipe: Recipe,
    assembly: build.Assembly,
    run: Path,
    fabric: Any,
    checkpoint: dict[str, Any] | None,
    progress: Progress,
) -> None:
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
    section = recipe.backbone
    groups = parameter_groups(
        model.extractor,
        train=section.train,
        learning_rate=settings.learning_rate,
        layer_decay=section.layer_decay,
        weight_decay=settings.weight_decay,
        batchnorm_frozen=section.freeze_batchnorm,
    )
    groups.append(
        {"params": list(model.head.parameters()), "lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    )
    model.to(fabric.device)
    width = z_width(model, assembly.data.input_shape)
    debiaser = None if plain else build.build_debiaser(recipe, assembly.data, width, fabric.device)
    weights = {"train": {}, "validation": {}} if debiaser is None else build.build_weights(recipe, assembly.data)

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
    )


def _run_model(recipe: Recipe, assembly: build.Assembly, path: Path) -> TaskModel:
    model = build.build_model(recipe, assembly)
    load_weights(path, model)
    return model


def _audit_run(
    recipe: Recipe,
    assembly: build.Assembly,
    run: Path,
    fabric: Any,
    folder: Path,
    progress: Progress,
    rules: GateRules,
    *,
    overwrite: bool = False,
) -> EvaluatedTarget:
    original = _run_model(recipe, assembly, original_path(run))
    debiased = _run_model(recipe, assembly, best_path(run))
    trained_original = recipe.original is not None
    target = AuditTarget(
        before=original,
        after=debiased,
        # an untrained bottleneck or head is nobody's original: before it stand the backbone's own features
        before_is_backbone=not trained_original and recipe.representation.bottleneck is not None,
        before_has_head=trained_original,
        after_has_head=True,
        backbone=assembly.backbone,
    )
    provenance = {"backbone": recipe.backbone.name, "weights": recipe.backbone.weights} | _hashes(recipe, assembly)
    audited = audit_target(target, recipe, assembly.data, fabric, provenance, progress)
    report = with_gates(audited.to_dict(), rules)
    illustrations = Illustrations(metrics=read_metrics(run / "metrics.jsonl"))
    write_report(folder, report, illustrations=illustrations, overwrite=overwrite)
    return EvaluatedTarget(folder=folder, report=report)


def _hashes(recipe: Recipe, assembly: build.Assembly) -> dict[str, str]:
    return {
        "recipe_sha256": hashlib.sha256(dump_recipe(recipe).encode()).hexdigest(),
        "data_sha256": assembly.data.fingerprint,
    }


def evaluate(
    target: str,
    *,
    recipe: Recipe | None,
    out: Path | None,
    offline: bool,
    progress: Progress,
    gates: GateRules = NO_GATES,
) -> EvaluatedTarget:
    """Audit a run, an exported folder, a timm name, or stored embeddings as they are.

    Args:
        target: A run's folder, an exported folder, a timm model name, or a file of embeddings.
        recipe: Names the data; for a run, replaces its own. Needed for all but runs.
        out: Folder of the report; None: a new folder in the run, or below runs/evaluate.
        offline: Whether to refuse downloads.
        progress: Told of what happens.
        gates: Gates beside the recipe's own.
    """
    path = Path(target)
    if is_run(path):
        recipe = recipe or load_run_recipe(path)
        rules = all_rules(recipe, gates)
        fabric = make_fabric(recipe.training.device, "32", deterministic=recipe.training.deterministic)
        progress.stage("loading data and backbone")
        assembly = build.assemble(recipe, offline=offline)
        folder = out or fresh_folder(path, "report")
        return _audit_run(recipe, assembly, path, fabric, folder, progress, rules)
    if recipe is None:
        raise MibiasError(f"{target}: is not a run, so the data must be named by a recipe: pass --recipe FILE")
    rules = all_rules(recipe, gates)
    fabric = make_fabric(recipe.training.device, "32", deterministic=recipe.training.deterministic)
    progress.stage("loading data and backbone")
    folder = out or fresh_folder(Path("runs") / "evaluate", f"{path.name}-{timestamp()}")
    if (path / "mibias.json").is_file() or (path / "config.json").is_file():
        return _audit_export(path, recipe, fabric, folder, offline, progress, rules)
    if path.is_dir():
        raise RunError(f"{target}: is neither a run (no {RECIPE_FILE}) nor an exported model (no config.json)")
    if path.is_file():
        return _audit_stored(path, recipe, fabric, folder, offline, progress, rules)
    return _audit_name(target, recipe, fabric, folder, offline, progress, rules)


def _audit_stored(
    path: Path, recipe: Recipe, fabric: Any, folder: Path, offline: bool, progress: Progress, rules: GateRules
) -> EvaluatedTarget:
    recipe = build.with_embeddings(recipe, path)
    data = build.build_data(recipe, offline=offline)
    model = build.build_bare_model(data)
    provenance = {"backbone": "stored embeddings", "weights": path.name, "data_sha256": data.fingerprint}
    target = AuditTarget(before=None, after=model)
    report = with_gates(audit_target(target, recipe, data, fabric, provenance, progress).to_dict(), rules)
    write_report(folder, report)
    return EvaluatedTarget(folder=folder, report=report)


def _audit_export(
    path: Path, recipe: Recipe, fabric: Any, folder: Path, offline: bool, progress: Progress, rules: GateRules
) -> EvaluatedTarget:
    loaded = load_export(path)
    data = build.build_data(recipe, offline=offline)
    model = TaskModel(loaded.extractor, loaded.head, ["features"]) if loaded.head is not None else None
    provenance = {"backbone": loaded.backbone.name, "weights": str(path.name)}
    provenance |= _hashes(recipe, build.Assembly(data=data, backbone=loaded.backbone))
    target = AuditTarget(
        before=None,
        after=model or TaskModel(loaded.extractor, _no_head(), ["features"]),
        after_has_head=model is not None,
        backbone=loaded.backbone,
    )
    report = with_gates(audit_target(target, recipe, data, fabric, provenance, progress).to_dict(), rules)
    write_report(folder, report)
    return EvaluatedTarget(folder=folder, report=report)


def _audit_name(
    name: str, recipe: Recipe, fabric: Any, folder: Path, offline: bool, progress: Progress, rules: GateRules
) -> EvaluatedTarget:
    section = recipe.backbone
    options = section.options if section.name == name else {}
    recipe = recipe.model_copy(update={"backbone": section.model_copy(update={"name": name, "options": options})})
    assembly = build.assemble(recipe, offline=offline)
    plain = recipe.representation.model_copy(update={"bottleneck": None, "layers": ["features"]})
    model = build.build_model(recipe.model_copy(update={"representation": plain}), assembly)
    provenance = {"backbone": name, "weights": section.weights} | _hashes(recipe, assembly)
    target = AuditTarget(before=None, after=model, backbone=assembly.backbone)
    report = with_gates(audit_target(target, recipe, assembly.data, fabric, provenance, progress).to_dict(), rules)
    write_report(folder, report)
    return EvaluatedTarget(folder=folder, report=report)


def _no_head() -> Any:
    from torch import nn

    return nn.Identity()


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
    model = _run_model(recipe, assembly, best_path(run)).eval()
    report_file = run / "report" / "leakage.json"
    report = json.loads(report_file.read_text(encoding="utf-8")) if report_file.is_file() else None
    audit = assembly.data.audit
    exported = write_export(
        folder,
        backbone=assembly.backbone,
        extractor=model.extractor,
        head=model.head,
        class_names=assembly.data.class_names,
        representation=recipe.representation.model_dump(mode="json"),
        report=report,
        report_folder=run / "report" if report is not None else None,
        sample_inputs=audit.reader.read(audit.rows[np.arange(min(8, len(audit)))], None),
        formats=tuple(formats),
        base_weights=recipe.backbone.weights,
    )
    return exported.folder
