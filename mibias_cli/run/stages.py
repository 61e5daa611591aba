"""The stages of a run: plain training of the original, debiasing, and erasing, each from its parts into its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from mibias_cli.backbone.mix import StatisticsMixer
from mibias_cli.backbone.trainable import bears_channels_last, checkpoint_gradients, synchronise_batchnorm
from mibias_cli.data.batch import TASK_OFFSET
from mibias_cli.errors import RunError
from mibias_cli.methods.erasers.erase import erase_features
from mibias_cli.methods.method import Method
from mibias_cli.output.whole_files import write_atomically
from mibias_cli.progress import Progress
from mibias_cli.recipe.load import dump_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.run.assemble import Parts, load_original, load_run_model
from mibias_cli.run.audit import validation_leakage
from mibias_cli.run.build import method_groups, optim_settings, optimizer_groups
from mibias_cli.run.debiaser import build_debiaser
from mibias_cli.run.heads.fitted import N_STEPS, finish_heads, start_heads
from mibias_cli.run.methods.build import build_method
from mibias_cli.run.resume.same_run import changed_settings, check_same, write_beginning
from mibias_cli.run.several import check_ranks
from mibias_cli.run.weights import forewarnings
from mibias_cli.run_folder import (
    CHOICE,
    LEAKAGE_GIVEN_TARGET,
    RunFolder,
    changed_environment,
    claim_run_folder,
    clean_run_folder,
)
from mibias_cli.seeds import derive_seed
from mibias_cli.training.checkpoint import StageState, load_checkpoint, load_weights, save_weights
from mibias_cli.training.control.recycle import Recycler
from mibias_cli.training.debiaser import Debiaser, StepMetrics
from mibias_cli.training.loop import StageTrainer
from mibias_cli.training.model import TaskModel, z_width
from mibias_cli.training.original import freeze_original
from mibias_cli.training.run_log import NoLog, RunLog, check_metrics
from mibias_cli.training.settings import OptimSettings
from mibias_cli.training.step import FIRST_UNTIL, SAMPLE_WEIGHT, TASK_WEIGHT, task_loss
from mibias_cli.training.trackers.tracker import Tracker

__all__ = [
    "Run", "StageName", "erase", "fit_debiased", "fit_original", "make_stage", "stage_debiaser", "stage_settings",
]  # fmt: skip

StageName = Literal["original", "debias"]
Weights = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is going on.

    Args:
        checkpoint: The training state that it continues from; None: from the start.
        remarks: What differs from how it was begun, for its log.
    """

    folder: RunFolder
    progress: Progress
    checkpoint: StageState | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, parts: Parts, folder: RunFolder, *, new: bool, overwrite: bool, progress: Progress) -> Run:
        """A new run's folder with its recipe in it, or the folder of a run to resume with its last checkpoint.

        On several ranks the first one looks and writes; the others wait, and read the checkpoint.

        Raises:
            RunError: The folder may not be written, or what is to be resumed is not the run that was begun.
        """
        if not parts.ranks.is_first:
            parts.ranks.wait()
            resumes = not new and folder.last.exists()
            return cls(folder=folder, progress=progress, checkpoint=load_checkpoint(folder.last) if resumes else None)
        run = cls._opened(parts, folder, new=new, overwrite=overwrite, progress=progress)
        parts.ranks.wait()
        return run

    @classmethod
    def _opened(cls, parts: Parts, folder: RunFolder, *, new: bool, overwrite: bool, progress: Progress) -> Run:
        if new:
            claim_run_folder(folder.path, overwrite=overwrite)
            _write_start(parts, folder)
            return cls(folder=folder, progress=progress)
        # a run that was stopped before its first checkpoint starts anew in its own folder; one that was audited was not
        if folder.leakage.is_file() and not folder.last.exists():
            raise RunError(
                f"{folder.last}: missing, though the run was audited: trained again, its weights might not be those of "
                "its report; put it back, or train anew with another --out"
            )
        checkpoint = load_checkpoint(folder.last) if folder.last.exists() else None
        if checkpoint is not None:
            check_metrics(folder.path, checkpoint["metrics_bytes"])
        changed = changed_settings(folder, parts.recipe)
        check_ranks(folder, parts)
        remarks = [f"resumed with {text}" for text in changed]
        if said := check_same(folder, parts):
            remarks.append(said)
        precision = str(parts.fabric.strategy.precision.precision)
        if moved := changed_environment(folder.path, device=str(parts.fabric.device), precision=precision):
            remarks.append(f"resumed in another environment, where figures may differ slightly: {', '.join(moved)}")
        for text in remarks:
            progress.note(text)
        # all is well: only now anything is written
        clean_run_folder(folder.path)
        if changed or not folder.start.is_file():
            _write_start(parts, folder)
        return cls(folder=folder, progress=progress, checkpoint=checkpoint, remarks=tuple(remarks))

    @property
    def stage(self) -> str | None:
        """The stage that the checkpoint was written in."""
        return None if self.checkpoint is None else self.checkpoint["stage"]

    def log(self, *, written: bool = True, trackers: Sequence[Tracker] = ()) -> RunLog:
        """The run's log; on resume metrics.jsonl is cut back to what the checkpoint knows of.

        `written` is false on every rank but the first.
        """
        if not written:
            return NoLog()
        keep = 0 if self.checkpoint is None else self.checkpoint["metrics_bytes"]
        log = RunLog(self.folder.path, keep_bytes=keep, trackers=trackers)
        for text in self.remarks:
            log.line(text)
        return log


