"""The training loop of one stage: epochs, validation, choice of the best weights, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mibias_cli.data.batch import Batch, BiasedData
from mibias_cli.data.loader import Workers, batches, n_batches
from mibias_cli.errors import RunError
from mibias_cli.output.machine import machine_fault
from mibias_cli.progress import Progress
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.run_folder import NO_SIGNAL, WARNING, RunFolder
from mibias_cli.seeds import derive_seed, scoped_torch_rng
from mibias_cli.training.average import WeightAverage, WeightInterpolation
from mibias_cli.training.checkpoint import StageState, load_weights, save_checkpoint, save_weights
from mibias_cli.training.control.recycle import Recycler
from mibias_cli.training.control.signal import for_a_signal
from mibias_cli.training.debiaser import Debiaser, live_figures
from mibias_cli.training.model import TaskModel
from mibias_cli.training.optimizers import learning_rate_factor, make_optimizer, penalty_weight, set_learning_rates
from mibias_cli.training.original import FrozenOriginal
from mibias_cli.training.position import Position
from mibias_cli.training.run_log import RunLog
from mibias_cli.training.settings import OptimSettings
from mibias_cli.training.step import DRAW_WEIGHT, FIRST_UNTIL, SAMPLE_WEIGHT, StepMethod, Stepper
from mibias_cli.training.validate import check_metric, validate

__all__ = ["StageTrainer"]

Tell = Callable[[str], None]
_VERSION = 2  # of a checkpoint's layout
_OF_ANOTHER_RUN = (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError)
_SAVE_SECONDS = 5.0  # between the checkpoints of epochs on kept outputs of frozen stages
_RECYCLE_UNTIL = 0.7  # of all steps: units that start later have no time to learn


@dataclass(kw_only=True)
class StageTrainer:
    """Trains one stage of a run: `original` (the task alone) or `debias`.

    Args:
        model: A TaskModel, not yet set up by Fabric.
        groups: Parameter groups of extractor and head, each with `lr` and `weight_decay`.
        data: The data; only train and validation are read.
        weights: Balancing weights of the splits `train` and `validation`, by attribute and the keys of `step`.
        recycler: Starts dead units of penalised layers afresh, in the first seven tenths of the stage, or None.
        original: Without a target: what the features are to stay close to.
        ranks: Those that train together, as `fabric` has joined them; rank 0 alone writes.
        method: Of plain training, what makes its loss (see `StepMethod`); its parameters are among `groups`.
    """

    stage: str
    fabric: Fabric
    model: TaskModel
    groups: Sequence[dict[str, Any]]
    debiaser: Debiaser | None
    data: BiasedData
    weights: Mapping[str, Mapping[str, np.ndarray]]
    settings: OptimSettings
    run: Path
    out_path: Path
    run_log: RunLog
    progress: Progress
    seed: int
    recycler: Recycler | None = None
    original: FrozenOriginal | None = None
    ranks: Ranks = ALONE
    method: StepMethod | None = None
    _position: Position = field(default_factory=Position)
    _started: float = 0.0
    _saved: float = 0.0

    def __post_init__(self) -> None:
        self._n_batches = n_batches(self.data.train, self.settings.batch_size)
        self._workers = defaultdict[str, Workers](lambda: Workers(min(self.settings.num_workers, self._n_batches)))
        self._released = self.debiaser is not None and self.debiaser.settings.gradients == "released"
        optimizers = [make_optimizer(self.settings, self.groups) for _ in range(1 + self._released)]
        self._fabric_model, *self._optimizers = self.fabric.setup(self.model, *optimizers)
        # what was fitted on each rank, heads or the scale of features, may differ by rounding
        self.ranks.copy_first(self.model)
        self._average: WeightAverage | WeightInterpolation | None = None
        if self.settings.interpolation is not None:
            self._average = WeightInterpolation(self.model, self.settings.interpolation)
        elif self.settings.average_decay is not None:
            self._average = WeightAverage(self.model, self.settings.average_decay)
        self._stepper = Stepper(
            fabric=self.fabric,
            model=self._fabric_model,
            optimizer=self._optimizers[0],
            penalty_optimizer=self._optimizers[1] if len(self._optimizers) > 1 else None,
            debiaser=self.debiaser,
            clip_norm=self.settings.clip_norm,
            max_skipped=self.settings.max_skipped_steps,
            kind=self.data.target.kind,
            original=self.original,
            ranks=self.ranks,
            method=self.method,
        )
        # a misspelt metric ends the run here, not after an epoch
        if self.debiaser is not None and self.settings.select.metric is not None:
            check_metric(self.settings.select.metric, self.debiaser, self.weights["validation"], self.data.target.kind)

    @property
    def n_steps(self) -> int:
        """Training steps of the whole stage."""
        return self.settings.epochs * self._n_batches

    def fit(self, checkpoint: StageState | None = None) -> None:
        """Train to the end, from the start or from a checkpoint; the chosen weights end up in model and out_path."""
        self._started = time.monotonic()
        if checkpoint is not None:
            self._restore(checkpoint)
        if not self._position.finished:
            self.progress.begin(self.stage, self.n_steps)
            # dropout draws from the global generator, which is seeded anew for every step
            with scoped_torch_rng(self.fabric.device), contextlib.ExitStack() as at_end:
                at_end.callback(self._workers.clear)
                for epoch in range(self._position.epoch, self.settings.epochs):
                    self._epoch(epoch)
                    if self._position.finished:
                        break
            self.progress.end()
            if at_chance := self._position.at_chance(self.data.target, penalised=self.debiaser is not None):
                self._warn("chance", self._position.epoch - 1, at_chance)
            self._position.finished = True
            self._save()
        if self.ranks.is_first:
            load_weights(self.out_path, self.model)
        self.ranks.copy_first(self.model)

    def try_step(self, batch: Batch, step: int) -> None:
        """One step of the first epoch on a batch, logged nowhere and saved nowhere: what a dry run does."""
        self._started = time.monotonic()
        self.model.train()
        with scoped_torch_rng(self.fabric.device):
            self._step(0, step, batch.to(self.fabric.device), self._fresh_stream(step))

    def try_epoch_end(self) -> None:
        """What follows the last step of an epoch, validation and a checkpoint, as a dry run does it."""
        with scoped_torch_rng(self.fabric.device), self._weights_that_count():
            self._validate_and_choose(0)
        self._save()

    # --- one epoch ---

    def _epoch(self, epoch: int) -> None:
        start = self._position.step_in_epoch
        self.model.train()
        if start == 0 and self.method is not None:
            self.method.begin_epoch(epoch)
        if start == 0 and self._released:
            # the authors' released code opens every epoch with a pass over the data that trains the critic alone
            for i, batch in enumerate(self.train_batches(epoch, 0, "opening")):
                self._stepper.fit_critic_on(batch, epoch * self._n_batches + i, turn=-1)
        fresh = self._fresh_stream(epoch * self._n_batches + start)
        for i, batch in enumerate(self.train_batches(epoch, start), start=start):
            self._step(epoch, i, batch, fresh)
            self._position.step_in_epoch = i + 1
            # the last step's is written after validation, below
            if (every := self.settings.checkpoint_every_steps) and (i + 1) % every == 0 and i + 1 < self._n_batches:
                self._save()
        # the position moves on first: what validation makes of the epoch belongs to the checkpoint of its end
        self._position.epoch, self._position.step_in_epoch = epoch + 1, 0
        with self._weights_that_count():
            self._validate_and_choose(epoch)
        # such an epoch takes less time than writing the whole network
        if self.model.extractor.computed is None or time.monotonic() - self._saved >= _SAVE_SECONDS:
            self._save()

    def train_batches(self, epoch: int, start: int, purpose: str = "train", alone: bool = False) -> Iterator[Batch]:
        """The batches of an epoch from one on, on the device; `alone`: read by this process."""
        stream = batches(
            self.data.train,
            batch_size=self.settings.batch_size,
            epoch=epoch,
            seed=derive_seed(self.seed, self.stage, purpose),
            shuffle=True,
            workers=None if alone else self._workers[purpose],
            weights=dict(self.weights["train"]),
            draw_by=self.weights["train"].get(DRAW_WEIGHT),
            draw_share=self.debiaser.draw_share if self.debiaser is not None and purpose == "train" else 0.0,
            sample_by=self.weights["train"].get(SAMPLE_WEIGHT),
            first_until=self.weights["train"].get(FIRST_UNTIL),
            n_views=self.settings.n_views,
            start_step=start,
            share=self.ranks.share,
        )
        return (batch.to(self.fabric.device) for batch in stream)

    def _fresh_stream(self, step: int) -> Iterator[Batch] | None:
        """The critic's own shuffled stream, continued from where training step `step` stands in it."""
        if self.debiaser is None or self.debiaser.settings.schedule != "fresh":
            return None
        # K batches a training step: the stream resumes where an unbroken run would stand
        drawn = step * self.debiaser.settings.critic_steps

        def stream() -> Iterator[Batch]:
            epoch, start = divmod(drawn, self._n_batches)
            while True:
                yield from self.train_batches(epoch, start, "critic")
                epoch, start = epoch + 1, 0

        return stream()

    def _step(self, epoch: int, i: int, batch: Batch, fresh: Iterator[Batch] | None) -> None:
        step = epoch * self._n_batches + i
        # rates and λ are functions of the step alone, so that a resumed run needs no schedule's state
        factor = learning_rate_factor(self.settings, step, self._n_batches)
        set_learning_rates(self._optimizers[0], factor)
        weight = 0.0
        if self.debiaser is not None:
            settings = self.debiaser.settings
            weight = penalty_weight(settings.weight, settings.warmup_epochs, step, self._n_batches)
            # released: λ is the ratio of the two optimizers' rates
            for penalty_optimizer in self._optimizers[1:]:
                set_learning_rates(penalty_optimizer, factor * weight)
        torch.manual_seed(derive_seed(self.seed, self.stage, "step", step))
        log = (step + 1) % self.settings.log_every_steps == 0
        metrics = self._stepper.run(batch, step, weight, fresh, log=log)
        if self.recycler is not None and step + 1 < _RECYCLE_UNTIL * self.n_steps:
            metrics |= self.recycler.look(self._optimizers[0], step, partial(self.ranks.mean_of_rows, n=len(batch)))
        if self._average is not None:
            self._average.update(self.model)
        self._keep_budget(step, epoch)
        if log:
            own = {} if self.debiaser is None else {"mi_weight": weight} | self.debiaser.weight_metrics(weight)
            self._record("train", step, epoch, metrics | own | {"learning_rate_factor": factor})
        self.progress.advance(step + 1, live_figures(metrics, self.debiaser, weight))

    def _keep_budget(self, step: int, epoch: int) -> None:
        """Where there is a budget: measure leakage by fresh heads every so many steps, and move λ by it."""
        debiaser = self.debiaser
        if debiaser is None or debiaser.budget is None or debiaser.meter is None:
            return
        every = max(1, round(debiaser.settings.measure_every_epochs * self._n_batches))
        # not while λ still rises: what leaks then is not the effect of the λ that is set
        if (step + 1) % every or step + 1 < debiaser.settings.warmup_epochs * self._n_batches:
            return
        with self._weights_that_count():
            measured = debiaser.meter.measure(self.model.extractor, step)
        debiaser.budget.update(measured)
        figures = {f"{name}/measured_bits": bits for name, bits in measured.items()}
        figures |= {f"{name}/mi_weight": weight for name, weight in debiaser.budget.weights().items()}
        self._record("budget", step, epoch, figures)

    def _record(self, kind: str, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        elapsed = time.monotonic() - self._started
        self.run_log.record(kind, step=step + 1, stage=self.stage, epoch=epoch, **metrics, elapsed_seconds=elapsed)

    # --- the end of an epoch ---

    @contextlib.contextmanager
    def _weights_that_count(self) -> Iterator[None]:
        """A scope in which the model has the weights that would be exported: their average, where one is kept."""
        with contextlib.nullcontext() if self._average is None else self._average.applied_to(self.model):
            # BatchNorm that is not synchronised has statistics of its own on each rank
            self.ranks.copy_first(self.model)
            yield

    def _validate_and_choose(self, epoch: int) -> None:
        figures = self._validated(epoch, (epoch + 1) * self._n_batches - 1, self.debiaser)
        if (collapse := self._position.collapse(figures, self.data.target)) is not None:
            self._warn("collapse", epoch, collapse)
        weight = 0.0
        if self.debiaser is not None:
            settings, last = self.debiaser.settings, (epoch + 1) * self._n_batches - 1
            weight = penalty_weight(settings.weight, settings.warmup_epochs, last, self._n_batches)
        self._heed_signal(self.debiaser, epoch, weight, when=f"epochs {epoch} and {epoch + 1}")
        # in plain training the last epoch's weights count, whatever debiasing is chosen by
        if self.debiaser is None or self._position.improves(figures, self.settings.select):
            if self.ranks.is_first:
                save_weights(self.out_path, self.model)
            self._position.keep(figures, self.data.target)

    def look(self, debiaser: Debiaser | None, step: int, *, ended: bool) -> None:
        """Validate at a step of the last fit, by the critics of its debiaser, and heed what shows."""
        epoch = self.settings.epochs
        figures = self._validated(epoch, step, debiaser)
        if ended:
            self._position.keep(figures, self.data.target)
            collapse = self._position.collapse(figures, self.data.target)
            at_chance = self._position.at_chance(self.data.target, penalised=debiaser is not None)
            for what, text in (("collapse", collapse), ("chance", at_chance)):
                if text is not None:
                    self._warn(what, epoch, text)
        weight = 0.0 if debiaser is None else debiaser.settings.weight
        self._heed_signal(debiaser, epoch, weight, when="before and after the last fit")

    def _validated(self, epoch: int, step: int, debiaser: Debiaser | None) -> dict[str, float]:
        self.model.eval()
        figures: dict[str, float] = {}
        if len(self.data.validation):
            figures = validate(
                self._fabric_model,
                self.data.validation,
                target=self.data.target,
                original=self.original,
                debiaser=debiaser,
                weights=self.weights["validation"],
                uniform_prior=self.debiaser is not None and self.debiaser.settings.class_prior == "uniform",
                batch_size=self.settings.batch_size,
                num_workers=self.settings.num_workers,
                device=self.fabric.device,
                seed=derive_seed(self.seed, self.stage, "validation", epoch),
                ranks=self.ranks,
            )
        self._record("validation", step, epoch, figures)
        shown = ", ".join(f"{k.removeprefix('validation/')} {v:.4f}" for k, v in figures.items())
        when = f"epoch {epoch + 1}/{self.settings.epochs}" if epoch < self.settings.epochs else f"step {step + 1}"
        self.run_log.line(f"{self.stage} {when}: {shown}")
        return figures

    def _heed_signal(self, debiaser: Debiaser | None, epoch: int, weight: float, *, when: str) -> None:
        """Say where a critic that is to be followed has found nothing on held-out rows twice in a row."""
        if debiaser is None:
            return
        for name, had_one in debiaser.signal.silences(debiaser.penalised(weight)):
            where = f"on held-out rows the critic of '{name}' finds nothing ({when})"
            if had_one:
                # success looks the same from here: the audit tells which it is, and the report says so
                text = f"the penalty has lost its signal: {where}: nothing is left, or the critic has overfitted"
                self._warn("signal_lost", epoch, text, attribute=name, tell=self.progress.note)
            else:
                known = [split.known[name] for split in (self.data.train, self.data.validation)]
                copies = debiaser.mixer is not None and debiaser.mixer.copies
                text = f"{NO_SIGNAL}: {where}. {for_a_signal(*known, copies=copies)}"
                self._warn("no_signal", epoch, text, attribute=name)

    def _warn(
        self, what: str, epoch: int, text: str, *, attribute: str | None = None, tell: Tell | None = None
    ) -> None:
        """Tell the user, train.log and, for the report, metrics.jsonl."""
        (tell or self.progress.warn)(f"{self.stage}: {text}")
        self.run_log.line(f"warning: {self.stage}: {text}")
        step = (epoch + 1) * self._n_batches
        self.run_log.record(
            WARNING, step=step, what=what, stage=self.stage, epoch=epoch, attribute=attribute, text=text
        )

    # --- checkpoints ---

    def _save(self) -> None:
        if not self.ranks.is_first:
            return
        state: StageState = {
            "version": _VERSION,
            "stage": self.stage,
            "position": asdict(self._position),
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self._optimizers],
            "precision": self.fabric.strategy.precision.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "metrics_bytes": self.run_log.n_bytes(),
            "stepper": self._stepper.state_dict(),
        }
        if self.debiaser is not None:
            state["debiaser"] = self.debiaser.state_dict()
        self._saved = time.monotonic()
        save_checkpoint(RunFolder(self.run).last, state)  # the metrics it knows of are on disk already: see `n_bytes`

    def _restore(self, state: StageState) -> None:
        if state.get("version") != _VERSION:
            raise RunError(
                f"{RunFolder(self.run).last}: this checkpoint was written by another version of mibias; resume it with "
                "that one, or train anew in another folder"
            )
        try:
            self._restore_parts(state)
        except _OF_ANOTHER_RUN as error:
            # too little memory comes as one of these, too
            if machine_fault(error) is not None:
                raise
            raise RunError(
                f"{RunFolder(self.run).last}: this checkpoint does not fit the run ({type(error).__name__}: {error}); "
                "train anew: mibias train RECIPE --out FOLDER"
            ) from error

    def _restore_parts(self, state: StageState) -> None:
        self._position = Position(**state["position"])
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self._average is not None and state["average"] is not None:
            self._average.load_state_dict(state["average"])
        self._stepper.load_state_dict(state["stepper"])
        if self.debiaser is not None:
            self.debiaser.load_state_dict(state["debiaser"], self.fabric.device)
