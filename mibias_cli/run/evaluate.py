"""Audits of what there is: a run, an exported folder, a timm model, or stored embeddings as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mibias_cli.data.batch import BiasedData
from mibias_cli.errors import MibiasError, RunError
from mibias_cli.export.load import load_export
from mibias_cli.gates.recipe_rules import all_rules, with_gates
from mibias_cli.gates.rules import GateRules
from mibias_cli.methods.leace import erased_path
from mibias_cli.methods.linear_eraser import LinearEraser
from mibias_cli.progress import Progress
from mibias_cli.recipe.load import dump_recipe, load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.document import Report
from mibias_cli.report.illustrations import Illustrations, read_metrics
from mibias_cli.report.write import write_report
from mibias_cli.run import build
from mibias_cli.run.audit import AuditTarget, audit_target
from mibias_cli.run.discover import with_discovered
from mibias_cli.run.examples import example_cells
from mibias_cli.run_folder import RECIPE_FILE, fresh_folder, is_run, timestamp
from mibias_cli.seeds import derive_seed
from mibias_cli.training.checkpoint import load_weights
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.loop import best_path, original_path
from mibias_cli.training.model import TaskModel

__all__ = [
    "NO_GATES",
    "AuditJob",
    "EvaluatedTarget",
    "audit_run_folder",
    "chosen_path",
    "evaluate",
    "load_run_model",
    "load_run_recipe",
]

NO_GATES = GateRules()


@dataclass(frozen=True, kw_only=True)
class EvaluatedTarget:
    """An audit: where its report is, and what it says."""

    folder: Path
    report: Report


@dataclass(frozen=True, kw_only=True)
class AuditJob:
    """How an audit is run, and where its report goes.

    Args:
        fabric: Lightning Fabric, launched.
        folder: Of the report.
        rules: What the report is gated by.
        progress: Told of what happens.
        n_examples: Example images per (y, c) cell in the page.
        overwrite: Whether a report in the folder may be replaced.
    """

    fabric: Any
    folder: Path
    rules: GateRules
    progress: Progress
    n_examples: int = 0
    overwrite: bool = False


def load_run_recipe(run: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The resolved recipe of a run.

    Raises:
        RunError: The folder is not a run.
    """
    if not is_run(run):
        raise RunError(f"{run}: is not a run (it has no {RECIPE_FILE})")
    return load_recipe(run / RECIPE_FILE, overrides)


def load_run_model(recipe: Recipe, assembly: build.Assembly, path: Path) -> TaskModel:
    """A run's model with the weights of one of its files, and with the eraser where that file has one."""
    model = build.build_model(recipe, assembly)
    if path.name == erased_path(path).name:
        model.extractor.eraser = LinearEraser.identity(model.extractor.features_dim)
    load_weights(path, model)
    return model


def chosen_path(run: Path) -> Path:
    """The weights that a run's audit and export speak of: the best ones, erased where its recipe says so."""
    return best_path(run) if load_run_recipe(run).debias.erase == "none" else erased_path(run)


def evaluate(
    target: str,
    *,
    recipe: Recipe | None,
    out: Path | None,
    offline: bool,
    progress: Progress,
    gates: GateRules = NO_GATES,
    n_examples: int = 0,
) -> EvaluatedTarget:
    """Audit a run, an exported folder, a timm name, or stored embeddings as they are.

    Args:
        target: A run's folder, an exported folder, a timm model name, or a file of embeddings.
        recipe: Names the data; for a run, replaces its own. Needed for all but runs.
        out: Folder of the report; None: a new folder in the run, or below runs/evaluate.
        offline: Whether to refuse downloads.
        progress: Told of what happens.
        gates: Gates beside the recipe's own.
        n_examples: Example images per (y, c) cell in the page.
    """
    path = Path(target)
    if recipe is None and is_run(path):
        recipe = load_run_recipe(path)
    if recipe is None:
        raise MibiasError(f"{target}: is not a run, so the data must be named by a recipe: pass --recipe FILE")
    if out is None:
        stem = f"{path.name}-{timestamp()}"
        out = fresh_folder(path, "report") if is_run(path) else fresh_folder(Path("runs") / "evaluate", stem)
    job = AuditJob(
        fabric=make_fabric(recipe.training.device, "32", deterministic=recipe.training.deterministic),
        folder=out,
        rules=all_rules(recipe, gates),
        progress=progress,
        n_examples=n_examples,
    )
    progress.stage("loading data and backbone")
    if is_run(path):
        assembly = with_discovered(recipe, build.assemble(recipe, offline=offline), path)
        return audit_run_folder(recipe, assembly, path, job)
    if (path / "mibias.json").is_file() or (path / "config.json").is_file():
        return _audit_export(path, recipe, offline, job)
    if path.is_dir():
        raise RunError(f"{target}: is neither a run (no {RECIPE_FILE}) nor an exported model (no config.json)")
    if path.is_file():
        return _audit_stored(path, recipe, offline, job)
    return _audit_name(target, recipe, offline, job)