def _write_start(parts: Parts, folder: RunFolder) -> None:
    """The recipe first: a folder that has it is a run, and can be resumed or replaced."""
    write_atomically(folder.recipe, dump_recipe(parts.recipe))
    write_beginning(folder, parts)


def fit_original(parts: Parts, run: Run, log: RunLog) -> TaskModel:
    """The model that `before` speaks of, in original.safetensors: trained on the task alone, or as it was loaded.

    Trained on all rows, those to be forgotten among them: it is what is to forget them.
    """
    model = parts.first_model()
    if parts.recipe.original is None:
        if parts.ranks.is_first:
            save_weights(run.folder.original, model)
    elif parts.recipe.original.weights is not None and run.stage is None:
        model = load_original(parts)
        if parts.ranks.is_first:
            save_weights(run.folder.original, model)
    elif run.stage in (None, "original"):
        run.progress.stage("training the original extractor on the task alone")
        if run.checkpoint is None:
            start_heads(model, parts, {}, run.progress)
        make_stage(parts, run, log, model, name="original").fit(run.checkpoint)
    else:
        # the checkpoint is of debiasing: this stage was finished before
        load_weights(run.folder.original, model)
    return model


def fit_debiased(parts: Parts, run: Run, log: RunLog, *, start: TaskModel) -> TaskModel:
    """Debias a model in place, into best.safetensors; without an estimator this is plain training.

    At its end the log gets the figure by which runs are compared: leakage on validation rows, beyond the target.
    """
    recipe, model = parts.recipe, start
    afresh, retained = _starts_afresh(recipe), parts.retained
    # from the same weights as the original, not from what it learnt: a fresh model of the same seed has them
    if afresh and (recipe.original is not None or retained is not parts):
        model.load_state_dict(retained.first_model().state_dict())
    if afresh and run.stage != "debias":
        start_heads(model, retained, {} if parts.debias.estimator == "none" else parts.weights.train, run.progress)
    method = build_method(parts, model, run.progress)
    if method is not None:
        if run.stage != "debias":
            _tell(method.prepare(), run, log)
        parts.ranks.copy_first(method)
    run.progress.stage("debiasing" if parts.debias.estimator != "none" else "training")
    trainer = make_stage(parts, run, log, model, name="debias", method=method)
    trainer.fit(run.checkpoint if run.stage == "debias" else None)
    if parts.head_last is not None:
        _finish(parts, run, log, model, trainer)
    elif method is not None and (done := method.finish()) is not None:
        _tell(done, run, log)
        if parts.ranks.is_first:
            save_weights(run.folder.best, model)
    # of the weights that were kept, which `fit` leaves in the model
    leakage = validation_leakage(model, parts) if parts.ranks.is_first else None
    if leakage is not None:
        log.record(CHOICE, step=trainer.n_steps, **{LEAKAGE_GIVEN_TARGET: leakage})
    return model


