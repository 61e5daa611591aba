"""The folder of a run: where each of its files is, when and by whom it may be written, and which machine wrote it."""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from mibias_cli.errors import RunError
from mibias_cli.output.whole_files import NO_FILE, is_leftover, is_no_file, remove_leftovers, write_atomically

__all__ = [
    "CHOICE",
    "GAIN",
    "GAIN_ERROR",
    "LEAKAGE_GIVEN_TARGET",
    "NO_SIGNAL",
    "OWNED",
    "RECIPE_FILE",
    "WARNING",
    "RunFolder",
    "changed_environment",
    "check_free",
    "claim_run_folder",
    "claimed_folder",
    "clean_run_folder",
    "fresh_folder",
    "has_locks",
    "holds_nothing",
    "is_locked",
    "is_run",
    "lock_run",
    "refuse_devices",
    "timestamp",
    "write_environment",
]

RECIPE_FILE = "recipe.resolved.yaml"
CHOICE = "choice"
"""Kind of the last record in metrics.jsonl, written after training: by what one run is chosen over others."""
WARNING = "warning"
"""Kind of the records in metrics.jsonl that say what the user should heed of a stage."""
NO_SIGNAL = "the penalty had no signal"
"""Words of such a record that a report leaves out where less leaks than before."""
GAIN, GAIN_ERROR = "validation/gain_over_bias_bits", "validation/gain_over_bias_error_bits"
"""What the scores add to what the attributes tell of the target, on validation rows, and its standard error."""
LEAKAGE_GIVEN_TARGET = "validation/leakage_given_target_bits"
"""That of the choice: leakage of the debiased attributes beyond what the target says of them, on validation rows."""
OWNED = (
    RECIPE_FILE,
    "start.json",
    "environment.json",
    "metrics.jsonl",
    "train.log",
    "tensorboard",
    "trackers.json",
    "mlruns",
    "wandb",
    "checkpoints",
    "discovered.safetensors",
    "report",
    "export",
)
"""What a run writes into its folder; `--overwrite` removes these and nothing else."""

_LOCK = ".lock"
"""Locked while a process writes the run, and names that process; it stays, empty, when the run has ended."""
_held: set[Path] = set()
"""Runs that this process writes: to the system, the locks of one process never exclude each other."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "scikit-learn", "safetensors", "pydantic")


class RunFolder:
    """Where each file of a run is. Everything that reads or writes a run asks here, so that a name stands in one place.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # the recipe with every default filled in, and the machine and versions that ran it
        self.recipe = path / RECIPE_FILE
        # recipe, and fingerprints of data and weights, as the run was begun with: a resumed one has the same
        self.start = path / "start.json"
        self.environment = path / "environment.json"
        # clusters that stand in for an unknown bias: found once, then read by every later command
        self.discovered = path / "discovered.safetensors"
        self.metrics = path / "metrics.jsonl"
        # the whole training state (for resuming), and the weights of each stage that later steps read
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.pt"
        self.original = self.checkpoints / "original.safetensors"
        self.best = self.checkpoints / "best.safetensors"
        self.erased = self.checkpoints / "erased.safetensors"
        # what the run is for
        self.report = path / "report"
        self.leakage = self.report / "leakage.json"
        self.export = path / "export"


