"""Signals: each ends a command within seconds, by its own exit code, wherever the command is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mibias_cli
from mibias_cli.cli.stopping import GRACE_SECONDS

# a train that is in the middle of something when the signal comes
TRAIN = """
import signal, sys, time
from pathlib import Path
from types import ModuleType
from mibias_cli.cli.main import main

# as in a shell, whatever these tests are run by
for number in RESET:
    signal.signal(number, signal.SIG_DFL)

class Swallowing:
    def __del__(self):
        Path("ready").touch()
        time.sleep(60)

class HalfMade:
    def __del__(self):
        self.workers

def train(*_, progress, **__):
    (Path("run") / "checkpoints").mkdir(parents=True)
    (Path("run") / "checkpoints" / "last.pt").touch()
    WORK
    while True:
        time.sleep(0.1)

import mibias_cli.run
workflow = ModuleType("mibias_cli.run.workflow")
workflow.train = train
sys.modules["mibias_cli.run.workflow"] = mibias_cli.run.workflow = workflow
main()
"""
RECIPE = "version: 1\ndata:\n  source: digits\nbackbone:\n  name: test_resnet\n"
PLAIN = 'Path("ready").touch()'
DROPPED = "Swallowing()"
"""The exception is raised in a destructor, where Python drops it."""
HELD = 'import atexit; atexit.register(time.sleep, 60); Path("ready").touch()'
"""Python's own end takes long."""
WORKER = """
    import subprocess
    def worker_ended(*_):
        raise RuntimeError("DataLoader worker is killed by signal: Terminated")
    signal.signal(signal.SIGCHLD, worker_ended)
    worker = subprocess.Popen(["sleep", "60"])
    try:
        Path("ready").touch()
        time.sleep(60)
    finally:
        worker.terminate()
        worker.wait()
        HalfMade()
"""
"""A process that reads data is told to end, too; torch's handler raises an error wherever Python is then."""
CAUGHT = """
    while True:
        try:
            Path("ready").touch()
            time.sleep(60)
        except BaseException:
            pass
"""


def stopped(folder: Path, work: str, *numbers: int, shell: str = "") -> tuple[int, str, float]:
    """Exit code, what was said, and how long it took from the first signal on."""
    reset = [int(number) for number in (signal.SIGINT, signal.SIGTERM, *([] if shell else [signal.SIGHUP]))]
    (folder / "train.py").write_text(TRAIN.replace("    WORK\n", f"    {work.strip()}\n").replace("RESET", str(reset)))
    (folder / "r.yaml").write_text(RECIPE)
    command = [*shell.split(), sys.executable, "train.py", "train", "r.yaml", "--out", "run"]
    environment = {"PYTHONPATH": str(Path(mibias_cli.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (folder / "ready").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    started = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.3)
    _, said = process.communicate(timeout=60)
    return process.returncode, said, time.monotonic() - started


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_has_its_exit_code_and_says_how_to_go_on(tmp_path: Path, number: int, code: int) -> None:
    found, said, _ = stopped(tmp_path, PLAIN, number)
    assert (found, said.strip()) == (code, "interrupted; resume with: mibias train --resume run")


@pytest.mark.parametrize("work", [DROPPED, CAUGHT, HELD], ids=["dropped", "caught", "held"])
def test_an_interrupt_that_gets_lost_ends_the_command_all_the_same(tmp_path: Path, work: str) -> None:
    code, said, seconds = stopped(tmp_path, work, signal.SIGINT)
    assert (code, said.strip()) == (130, "interrupted; resume with: mibias train --resume run")
    assert GRACE_SECONDS <= seconds < GRACE_SECONDS + 5


def test_who_asks_twice_does_not_wait(tmp_path: Path) -> None:
    code, said, seconds = stopped(tmp_path, CAUGHT, signal.SIGTERM, signal.SIGINT)
    assert (code, said.strip()) == (130, "interrupted; resume with: mibias train --resume run")
    assert seconds < GRACE_SECONDS


def test_the_end_of_workers_is_no_error_of_a_command_that_was_stopped(tmp_path: Path) -> None:
    code, said, _ = stopped(tmp_path, WORKER, signal.SIGTERM)
    assert (code, said.strip()) == (143, "interrupted; resume with: mibias train --resume run")


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    # nohup: the terminal may go, the run stays until it is told to end
    code, _, _ = stopped(tmp_path, PLAIN, signal.SIGHUP, signal.SIGTERM, shell="nohup")
    assert code == 143


def test_a_signal_before_the_command_runs_is_no_traceback(tmp_path: Path) -> None:
    # Typer builds its commands; what it is in the middle of could not report the exception
    (tmp_path / "early.py").write_text(
        "import os, signal, typer.main\n"
        "import mibias_cli.cli.main as cli\n"
        "build = typer.main.get_command\n"
        "def slowly(*arguments, **named):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return build(*arguments, **named)\n"
        "typer.main.get_command = slowly\n"
        "cli.main()\n"
    )
    environment = {"PYTHONPATH": str(Path(mibias_cli.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "early.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (143, "interrupted")
