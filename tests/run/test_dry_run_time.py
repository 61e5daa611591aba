"""The time that a dry run names is that of training, within a factor of two."""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import tiny

from mibias_cli.progress import Silent
from mibias_cli.run import cached
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.cached import cached_parts, stand_in_parts
from mibias_cli.run.dry_run import dry_run
from mibias_cli.run.heads import fit_time, fitted
from mibias_cli.run.heads.fit_time import seconds_of_fits
from mibias_cli.run.stages import Run, fit_debiased, fit_original, stage_debiaser
from mibias_cli.run_folder import RunFolder

LAST = (
    "original=null",
    "training.head_first=0.1",
    "training.head_last=0.1",
    "debias={estimator: closed_form, objective: conditional}",
    "representation={layers: [features], bottleneck: {width: 9, hidden: []}}",
)


@pytest.mark.slow  # it trains, and for long enough that the clock means something
@pytest.mark.parametrize(
    "settings",
    [
        ("training.epochs=6", "original.epochs=6"),
        ("training.epochs=6", "original=null", "debias.critic.steps=10", "debias.queue_batches=16"),
        (*LAST, "training.epochs=1", "debias.weight=auto"),
    ],
    ids=["cheap critic", "dear critic", "last fits"],
)
def test_the_time_that_is_named(tmp_path: Path, settings: tuple[str, ...]) -> None:
    recipe = tiny(*settings, "training.batch_size=64")
    told = dry_run(recipe, offline=True, progress=Silent())["estimated_training_seconds"]
    parts = assemble(recipe, offline=True)
    run = Run.open(parts, RunFolder(tmp_path / "run"), new=True, overwrite=False, progress=Silent())
    start = time.monotonic()
    with run.log() as log:
        fit_debiased(parts, run, log, start=fit_original(parts, run, log))
    took = time.monotonic() - start
    assert took / 2 < told < 2 * took


def a_second_each(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    """Whatever a module times took one second."""
    seconds = count()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def fits(parts: Parts, *, last: bool) -> float:
    model = parts.new_model()
    return seconds_of_fits(model, parts, partial(stage_debiaser, parts, model, last_fit=True), last=last)


@pytest.mark.parametrize("weight", ["0.5", "auto"])
def test_fits_of_heads_are_counted(monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    few = ("data.audit_fraction=0.85", "data.validation_fraction=0.05", "training.batch_size=32")
    parts = assemble(tiny(*LAST, *few, f"debias.weight={weight}"), offline=True)
    a_second_each(monkeypatch, fit_time)
    monkeypatch.setattr(fitted, "N_STEPS", 700)
    # features of 64 samples, one fit on all, and seven steps of the penalty take a second each
    features = len(parts.data.train) / 64
    assert fits(parts, last=False) == pytest.approx(features + 1)
    path = 0.0 if weight == "0.5" else 2 * 5 * 150 / 7 + 1
    assert fits(parts, last=True) == pytest.approx(2 * (features + 1) + 700 / 7 + path)
    assert fits(assemble(tiny(), offline=True), last=True) == 0.0


@pytest.mark.parametrize("bottleneck", ["null", "{width: 9, hidden: []}"])
def test_a_fit_of_heads_that_come_first_alone_is_counted(monkeypatch: pytest.MonkeyPatch, bottleneck: str) -> None:
    alone = ("training.head_first=0.1", f"representation={{layers: [features], bottleneck: {bottleneck}}}")
    few = ("data.audit_fraction=0.85", "data.validation_fraction=0.05", "training.batch_size=32")
    parts = assemble(tiny(*alone, *few), offline=True)
    a_second_each(monkeypatch, fit_time)
    assert fits(parts, last=True) == fits(parts, last=False) == pytest.approx(len(parts.data.train) / 64 + 1)


def test_outputs_of_frozen_stages_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(
        "backbone={name: test_resnet, input_size: 32, train: [layer4], cache_views: 3}",
        "representation={bottleneck: 8}",
        "training.augment=true", "training.batch_size=32", "data.audit_fraction=0.85", "data.validation_fraction=0.05",
    )  # fmt: skip
    parts = assemble(recipe, offline=True)
    a_second_each(monkeypatch, cached)
    training, seconds = stand_in_parts(parts)
    n, n_validation = len(parts.data.train), len(parts.data.validation)
    assert seconds == pytest.approx((n + n_validation + 3 * n) / 64)
    # what stands in has the shape of what is kept
    kept = cached_parts(parts, Silent(), {s.name: np.arange(len(s)) for s in (parts.data.train, parts.data.validation)})
    rows = np.arange(4)
    assert training.data.train.reader.read(rows, 0).shape == kept.data.train.reader.read(rows, 0).shape
    assert training.data.input_shape == kept.data.input_shape != parts.data.input_shape
    # and another run need not compute it again
    assert stand_in_parts(parts)[1] == 0.0


def test_without_frozen_stages_nothing_stands_in() -> None:
    parts = assemble(tiny(), offline=True)
    assert stand_in_parts(parts) == (parts, 0.0)
