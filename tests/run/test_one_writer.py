"""A run folder has one writer at a time, and is claimed only when the run can start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import tiny, trained

from mibias_cli.errors import MibiasError, RunError
from mibias_cli.recipe.load import dump_recipe
from mibias_cli.run import workflow
from mibias_cli.run_folder import check_free, claim_run_folder, holds_nothing, lock_run

HOLD = """
import sys
from pathlib import Path
from mibias_cli.run_folder import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What is left of a run that was stopped early."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.resolved.yaml").write_text(dump_recipe(tiny()))
    (folder / "metrics.jsonl").write_text("of the old run\n")
    return folder


@pytest.fixture
def writer(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes the run."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(timeout=60)
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where data would be loaded."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr(workflow, "assemble", load)


@pytest.mark.usefixtures("no_data")
def test_a_second_writer_is_refused_at_once_by_the_first_ones_name(run: Path, writer: subprocess.Popen[str]) -> None:
    who = f"process {writer.pid} on .* since .* writes this run"
    with pytest.raises(RunError, match=who):
        trained(tiny(), run)
    with pytest.raises(RunError, match=who):
        trained(tiny(), run, overwrite=True)
    with pytest.raises(RunError, match=who):
        workflow.train(tiny(), resume=run)
    with pytest.raises(RunError, match=who), lock_run(run):
        pass
    assert (run / "metrics.jsonl").read_text() == "of the old run\n"


def test_death_releases_the_lock(run: Path, writer: subprocess.Popen[str]) -> None:
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait(timeout=60)
    with lock_run(run) as has_locks:
        assert has_locks
        # to the system the locks of one process never exclude each other, so this is another check
        with pytest.raises(RunError, match=f"process {os.getpid()}, this one"), lock_run(run):
            pass
        with pytest.raises(RunError, match="this one"):
            check_free(run, new=False, overwrite=False)
    # who has ended is named no more, and the next one may write
    assert (run / ".lock").read_text() == ""
    check_free(run, new=False, overwrite=False)
    claim_run_folder(run, overwrite=True)
    assert holds_nothing(run)
    # nor is a run begun by what a kill left of its very first file
    (run / ".recipe.resolved.yaml.0123abcd.partial").touch()
    check_free(run, new=True, overwrite=False)
    claim_run_folder(run, overwrite=False)
    assert [path.name for path in run.iterdir()] == [".lock"]


def test_a_folder_is_not_there_before_the_start_was_checked(run: Path, tmp_path: Path) -> None:
    faulty = (
        (["training.select.metric=validation/nonsense"], "nonsense"),
        (["representation.layers=[nonsense]"], "nonsense"),
        (["debias.attributes=[nonsense]"], "nonsense"),
        (["evaluation.crossings=[[colour, nonsense]]"], "nonsense"),
        (["backbone.weights=nonsense.safetensors"], "nonsense"),
    )
    before = sorted(path.name for path in run.iterdir())
    for settings, message in faulty:
        with pytest.raises(MibiasError, match=message):
            trained(tiny(*settings), tmp_path / "new" / "run")
        with pytest.raises(MibiasError, match=message):
            trained(tiny(*settings), run, overwrite=True)
    # neither a new folder, nor anything of the old run gone
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in run.iterdir()) == before
    assert (run / "metrics.jsonl").read_text() == "of the old run\n"


@pytest.mark.usefixtures("no_data")
def test_what_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        workflow.train(tiny(), resume=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("n_removed", range(5))
def test_a_kill_while_a_run_is_cleared_leaves_one_that_can_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_removed: int
) -> None:
    files = ["recipe.resolved.yaml", "start.json", "environment.json", "metrics.jsonl", "train.log"]
    for name in files:
        (tmp_path / name).touch()
    remove, left = Path.unlink, iter(range(n_removed))

    def killed(path: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        claim_run_folder(tmp_path, overwrite=True)
    assert len([*tmp_path.iterdir()]) == len(files) - n_removed
    monkeypatch.undo()
    check_free(tmp_path, new=True, overwrite=True)
    claim_run_folder(tmp_path, overwrite=True)
    assert holds_nothing(tmp_path)
