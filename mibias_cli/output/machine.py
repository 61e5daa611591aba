"""What a machine did, in words: a full disk, too little memory, a process that was killed; no fault of this program."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NOWHERE", "is_nowhere", "machine_fault", "writing"]

NOWHERE = "the folder in which this was called is gone; change to another one (cd)"

_PROBE_BYTES = 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch raises RuntimeError for these, with texts that are stable for years
_MEMORY = ("DefaultCPUAllocator", "not enough memory", "CUDA out of memory", "can't allocate memory", "std::bad_alloc")
_SHARED = ("unable to allocate shared memory", "out of shared memory")
_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write a file or folder: an error of the disk names it, also where a library hides what the system said.

    Raises:
        OSError: The system's error, with a file name.
    """
    try:
        yield
    except OSError as error:
        # a name that is on its way is not the one that anybody knows
        if error.filename is None or ".partial" in str(error.filename):
            error.filename = str(path)
        # pyarrow says over several sentences what the system says in two words
        if error.errno is not None:
            error.strerror = os.strerror(error.errno)
        raise
    except Exception as error:
        # torch and safetensors have errors of their own for a full disk; asking it again tells
        fault = _ask(path)
        if fault is None:
            raise
        raise fault from error


def _ask(path: Path) -> OSError | None:
    """Why nothing can be written where a path is, or None."""
    place = path if path.is_dir() else path.parent
    # called as leftovers are: a kill in between must leave nothing that stays
    probe = place / f".probe.{secrets.token_hex(4)}.partial"
    try:
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, error.strerror, str(path))
    finally:
        probe.unlink(missing_ok=True)
    return None


def machine_fault(error: BaseException) -> str | None:
    """What the machine did, with what to do about it, on one line; None where it is another kind of error."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and error.errno is None:
        error = _opened_again(error)
    if isinstance(error, OSError) and error.strerror:
        return _of_system(error)
    if isinstance(error, MemoryError) or any(mark in text for mark in _MEMORY):
        return (
            "not enough memory. Lower training.batch_size or backbone.input_size, take fewer or smaller data, or use a "
            "machine with more"
        )
    if any(mark in text for mark in _SHARED):
        return (
            "processes that read data (training.num_workers) pass batches on in /dev/shm, which is full: give it more "
            "(docker run --shm-size 8g), lower training.num_workers or training.batch_size, or set num_workers to 0"
        )
    if found := _WORKER.search(text):
        return (
            f"a process that reads data (training.num_workers) was ended from outside, process {found[1].strip()}; "
            "with too little memory the system does that: lower training.num_workers, or set it to 0"
        )
    return None


def _opened_again(error: FileNotFoundError) -> OSError:
    """The system's own error of a file that safetensors could not open: it calls every one of them missing."""
    try:
        with Path(str(error).rpartition(": ")[2]).open("rb"):
            return error
    except OSError as told:
        return told


def _of_system(error: OSError) -> str:
    if error.errno == errno.ENOENT and error.filename is None and is_nowhere():
        return NOWHERE
    names = [str(name) for name in (error.filename, error.filename2) if name]
    told = f"{error.strerror}{f': {names[0]}' if names else ''}"
    return f"{told}; make room on its disk and try again" if error.errno in _FULL else told


def is_nowhere() -> bool:
    """Whether the working folder is gone, in which libraries of torch's end the process without a word of ours."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
