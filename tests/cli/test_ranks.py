"""`mibias train --devices 2`, torchrun and srun: as a user starts, breaks, interrupts, kills and resumes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from on_ranks import differing, environment
from small_runs import TINY, best, metrics, same
from torch.testing import assert_close
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.cli.ranks import run_ranks

MIBIAS = [sys.executable, "-m", "mibias_cli.cli"]
# signals do what they do in a shell, whatever runs these tests; -P: it does not look for mibias where it is started
IN_SHELL = [sys.executable, "-P", "-c"]
IN_SHELL += [
    "import signal as s; [s.signal(n, s.SIG_DFL) for n in (1, 2, 15)]; import mibias_cli.cli.main as m; m.main()"
]
QUICK = (
    "original=null",
    "training.epochs=4",
    "training.checkpoint_every_steps=3",
    "evaluation={probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}",
)


def recipe(folder: Path, *options: str) -> list[str]:
    (folder / "tiny.yaml").write_text(TINY)
    return ["train", str(folder / "tiny.yaml"), *(part for option in (*QUICK, *options) for part in ("--set", option))]


def ended(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)


def is_whole(run: Path) -> bool:
    return all((run / name).is_file() for name in ("report/leakage.json", "export/model.safetensors"))


def begun(process: subprocess.Popen[str], run: Path, epoch: int = 1) -> None:
    """Wait until a run stands in an epoch."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        text = (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
        if f'"epoch": {epoch}' in text:
            return
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"epoch {epoch} never began: {process.communicate()[0]}")


def test_devices_that_torchrun_did_not_start_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key, value in environment(0, 2, 1).items():
        monkeypatch.setenv(key, value)
    found = CliRunner().invoke(app, [*recipe(tmp_path), "--devices", "4"])
    assert found.exit_code == 2
    assert "--devices is 4, but torchrun has started 2; leave it out" in found.output


def test_a_batch_that_ranks_cannot_share_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, [*recipe(tmp_path), "--devices", "3"])
    assert found.exit_code == 2
    assert "training.batch_size: is 128, which 3 ranks cannot share evenly" in found.output


def test_several_machines_need_a_place_to_meet(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, [*recipe(tmp_path), "--num-nodes", "2"])
    assert found.exit_code == 2
    assert "set MASTER_ADDR and MASTER_PORT" in found.output


def write_ranks(folder: Path, program: str) -> None:
    """A program of the test's in place of the ranks: a package of the same name."""
    package = folder / "mibias_cli" / "cli"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    (package / "__main__.py").write_text(program)


