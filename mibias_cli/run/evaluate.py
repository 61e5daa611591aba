"""Audits of what is there already: a run, an exported folder, a timm model, or stored embeddings as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.shards.feature_parts import some_part
from mibias_cli.errors import MibiasError, RunError
from mibias_cli.export.heads_file import INFO, read_info
from mibias_cli.export.load import load_export
from mibias_cli.gates.rules import GateRules, all_rules, with_gates
from mibias_cli.progress import Progress, Silent
from mibias_cli.recipe.begun import begun_recipe, load_run_recipe, read_beginning
from mibias_cli.recipe.load import load_recipe, public_weights
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.data import EmbeddingsData
from mibias_cli.report.document import Report
from mibias_cli.report.illustrations import Illustrations, read_metrics
from mibias_cli.report.read import FILES
from mibias_cli.report.write import refuse_report, write_report
from mibias_cli.run.assemble import Parts, assemble, load_run_model
from mibias_cli.run.audit import AuditTarget, audit_target, check_audit
from mibias_cli.run.before.exported import check_inputs, check_run_on, head_warnings, preprocessing_warnings
from mibias_cli.run.before.files import check_files, tell
from mibias_cli.run.discover import with_discovered
from mibias_cli.run.examples import example_cells
from mibias_cli.run.resume.data_parts import data_parts
from mibias_cli.run.resume.same_run import data_faults
from mibias_cli.run.unfinished import UNFINISHED, told_unfinished
from mibias_cli.run_folder import (
    RECIPE_FILE,
    RunFolder,
    claimed_folder,
    fresh_folder,
    is_run,
    refuse_devices,
    timestamp,
)
from mibias_cli.seeds import derive_seed
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.model import TaskModel

__all__ = ["NO_GATES", "EvaluatedTarget", "chosen_path", "evaluate", "run_target", "with_backbone", "write_audit"]

NO_GATES = GateRules()


@dataclass(frozen=True, kw_only=True)
class EvaluatedTarget:
    """An audit: where its report is, and what it says."""

    folder: Path
    report: Report


def chosen_path(run: RunFolder, *, unfinished: bool = False) -> Path:
    """The weights that a run's audit and export speak of: the best ones, erased where its recipe says so."""
    # of the run's own recipe: an audit may be given another one, but the weights are what the run made
    return run.best if begun_recipe(run).debias.erase == "none" or unfinished else run.erased