def timestamp() -> str:
    """The present time as a folder name, UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / RECIPE_FILE).is_file()


def refuse_devices(folder: Path) -> None:
    """Raise a RunError where a device, a pipe or a socket stands among the files of a run, an export or a report."""
    run = RunFolder(folder)
    for path in (inner for place in (folder, run.checkpoints, run.report, run.export) for inner in place.glob("*")):
        if is_no_file(path):
            raise RunError(f"{path}: {NO_FILE}; remove it, or put the file back")


def holds_nothing(folder: Path) -> bool:
    """Whether a folder is not there, or empty but for what a killed process left: its lock, files never whole."""
    return not folder.exists() or all(path.name == _LOCK or is_leftover(path.name) for path in folder.iterdir())


@contextmanager
def lock_run(folder: Path) -> Iterator[bool]:
    """Make a folder, and keep every other writer out of it while the block runs.

    The system releases the lock when the process ends, however it ends; it holds across machines on network file
    systems (fcntl).

    Yields:
        Whether the file system has locks at all.

    Raises:
        RunError: Another process, or this one, writes the run already.
    """
    _refuse_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    with (place / _LOCK).open("a+b") as file:
        has_locks = _take(file, folder)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()} since {timestamp()} (UTC)\n".encode())
        file.flush()
        _held.add(place)
        try:
            yield has_locks
        finally:
            # who is refused reads it: it must name no process that has ended
            file.truncate(0)
            _held.discard(place)


def _refuse_own(folder: Path) -> None:
    if folder.resolve() in _held:
        raise RunError(f"{folder}: process {os.getpid()}, this one, writes this run already; wait until it ends")


def _take(file: BinaryIO, folder: Path) -> bool:
    """Lock an open lock file until it is closed; False where the file system cannot."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        file.seek(0)
        who = file.read(200).decode(errors="replace").strip() or "another process"
        raise RunError(f"{folder}: {who} writes this run; wait until it ends, or choose another --out") from error
    return True


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder that is there has locks, without which nothing keeps two writers apart."""
    with (folder / _LOCK).open("a+b") as file:
        try:
            # shared, so that all who ask at a time get it
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _NO_LOCKS
    return True


def is_locked(folder: Path) -> bool:
    """Whether another process writes a run; nothing is touched."""
    try:
        _refuse_locked(folder)
    except RunError:
        return True
    except OSError:  # another user's lock, which says nothing
        return False
    return False


def _refuse_locked(folder: Path) -> None:
    lock = folder / _LOCK
    # closing it again gives the lock back
    if lock.is_file():
        with lock.open("r+b") as file:
            _take(file, folder)


def check_free(folder: Path, *, new: bool, overwrite: bool) -> None:
    """Look whether a run may be written into a folder, and touch nothing: what can be said before data are loaded.

    Args:
        new: Whether it is to be a new run, not one that is resumed.

    Raises:
        RunError: It may not: another process writes it, or it holds what was not to be replaced.
    """
    refuse_devices(folder)
    if not new and not is_run(folder):
        raise RunError(f"{folder}: is not a run (it has no {RECIPE_FILE}), so there is nothing to resume")
    _refuse_own(folder)
    _refuse_locked(folder)
    if new:
        _check_replaceable(folder, overwrite=overwrite)


def claim_run_folder(folder: Path, *, overwrite: bool) -> None:
    """Make a folder ready for a new run.

    Raises:
        RunError: The folder holds something, and either it is not a run or overwriting was not asked for.
    """
    _check_replaceable(folder, overwrite=overwrite)
    # only what a run writes: the user's own files beside it stay; the recipe, by which it is known as a run, is last
    for name in reversed(OWNED):
        path = folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)
    clean_run_folder(folder)


def _check_replaceable(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another folder with --out")
    if not holds_nothing(folder):
        if not overwrite:
            raise RunError(
                f"{folder}: exists already; choose another --out, continue it with --resume, or pass --overwrite"
            )
        if not is_run(folder):
            raise RunError(f"{folder}: is not empty and is not a run: nothing in it was touched; choose another --out")


def fresh_folder(parent: Path, name: str) -> Path:
    """`parent/name`, or where that exists `parent/name-2`, `name-3`, …: a new report never covers an old one."""
    candidate, n = parent / name, 2
    while candidate.exists():
        candidate, n = parent / f"{name}-{n}", n + 1
    return candidate


def claimed_folder(folder: Path, *, shared: bool) -> Path:
    """A folder that is made for one command alone; where another has made it meanwhile, the next free name beside it.

    Args:
        shared: Whether it may be one that is there already.
    """
    wanted = folder
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=shared)
        except FileExistsError:
            folder = fresh_folder(wanted.parent, wanted.name)
        else:
            return folder


def write_environment(folder: Path, *, device: str, precision: str) -> None:
    """environment.json: versions, machine and precision, for reading a run later; no host name, user or path."""
    environment = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "n_cpus": os.cpu_count(),
        "device": device,
        "precision": precision,
        "packages": _versions(),
    }
    write_atomically(RunFolder(folder).environment, json.dumps(environment, indent=2) + "\n")


def changed_environment(folder: Path, *, device: str, precision: str) -> list[str]:
    """What differs between the environment that a run was begun in and the present one; [] where it is not known."""
    try:
        begun = json.loads(RunFolder(folder).environment.read_text(encoding="utf-8"))
        old = {"device": begun["device"], "precision": begun["precision"], **begun["packages"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    new = {"device": device, "precision": precision, **_versions()}
    return [f"{name} {old[name]} → {value}" for name, value in new.items() if old.get(name, value) != value]


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("mibias", *PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def clean_run_folder(folder: Path) -> None:
    """Remove what a kill left of files that were never whole; the run's lock is held."""
    run = RunFolder(folder)
    remove_leftovers(run.path, run.checkpoints, run.report)
    # as older versions called them
    for path in run.checkpoints.glob("*.partial"):
        path.unlink()