def _starts_afresh(recipe: Recipe) -> bool:
    """Whether debiasing, or a method, starts from the weights before the original's training."""
    own = None if recipe.method == MI else METHODS[recipe.method].starts_from
    return recipe.original is None or (own or recipe.original.start_debiasing_from) == "initial"


def _tell(text: str | None, run: Run, log: RunLog) -> None:
    if text is not None:
        run.progress.note(text)
        log.line(text)


def _finish(parts: Parts, run: Run, log: RunLog, model: TaskModel, trainer: StageTrainer) -> None:
    """The last fit of bottleneck and head, into best.safetensors; logged as further steps of the stage.

    Whoever resumes a run that was killed meanwhile comes out at the same heads: they depend on the backbone alone.
    """
    make = partial(stage_debiaser, parts, model, last_fit=True)
    finish_heads(model, parts, make, _LastFitLog(run=run, log=log, trainer=trainer), run.progress)
    if parts.ranks.is_first:
        save_weights(run.folder.best, model)


@dataclass(frozen=True, kw_only=True)
class _LastFitLog:
    """Logs the last fit as steps of debiasing that follow the stage's own."""

    run: Run
    log: RunLog
    trainer: StageTrainer

    def say(self, text: str) -> None:
        _tell(text, self.run, self.log)

    def record(self, step: int, metrics: StepMetrics) -> None:
        trainer = self.trainer
        at, epoch = trainer.n_steps + step + 1, trainer.settings.epochs
        self.log.record("train", step=at, stage=trainer.stage, epoch=epoch, **metrics)

    def look(self, debiaser: Debiaser | None, step: int) -> None:
        # without a penalty no critic was fitted
        penalised = debiaser is not None and debiaser.settings.weight > 0
        at, ended = self.trainer.n_steps + step, step == N_STEPS - 1
        self.trainer.look(debiaser if penalised else None, at, ended=ended)


def erase(parts: Parts, run: Run) -> None:
    """The best weights with an eraser behind them and a head fitted on what it leaves, in a file of their own."""
    # what is fitted on rows to forget would know them again
    parts, model = parts.retained, load_run_model(parts, run.folder.best)
    recipe = parts.recipe
    by = recipe.debias.erase
    assert by != "none", "called where the recipe erases"
    run.progress.stage(f"erasing ({by.upper()})")
    # the head is fitted anew by the loss that it was trained by: only debiasing weighs the task or adds to its scores
    given = {} if parts.debias.estimator == "none" else parts.weights.train
    weighted = parts.balance in ("task", "both")
    done = erase_features(
        model,
        parts.data,
        parts.debiased,
        loss=partial(task_loss, kind=parts.data.target.kind),
        weight=given.get(TASK_WEIGHT) if weighted else None,
        offset=given.get(TASK_OFFSET),
        seed=derive_seed(recipe.seed, "erase"),
        by=by,
        **parts.reading,
    )
    # where every direction is gone, the features tell nothing at all
    told = run.progress.note if done.n_erased < done.n_features else run.progress.warn
    text = f"{by.upper()} erased {done.n_erased} of {done.n_features} directions"
    if done.loss_before is not None:
        text += f"; task loss on training features {done.loss_before:.4f} with the trained head"
        text += f", {done.loss_after:.4f} with the head fitted anew"
    told(text)
    save_weights(run.folder.erased, model)


