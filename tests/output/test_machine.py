"""What a machine did is said in one line that names disk, file or memory, and is nobody's internal error."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mibias_cli.output.machine import machine_fault, writing
from mibias_cli.output.whole_files import replaced, write_atomically
from mibias_cli.training.checkpoint import save_checkpoint, save_weights
from mibias_cli.training.run_log import RunLog


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files may have 4,000 bytes: what a full disk is to every library alike."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_named_whichever_library_writes(tmp_path: Path) -> None:
    model = nn.Linear(100, 100)
    writers = {
        "last.pt": lambda path: save_checkpoint(path, {"model": model.state_dict()}),
        "best.safetensors": lambda path: save_weights(path, model),
        "leakage.html": lambda path: write_atomically(path, "x" * 10_000),
    }
    for name, write in writers.items():
        with pytest.raises(OSError, match="too large") as caught:
            write(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
        assert machine_fault(caught.value) == f"File too large: {tmp_path / name}; make room on its disk and try again"
    # nothing of them is left
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_in_the_middle_of_a_log_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large") as caught, RunLog(tmp_path) as log:
        for step in range(100):
            log.record("train", step=step, loss=0.5)
    assert Path(caught.value.filename).parent in (tmp_path, tmp_path / "tensorboard")


def test_another_error_of_a_library_stays_what_it_is(tmp_path: Path) -> None:
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"), writing(tmp_path / "w"):
        save_file({"a": shared, "b": shared}, tmp_path / "w")
    assert machine_fault(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert machine_fault(KeyError("lost")) is None


def test_errors_of_the_system_are_told_by_their_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only") as caught, replaced(tmp_path / "a.json"):
        raise OSError(errno.EROFS, "Read-only file system")
    assert machine_fault(caught.value) == f"Read-only file system: {tmp_path / 'a.json'}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
            "not enough",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "not enough memory"),
        (RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. "), "process 77"),
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_9_1_0>: No space left on device (28)"),
            "--shm-size",
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
                "workers are out of shared memory. Please try to raise your limit"
            ),
            "/dev/shm, which is full",
        ),
        (RuntimeError("DataLoader worker (pid(s) 77, 78) exited unexpectedly"), "process 77, 78"),
    ],
)
def test_memory_and_dead_workers(error: Exception, said: str) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert said in fault
    assert "training." in fault
    assert "\n" not in fault


def test_a_deleted_working_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        os.getcwd()
    assert "folder in which this was called is gone" in str(machine_fault(caught.value))


def test_a_file_that_may_not_be_opened_is_not_called_missing(tmp_path: Path) -> None:
    """safetensors says of each file that it cannot open that it is not there."""
    (tmp_path / "w.safetensors").mkdir()
    for path, told in (
        (tmp_path / "w.safetensors", "Is a directory"),
        (tmp_path / "gone", "No such file or directory"),
    ):
        with pytest.raises(OSError, match="No such") as caught:
            raise FileNotFoundError(f"No such file or directory: {path}")
        assert machine_fault(caught.value) == f"{told}: {path}"
