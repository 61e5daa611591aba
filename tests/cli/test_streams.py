"""Pipes that break, streams that are closed or full: what is computed and the exit code stay the same."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

MIBIAS = f"{shlex.quote(sys.executable)} -m mibias_cli.cli"
RECIPE = "version: 1\ndata:\n  source: digits\nbackbone:\n  name: test_resnet\n"
# a train and an evaluate that say much, leave a file when they are done, and whose gate fails where GATE is set
FAKE = """
import os, sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from mibias_cli.cli.main import main
from mibias_cli.report.document import Report

gate = {"expression": "task.after.accuracy < 1", "source": "option", "status": os.environ["GATE"], "threshold": 1.0,
        "inconclusive": "warn", "figure": None, "message": "it is"}
report = Report.model_validate({
    "schema_version": 1, "gates": [gate], "task": {"before": None, "after": {"accuracy": 0.75}},
    "attributes": {"colour": {"before": None, "after": {"leakage_bits": {"estimate": 1.5, "lower": 1, "upper": 2}},
                              "entropy_bits": 3.0}},
    "provenance": {"long": "x" * 200_000},
})

def work(*_, progress, **__):
    for k in range(2000):
        progress.note(f"line {k} " + "x" * 80)
    Path("done").touch()
    return SimpleNamespace(folder=Path("run"), report=report, export=Path("run"))

workflow = ModuleType("mibias_cli.run.workflow")
workflow.train = workflow.evaluate = work
import mibias_cli.run
sys.modules["mibias_cli.run.workflow"] = mibias_cli.run.workflow = workflow
main()
"""


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line in bash; where it is a pipe, its exit code is that of the pipe's first part."""
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=folder, capture_output=True, text=True, timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **environment}, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "bad.yaml").write_text(RECIPE + "seed: x\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "streams", "gate", "code"),
    [
        # what began this: a gate that was never run, and a training that was never done, ended with 0
        ("evaluate resnet18 --recipe r.yaml", "|& head -2", "fail", 1),
        ("evaluate resnet18 --recipe r.yaml --format json", "| head -2", "fail", 1),
        ("train r.yaml", "|& head -1", "fail", 1),
        ("train r.yaml", "|& head -1", "pass", 0),
        ("train r.yaml", ">&- 2>&- <&-", "fail", 1),
        ("train r.yaml", ">&- 2>&- <&-", "pass", 0),
        ("train r.yaml", ">/dev/full 2>&1", "fail", 1),
        ("train r.yaml", ">/dev/full 2>&1", "error", 2),
        ("train r.yaml", ">/dev/full 2>&1", "pass", 0),
        # the report was asked for on stdout, and is not there: that is no success
        ("evaluate resnet18 --recipe r.yaml --format json", ">/dev/full", "pass", 2),
        ("evaluate resnet18 --recipe r.yaml --format json", ">/dev/full", "fail", 1),
    ],
)
def test_long_work_is_done_whoever_listens(folder: Path, command: str, streams: str, gate: str, code: int) -> None:
    done = shell(f"{shlex.quote(sys.executable)} fake.py {command} {streams}", folder, GATE=gate)
    assert (folder / "done").exists()
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("schema | head -1", 0),
        ("schema >&-", 0),
        ("schema >&- 2>&- <&-", 0),
        ("schema >/dev/full 2>&-", 2),
        ("--help >/dev/full", 2),
        ("--version >&-", 0),
        ("recipes list >/dev/full", 2),
        ("validate r.yaml 2>&-", 0),
        ("validate r.yaml 2>/dev/full", 0),
        ("validate bad.yaml 2>&-", 2),
        ("validate bad.yaml 2>/dev/full", 2),
        ("validate bad.yaml |& true", 2),
        ("nonsense 2>/dev/full", 2),
    ],
)
def test_exit_codes_keep_their_meaning(folder: Path, command: str, code: int) -> None:
    done = shell(f"{MIBIAS} {command}", folder)
    assert done.returncode == code
    lost = "error: stdout: No space left on device; the output is not whole\n"
    assert done.stderr == (lost if code == 2 and ">/dev/full" in command and "2>" not in command else "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_escaped_as_json_has_it(folder: Path, encoding: str) -> None:
    """As in old locales: what computed for hours must not end where it is printed."""
    (folder / "say.py").write_text(
        "from mibias_cli.cli.streams import safe_streams\nwith safe_streams(): print('\"−1 \U0001f600 x\"')\n",
        encoding="utf-8",
    )
    done = shell(f"{shlex.quote(sys.executable)} say.py", folder, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '"\\u22121 \\ud83d\\ude00 x"\n'
    assert json.loads(done.stdout) == "−1 \U0001f600 x"


def test_escape_sequences_in_names_are_shown_and_not_taken_out(folder: Path) -> None:
    done = shell(f"{MIBIAS} gate $'a\\e[31mb' --fail-on 'task.after.accuracy < 1'", folder)
    assert done.returncode == 2
    assert "error: a\\u001b[31mb: there is no such file" in done.stderr


def test_a_working_folder_that_is_gone_is_said_before_libraries_die_of_it(folder: Path) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; {MIBIAS} scan {folder / 'r.yaml'}", folder)
    assert done.returncode == 2
    assert "error: the folder in which this was called is gone; change to another one (cd)" in done.stderr
    assert "FATAL" not in done.stderr


def test_no_file_takes_the_number_of_a_closed_stream(folder: Path) -> None:
    """Else what is printed would land in a checkpoint."""
    done = shell(f"{MIBIAS} schema --out s.json >&- 2>&- <&-", folder)
    assert done.returncode == 0
    plain = shell(f"{MIBIAS} schema", folder)
    assert (folder / "s.json").read_text() == plain.stdout


def test_a_pipe_that_does_not_block_loses_nothing(folder: Path) -> None:
    """Its other end is slow: what does not fit yet is waited for."""
    slow = "import os, sys, time; os.set_blocking(0, True); time.sleep(1.5); sys.stdout.write(sys.stdin.read())"
    unblocked = "import os, sys; os.set_blocking(1, False); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    python = shlex.quote(sys.executable)
    flood = "from mibias_cli.cli.streams import safe_streams\nwith safe_streams():\n    print('x' * 300_000 + 'end')"
    (folder / "flood.py").write_text(flood)
    done = shell(f"{python} -c {shlex.quote(unblocked)} flood.py | {python} -c {shlex.quote(slow)}", folder)
    assert (done.returncode, len(done.stdout), done.stdout[-4:]) == (0, 300_004, "end\n")