def make_stage(
    parts: Parts, run: Run, log: RunLog, model: TaskModel, *, name: StageName, method: Method | None = None
) -> StageTrainer:
    """The trainer of one stage of a recipe around a model; a dry run takes single steps of it."""
    recipe, data, folder = parts.recipe, parts.data, run.folder
    plain = name == "original"
    settings = stage_settings(parts, name)
    # what trains is chosen first: frozen stages stay in evaluation mode from here on
    groups = optimizer_groups(recipe, model, settings)
    if method is not None:
        groups += method_groups(recipe, method, settings)
    model.to(parts.fabric.device)
    # torch has no synchronised one for CPUs: there the user is warned, see `several`
    if parts.ranks.share.size > 1 and parts.fabric.device.type == "cuda":
        synchronise_batchnorm(model.extractor)
        if method is not None and method.network is not None:
            synchronise_batchnorm(method.network.extractor)
    if recipe.backbone.grad_checkpointing:
        checkpoint_gradients(model.extractor)
    if recipe.training.channels_last and bears_channels_last(model, parts.fabric.device):
        model.to(memory_format=torch.channels_last)

    # without a target, the task is to keep the features that the model has now, unless a method has another
    original = None
    if data.target.kind == "none" and method is None:
        original = freeze_original(model, data.train, precision=recipe.training.precision, **parts.reading)

    # plain training balances nothing; validation still compares the model with what the bias alone would say
    asked = {} if method is None else {SAMPLE_WEIGHT: method.sample_by, FIRST_UNTIL: method.first_until}
    drawn = {name: by for name, by in asked.items() if by is not None}
    weights: Weights = {"train": drawn, "validation": parts.bias_log_probabilities}
    debiaser = None if plain else stage_debiaser(parts, model)
    recycler, every = None, parts.debias.recycle_every_steps
    if debiaser is not None:
        weights = _debiasing_weights(parts, run, log)
        if every is not None:
            recycler = Recycler(model.extractor.backbone, recipe.representation.layers, every_steps=every)
    return StageTrainer(
        stage=name,
        fabric=parts.fabric,
        model=model,
        groups=groups,
        debiaser=debiaser,
        data=data,
        weights=weights,
        settings=settings,
        run=folder.path,
        out_path=folder.original if plain else folder.best,
        run_log=log,
        progress=run.progress,
        seed=recipe.seed,
        recycler=recycler,
        original=original,
        ranks=parts.ranks,
        method=method,
    )


def stage_debiaser(parts: Parts, model: TaskModel, *, last_fit: bool = False) -> Debiaser | None:
    """The recipe's debiaser around a model: of its steps, or of the last fit, which has the penalty if there is one."""
    recipe = parts.recipe
    mixing_alone = parts.head_last is not None and not last_fit
    debiaser = build_debiaser(parts, z_width(model, parts.data.input_shape), mixing_alone=mixing_alone)
    if debiaser is not None and recipe.debias.mix is not None:
        mix = recipe.debias.mix.model_dump() | ({"share": 1.0} if last_fit else {})
        ranks = parts.ranks
        debiaser.mixer = StatisticsMixer(model.extractor.backbone, **mix, rows=ranks.share, gather=ranks.gather)
    return debiaser


def _debiasing_weights(parts: Parts, run: Run, log: RunLog) -> Weights:
    """Sample weights by split; what is to be said of them is said before the first step."""
    warnings = forewarnings(parts)
    for line in (*parts.weights.notes, *(f"warning: {text}" for text in warnings)):
        log.line(line)
    for text in warnings:
        run.progress.warn(text)
    return {"train": parts.weights.train, "validation": {**parts.weights.validation, **parts.bias_log_probabilities}}


def stage_settings(parts: Parts, name: StageName) -> OptimSettings:
    """How a stage optimises: by `training`, the original with epochs and rate of its own."""
    section, original = parts.recipe.training, parts.recipe.original
    if name == "original" and original is not None:
        rate = original.learning_rate or section.learning_rate
        return optim_settings(section, epochs=original.epochs, learning_rate=rate)
    row = METHODS.get(parts.recipe.method)
    settings = optim_settings(section, n_views=1 if row is None else row.n_views)
    if name == "debias" and parts.debias.budget_bits is not None:
        # what the recipe leaves open is set so that a budget is kept: features must be able to follow λ to the end
        if section.final_share is None:  # at a rate of 0 they stay as they are, whatever λ says
            settings = replace(settings, final_share=0.2)
        # leakage of one step's weights differs from that of the next by half
        if section.average_decay is None and section.interpolation is None:
            settings = replace(settings, average_decay=0.99)
    return settings
