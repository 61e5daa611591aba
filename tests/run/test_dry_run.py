"""What a dry run asks for, and what its steps are."""

from __future__ import annotations

import pytest
from small_runs import tiny

from mibias_cli.errors import MibiasError
from mibias_cli.progress import Silent
from mibias_cli.run import dry_run
from mibias_cli.training.loop import StageTrainer


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step costs is not asked here."""
    monkeypatch.setattr(dry_run, "MOST_STEPS", 3)


def test_only_leace_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise MibiasError("concept-erasure is not installed")

    monkeypatch.setattr(dry_run, "require_leace", lacking)
    recipe = tiny("debias.erase=splince", "original=null", "training.epochs=1")
    assert dry_run.dry_run(recipe, offline=True, progress=Silent())["steps"] > 0
    with pytest.raises(MibiasError, match="not installed"):
        dry_run.dry_run(tiny("debias.erase=leace"), offline=True, progress=Silent())


@pytest.mark.parametrize(("by", "factor"), [("weights", 1), ("draws", 2)])
def test_rows_that_are_drawn_for_the_estimator_are_part_of_a_step(
    monkeypatch: pytest.MonkeyPatch, by: str, factor: int
) -> None:
    sizes = list[int]()
    real = StageTrainer.try_step
    monkeypatch.setattr(
        StageTrainer, "try_step", lambda self, batch, step: (sizes.append(len(batch)), real(self, batch, step))
    )
    recipe = tiny(f"debias.balance_by={by}", "debias.balance=critic", "original=null", "training.epochs=1")
    dry_run.dry_run(recipe, offline=True, progress=Silent())
    assert sizes[0] == factor * recipe.training.batch_size
