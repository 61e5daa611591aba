"""The time that a dry run names is that of training, within a factor of two."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from small_runs import tiny

from mibias_cli.progress import Silent
from mibias_cli.run.assemble import assemble
from mibias_cli.run.dry_run import dry_run
from mibias_cli.run.stages import Run, fit_debiased, fit_original
from mibias_cli.run_folder import RunFolder


@pytest.mark.slow  # it trains, and for long enough that the clock means something
@pytest.mark.parametrize(
    "settings",
    [
        ("training.epochs=6", "original.epochs=6"),
        ("training.epochs=6", "original=null", "debias.critic.steps=10", "debias.queue_batches=16"),
    ],
    ids=["cheap critic", "dear critic"],
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
