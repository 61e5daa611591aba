"""Runs that have not ended: refused, or taken as they are and called so wherever their figures are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import stop_at_step, tiny, trained
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.errors import RunError
from mibias_cli.export.load import load_export
from mibias_cli.report.read import read_report
from mibias_cli.run import workflow

SHORT = (
    "original=null", "training.epochs=2", "training.batch_size=512", "evaluation.random_control=false",
    "evaluation.n_permutations=0", "evaluation.max_samples=300",
)  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted in its second epoch of two."""
    out = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at_step(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            trained(tiny(*SHORT), out)
    return out


def test_they_are_refused_and_the_fix_is_named(stopped: Path) -> None:
    for command in ("evaluate", "export"):
        done = CliRunner().invoke(app, [command, str(stopped)])
        assert done.exit_code == 2
        assert "has not ended (debiasing has done 1 of 2 epochs)" in done.stderr
        assert f"mibias train --resume {stopped}" in done.stderr
        assert "--unfinished" in done.stderr
    assert not list(stopped.glob("report*")) + list(stopped.glob("export*"))


def test_what_is_made_of_them_says_so_and_is_not_taken_for_the_runs_own(stopped: Path, tmp_path: Path) -> None:
    said = "The run had not ended (debiasing has done 1 of 2 epochs)"
    done = CliRunner().invoke(app, ["evaluate", str(stopped), "--unfinished"])
    assert done.exit_code == 0, done.stderr
    assert f"warning: {said}" in done.stderr
    assert done.stderr.count("ended (debiasing") == 1
    folder = stopped / "report-unfinished"
    report = read_report(folder / "leakage.json")
    assert report.unfinished == "debiasing has done 1 of 2 epochs"
    for page in ("leakage.html", "leakage.md"):
        assert said in (folder / page).read_text().replace("\\", "")
    gated = CliRunner().invoke(app, ["gate", str(folder), "--fail-on", "task.after.accuracy < 0"])
    assert (gated.exit_code, f"warning: {said}" in gated.stderr) == (0, True)

    exported = CliRunner().invoke(app, ["export", str(stopped), "--unfinished"])
    assert exported.exit_code == 0, exported.stderr
    assert "warning: " in exported.stderr
    folder = stopped / "export-unfinished"
    assert said in (folder / "README.md").read_text().replace("\\", "")
    assert load_export(folder).info.unfinished == report.unfinished
    # an audit of that export knows it too
    again = workflow.evaluate(folder, recipe=tiny(*SHORT), out=tmp_path / "again", offline=True)
    assert again.report.unfinished == report.unfinished
    # where the run will write when it ends nothing of an unfinished one may lie
    for out in ("report", "export"):
        with pytest.raises(RunError, match="is where the run will write"):
            workflow.export(stopped, out=stopped / out, unfinished=True)

    # the run goes on, writes its own, and is refused no more
    run = trained(tiny(*SHORT), tmp_path / "unused", resume=stopped)
    assert (run.folder / "report" / "leakage.json").is_file()
    assert run.report.unfinished is None
    assert "unfinished" not in (run.export / "mibias.json").read_text()
    assert workflow.export(run.folder, out=tmp_path / "more") == tmp_path / "more"
    # its checkpoint may be thrown away: the report says that training has ended
    (run.folder / "checkpoints" / "last.pt").unlink()
    assert workflow.export(run.folder, out=tmp_path / "most") == tmp_path / "most"