# it waits for the end of the process that started it, as ranks do; a signal that reached it would be told
RANK = """
import os, sys, time
from pathlib import Path
Path("run/checkpoints").mkdir(parents=True, exist_ok=True)
Path("run/checkpoints/last.pt").touch()
Path(os.environ["RANK"]).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_ranks_and_one_process_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    write_ranks(folder, RANK)
    command = [*IN_SHELL, *recipe(tmp_path), "--devices", "2", "--out", "run"]
    path = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not all((folder / rank).is_file() for rank in "01") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.strip()) == (code, "interrupted; resume with: mibias train --resume run")
    # they were this process's to wait for: none is left
    for rank in "01":
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / rank).read_text()), 0)


@pytest.mark.parametrize(
    ("rank_0", "rank_1", "code", "said"),
    [
        ("pass", "pass", 0, ""),
        ("pass", "sys.exit(1)", 1, ""),
        ("time.sleep(60)", "sys.exit(2)", 2, ""),
        ("time.sleep(60)", "os.kill(os.getpid(), 9)", 2, "error: rank 1 was ended by SIGKILL, and with it the run"),
        # as a rank ends that was told to
        ("sys.exit(143)", "time.sleep(60)", 2, "error: rank 0 was ended by SIGTERM, and with it the run"),
    ],
)
def test_the_first_rank_that_fails_ends_the_others(
    rank_0: str,
    rank_1: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_ranks(tmp_path, f"import os, sys, time\nif os.environ['RANK'] == '0':\n    {rank_0}\nelse:\n    {rank_1}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    assert run_ranks([], devices=2, nodes=1) == code
    assert time.monotonic() - began < 30
    assert capsys.readouterr().err.startswith(said)


# five runs of two processes each, which load torch, and their audits
@pytest.mark.slow
def test_ranks_train_audit_and_export_as_one_process_does(tmp_path: Path) -> None:
    assert ended([*MIBIAS, *recipe(tmp_path), "--out", str(tmp_path / "one")]).returncode == 0
    command = recipe(tmp_path)
    found = {"devices": ended([*MIBIAS, *command, "--devices", "2", "--out", str(tmp_path / "devices")])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found["torchrun"] = ended([*torchrun, "-m", "mibias_cli.cli", *command, "--out", str(tmp_path / "torchrun")])
    for name, process in found.items():
        assert process.returncode == 0, process.stderr
        assert process.stdout == ""
        # one rank speaks
        assert process.stderr.count("report: ") == 1
        assert process.stderr.count("loading data and backbone") == 1
        assert is_whole(tmp_path / name)
        assert differing(metrics(tmp_path / "one"), metrics(tmp_path / name), 1e-4) == []
        for key, value in best(tmp_path / "one").items():
            assert_close(best(tmp_path / name)[key], value, rtol=1e-4, atol=1e-5)
    assert same(best(tmp_path / "devices"), best(tmp_path / "torchrun"))


# a run of two processes under the variables that srun sets
@pytest.mark.slow
def test_srun_joins_its_tasks(tmp_path: Path) -> None:
    command = [*MIBIAS, *recipe(tmp_path), "--out", str(tmp_path / "run")]
    shared = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_JOB_ID": str(os.getpid())}
    shared |= {"SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0"}
    tasks = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [task.communicate(timeout=900)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert said[1] == ""
    assert is_whole(tmp_path / "run")


# three runs of two processes each
@pytest.mark.slow
def test_two_ranks_killed_and_resumed_are_as_never_killed(tmp_path: Path) -> None:
    command = [*MIBIAS, *recipe(tmp_path, "training.average_decay=0.9"), "--devices", "2"]
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "--out", str(killed)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    begun(process, killed)
    os.killpg(process.pid, signal.SIGKILL)
    # the ranks end with the process that has started them, and close its pipe: the run has no writer
    process.communicate(timeout=60)
    assert not (killed / "report").exists()
    resumed = ended([*MIBIAS, "train", "--resume", str(killed)])
    assert resumed.returncode == 0, resumed.stderr
    assert ended([*command, "--out", str(tmp_path / "whole")]).returncode == 0
    assert metrics(killed) == metrics(tmp_path / "whole")
    assert same(best(killed), best(tmp_path / "whole"))


# a run of two processes that is stopped
@pytest.mark.slow
def test_ctrl_c_ends_all_ranks_with_one_message(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [*IN_SHELL, *recipe(tmp_path, "training.epochs=200"), "--devices", "2", "--out", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    begun(process, run)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=900)[1]
    assert process.returncode == 130
    assert said.count("interrupted; resume with: mibias train --resume") == 1
    assert "rror" not in said


# a run of two processes that meets an unreadable image on the second one alone
@pytest.mark.slow
def test_a_fault_on_one_rank_ends_all_with_its_message(tmp_path: Path) -> None:
    from PIL import Image

    lines = ["path,target,bias,split"]
    # audited rows enough, or the check before the run would speak first
    for i in range(80):
        Image.new("RGB", (28, 28), (3 * i, 0, 0)).save(tmp_path / f"{i}.png")
        split = "train" if i < 24 else ("validation", "audit")[i // 4 % 2]
        lines.append(f"{i}.png,{i % 2},{i // 2 % 2},{split}")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    (tmp_path / "3.png").write_bytes(b"no image")
    text = """
version: 1
data:
  source: manifest
  path: m.csv
  columns: {target: target, split: split}
  splits: {audit: audit}
  attributes: {bias: {}}
backbone: {name: digit_cnn, options: {width: 4, hidden: 16, features: 8}, input_size: 28}
training: {epochs: 1, batch_size: 8, device: cpu}
"""
    (tmp_path / "r.yaml").write_text(text)
    command = [*MIBIAS, "train", str(tmp_path / "r.yaml"), "--devices", "2", "--out", str(tmp_path / "run")]
    found = ended(command)
    assert found.returncode == 2
    errors = [line for line in found.stderr.splitlines() if "rror" in line]
    assert len(errors) == 1, found.stderr
    assert "3.png" in errors[0]