def audit_run_folder(recipe: Recipe, assembly: build.Assembly, run: Path, job: AuditJob) -> EvaluatedTarget:
    """Audit a trained run, beside its original extractor."""
    trained_original = recipe.original is not None
    target = AuditTarget(
        before=load_run_model(recipe, assembly, original_path(run)),
        after=load_run_model(recipe, assembly, chosen_path(run)),
        # an untrained bottleneck or head is nobody's original: before it stand the backbone's own features
        before_is_backbone=not trained_original and recipe.representation.bottleneck is not None,
        before_has_head=trained_original,
        after_has_head=True,
        backbone=assembly.backbone,
    )
    provenance = {"backbone": recipe.backbone.name, "weights": recipe.backbone.weights}
    return _audited(target, recipe, assembly.data, provenance, job, metrics=run / "metrics.jsonl")


def _audit_stored(path: Path, recipe: Recipe, offline: bool, job: AuditJob) -> EvaluatedTarget:
    recipe = build.with_embeddings(recipe, path)
    data = build.build_data(recipe, offline=offline)
    target = AuditTarget(before=None, after=build.build_bare_model(data))
    return _audited(target, recipe, data, {"backbone": "stored embeddings", "weights": path.name}, job)


def _audit_export(path: Path, recipe: Recipe, offline: bool, job: AuditJob) -> EvaluatedTarget:
    loaded = load_export(path)
    data = build.build_data(recipe, offline=offline)
    head = loaded.head if loaded.head is not None else nn.Identity()
    target = AuditTarget(
        before=None,
        after=TaskModel(loaded.extractor, head, ["features"]),
        after_has_head=loaded.head is not None,
        backbone=loaded.backbone,
    )
    return _audited(target, recipe, data, {"backbone": loaded.backbone.name, "weights": path.name}, job)


def _audit_name(name: str, recipe: Recipe, offline: bool, job: AuditJob) -> EvaluatedTarget:
    section = recipe.backbone
    options = section.options if section.name == name else {}
    recipe = recipe.model_copy(update={"backbone": section.model_copy(update={"name": name, "options": options})})
    assembly = build.assemble(recipe, offline=offline)
    plain = recipe.representation.model_copy(update={"bottleneck": None, "layers": ["features"]})
    model = build.build_model(recipe.model_copy(update={"representation": plain}), assembly)
    target = AuditTarget(before=None, after=model, backbone=assembly.backbone)
    return _audited(target, recipe, assembly.data, {"backbone": name, "weights": section.weights}, job)


def _audited(
    target: AuditTarget,
    recipe: Recipe,
    data: BiasedData,
    provenance: dict[str, Any],
    job: AuditJob,
    *,
    metrics: Path | None = None,
) -> EvaluatedTarget:
    """Audit, gate, and write the report."""
    provenance = provenance | {
        "recipe_sha256": hashlib.sha256(dump_recipe(recipe).encode()).hexdigest(),
        "data_sha256": data.fingerprint,
    }
    audited = audit_target(target, recipe, data, job.fabric, provenance, job.progress)
    report = with_gates(audited, job.rules)
    config = {} if target.backbone is None else target.backbone.data_config
    seed = derive_seed(recipe.seed, "examples")
    illustrations = Illustrations(
        metrics=() if metrics is None else read_metrics(metrics),
        examples=example_cells(data, report, n=job.n_examples, data_config=config, seed=seed),
    )
    write_report(job.folder, report, illustrations=illustrations, overwrite=job.overwrite)
    return EvaluatedTarget(folder=job.folder, report=report)
