"""The sides of a run's report: as loaded, plainly trained, debiased."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
from small_runs import tiny, trained

from mibias_cli.run.assemble import assemble
from mibias_cli.run.evaluate import run_target
from mibias_cli.run_folder import RunFolder


def test_loaded_weights_stand_beside_plain_training_where_there_was_some(tmp_path: Path) -> None:
    """What a run without plain training calls `before` is `loaded` in one that has it; gates and change are not moved.

    Weights drawn at random are nobody's: there they are no side.
    """
    weights = tmp_path / "w.safetensors"
    save_file(assemble(tiny(), offline=True).backbone.module.state_dict(), weights)
    audit = ("evaluation.n_permutations=0", "evaluation.random_control=false", "evaluation.max_samples=300")
    short = ("training.epochs=1", *audit)
    quick = (*short, "representation.layers=[features]", f"backbone.weights={weights}")
    without = trained(tiny(*quick, "original=null"), tmp_path / "a").report
    report = trained(tiny(*quick, "original.start_debiasing_from=initial"), tmp_path / "b").report
    colour, task = report.attributes["colour"], report.task
    assert colour.loaded == without.attributes["colour"].before
    assert task.loaded == without.task.before
    # debiasing starts from the same weights in both
    assert (colour.after, task.after) == (without.attributes["colour"].after, without.task.after)
    assert colour.change is not None
    assert colour.before is not None
    assert colour.change.leakage_bits.estimate == pytest.approx(
        colour.after.leakage_bits.estimate - colour.before.leakage_bits.estimate
    )
    assert report.head is not None
    assert report.head.task.before is not None
    assert report.head.task.loaded is None
    assert "as loaded" in (tmp_path / "b" / "report" / "leakage.html").read_text()
    # what others may be given tells of the weights' file, and not of the folder in which the author keeps it
    for path in [*(tmp_path / "b" / "export").rglob("*.*"), *(tmp_path / "b" / "report").glob("*.*")]:
        assert str(tmp_path).encode() not in path.read_bytes(), path
    assert "`w.safetensors`" in (tmp_path / "b" / "export" / "README.md").read_text()
    # weights that are drawn at random are nobody's
    parts = assemble(tiny(*short), offline=True)
    assert run_target(parts, RunFolder(tmp_path / "b")).loaded is None