def evaluate(
    target: Path | str,
    *,
    recipe: Recipe | Path | str | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    gates: GateRules = NO_GATES,
    n_examples: int = 0,
    unfinished: bool = False,
    jobs: int | None = 1,
    overwrite: bool = False,
) -> EvaluatedTarget:
    """Audit a run, an exported folder, a timm name, or stored embeddings as they are.

    Args:
        target: A run's folder, an exported folder, a timm model name, or a file of embeddings, or a folder of shards
            of these.
        recipe: Names the data, or the file that does; for a run, replaces its own. Needed for all but runs.
        out: Folder of the report; None: a new folder in the run, or below runs/evaluate.
        offline: Whether to refuse downloads.
        progress: Told of what happens; None: nobody is.
        gates: Gates beside the recipe's own.
        n_examples: Example images per (y, c) cell in the page.
        unfinished: Whether to audit a run that has not ended; the report says so.
        jobs: Processes that fit probes; None: one for each core. The figures do not depend on it.
        overwrite: Whether a report that is in `out` may be replaced.

    Raises:
        MibiasError: Whatever the user can mend; each kind is a subclass.
    """
    path, progress = Path(target), progress or Silent()
    refuse_devices(path)
    if isinstance(recipe, Path | str):
        recipe = load_recipe(recipe, begun=Path(recipe).name == RECIPE_FILE)
    if recipe is None and is_run(path):
        recipe = load_run_recipe(path)
    if recipe is None:
        raise MibiasError(f"{target}: is not a run, so the data must be named by a recipe: pass --recipe FILE")
    lacking = None
    if is_run(path):
        own, wanted = load_run_recipe(path), None if out is None else Path(out)
        lacking = told_unfinished(RunFolder(path), own, allowed=unfinished, out=wanted, progress=progress)
    folder = _new_folder(path, lacking) if out is None else Path(out)
    refuse_report(folder, overwrite=overwrite)
    there = folder.exists()
    rules = all_rules(recipe, gates)
    # an audit computes in single precision, whatever the model was trained in
    fabric = make_fabric(recipe.training.device, "32", deterministic=recipe.training.deterministic)
    parts_of = partial(assemble, offline=offline, fabric=fabric)
    progress.stage("loading data and backbone")

    # what the target is decides which extractor is audited, and on which of the recipe's data
    if is_run(path):
        run = RunFolder(path)
        parts, warnings = _parts_of_run(run, parts_of(recipe))
        found = replace(run_target(parts, run, unfinished=lacking), warnings=warnings)
    elif (path / INFO).is_file() or (path / "config.json").is_file():
        parts = parts_of(recipe)
        found = _export_target(path, parts)
    elif path.is_dir() and some_part(path) is None:
        raise RunError(f"{target}: is neither a run (no {RECIPE_FILE}) nor an exported model (no config.json)")
    elif path.exists():
        parts = parts_of(_with_embeddings(recipe, path))
        # a model that hands its inputs through: there is no architecture from which to draw a random control
        model = TaskModel(Extractor(nn.Identity(), parts.data.input_shape[0]), nn.Identity(), ["features"])
        found = AuditTarget(name="stored embeddings", weights=path.name, after=model)
    else:
        parts = parts_of(with_backbone(recipe, str(target)))
        found = _named_target(parts)
    for warning in found.warnings:
        progress.warn(warning)
    # of an export and of stored embeddings no weights were matched
    tell(parts, progress, weights=is_run(path) or not path.exists())
    check_audit(parts)
    check_files(parts, everything=False)
    return write_audit(
        found, parts, folder, rules=rules, progress=progress, n_examples=n_examples, jobs=jobs, overwrite=overwrite,
        shared=there,
    )  # fmt: skip


def _new_folder(path: Path, lacking: str | None) -> Path:
    """Where the report of a target goes if nobody says where; `lacking` is what a run has not done yet."""
    if is_run(path):
        return fresh_folder(path, "report" if lacking is None else f"report-{UNFINISHED}")
    return fresh_folder(Path("runs") / "evaluate", f"{path.name}-{timestamp()}")


def _parts_of_run(run: RunFolder, parts: Parts) -> tuple[Parts, tuple[str, ...]]:
    """The parts with what the run discovered, and warnings of data that are not the run's."""
    changed = _changed_since(run, parts)
    parts = with_discovered(parts, run)
    return parts, (*_data_warnings(run, parts), *changed)


def _data_warnings(run: RunFolder, parts: Parts) -> tuple[str, ...]:
    """Other data than the run's own must be like them: its export knows how these were read."""
    if (run.export / INFO).is_file() and parts.recipe.data != load_run_recipe(run.path).data:
        return tuple(check_run_on(read_info(run.export), parts))
    return ()


def _changed_since(run: RunFolder, parts: Parts) -> tuple[str, ...]:
    """A warning where a run's own data are not as they were: where splits are drawn, trained rows may be audited."""
    begun, own, new = read_beginning(run), load_run_recipe(run.path).data, parts.recipe.data
    where = [[getattr(data, key, None) for key in ("source", "path", "root", "manifest")] for data in (own, new)]
    if begun is None or where[0] != where[1]:
        return ()
    faults = [fault.removeprefix("data: ") for fault in data_faults(begun, data_parts(parts.data))]
    # other columns and values of the same rows are what an audit may ask for
    faults = [fault for fault in faults if ": not there " not in fault]
    if new != own:
        faults = [fault for fault in faults if fault.startswith("train rows")]
    if not faults:
        return ()
    return (
        f"data: not what this run was trained on: {'; '.join(faults)}. Rows that trained it may be audited: audit the "
        "data as they were, by the run's own seed and splits, or a table of new rows",
    )


def run_target(parts: Parts, run: RunFolder, *, unfinished: str | None = None) -> AuditTarget:
    """A trained run beside its original, and beside the loaded weights where the original was trained from some."""
    recipe = parts.recipe
    trained_original = recipe.original is not None
    return AuditTarget(
        name=recipe.backbone.name,
        weights=public_weights(recipe.backbone.weights),
        before=load_run_model(parts, run.original),
        after=load_run_model(parts, chosen_path(run, unfinished=unfinished is not None)),
        # a new model has the weights as they were loaded; without any it is noise, which the random control shows
        loaded=parts.new_model() if trained_original and recipe.backbone.weights != "none" else None,
        # an untrained bottleneck is nobody's original: before it stand the backbone's own features
        untrained_is_backbone=recipe.representation.bottleneck is not None,
        before_has_head=trained_original,
        after_has_head=True,
        backbone=parts.backbone,
        run=run,
        unfinished=unfinished,
    )


def _export_target(folder: Path, parts: Parts) -> AuditTarget:
    loaded = load_export(folder)
    of_head = head_warnings(loaded.info, parts)
    head = None if of_head else loaded.head
    return AuditTarget(
        name=loaded.backbone.name,
        weights=folder.name,
        after=TaskModel(loaded.extractor, head or nn.Identity(), ["features"]),
        after_has_head=head is not None,
        backbone=loaded.backbone,
        unfinished=loaded.info.unfinished,
        warnings=(
            *check_inputs(loaded.info, parts),
            *preprocessing_warnings(loaded.backbone, parts),
            *of_head,
        ),
    )


def _named_target(parts: Parts) -> AuditTarget:
    """The recipe's backbone alone: what the recipe puts behind it or taps in it belongs to another model."""
    recipe = parts.recipe
    plain = recipe.representation.model_copy(update={"bottleneck": None, "layers": ["features"]})
    model = replace(parts, recipe=recipe.model_copy(update={"representation": plain})).new_model()
    section = recipe.backbone
    return AuditTarget(name=section.name, weights=public_weights(section.weights), after=model, backbone=parts.backbone)


def _with_embeddings(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with its embeddings read from another file."""
    if not isinstance(recipe.data, EmbeddingsData):
        raise MibiasError(
            f"{path}: is audited as stored embeddings, but the recipe's data.source is {recipe.data.source}; "
            "set it to embeddings, or name a model or a run"
        )
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": path})})


def with_backbone(recipe: Recipe, name: str) -> Recipe:
    """The recipe with another backbone; options are of the one that it names."""
    section = recipe.backbone
    options = section.options if section.name == name else {}
    return recipe.model_copy(update={"backbone": section.model_copy(update={"name": name, "options": options})})


def write_audit(
    target: AuditTarget,
    parts: Parts,
    folder: Path,
    *,
    rules: GateRules,
    progress: Progress,
    n_examples: int,
    overwrite: bool = False,
    shared: bool = True,
    jobs: int | None = 1,
) -> EvaluatedTarget:
    """Audit, gate, and write the report into a folder, which is to be made for it alone where it is not shared.

    Where another command has written its report there meanwhile, this one goes to a folder beside it.
    """
    report = with_gates(audit_target(target, parts, progress, jobs=jobs), rules)
    # images are shown by the channel that leaks most, of which the report speaks
    headline = {name: attribute.after.marginal.headline_channel for name, attribute in report.attributes.items()}
    config = {} if target.backbone is None else target.backbone.data_config
    seed = derive_seed(parts.recipe.seed, "examples")
    least = parts.recipe.evaluation.suppress_below
    examples = example_cells(parts.data, headline, n=n_examples, data_config=config, seed=seed, least=least)
    metrics = () if target.run is None else read_metrics(target.run.metrics)
    illustrations = Illustrations(metrics=metrics, examples=examples)
    own = folder if overwrite else _own_folder(folder, shared=shared)
    if own != folder:
        progress.warn(f"{folder}: another command has made it meanwhile; this report is in {own}")
    write_report(own, report, illustrations=illustrations, overwrite=overwrite)
    return EvaluatedTarget(folder=own, report=report)


def _own_folder(folder: Path, *, shared: bool) -> Path:
    try:
        return claimed_folder(folder, shared=shared and not any((folder / name).exists() for name in FILES.values()))
    except OSError:  # whoever writes there says why
        return folder
