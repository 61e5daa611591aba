"""The processes of a sweep: which points are its own, on which GPU each is trained, and how it ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mibias_cli.errors import RunError
from mibias_cli.run_folder import OWNED, RunFolder, is_locked, lock_run

__all__ = ["Point", "claim_of", "gpu_slots", "is_finished", "run_all"]

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_END = 2.0
"""How long runs may take to end when their sweep is stopped: less than the sweep itself has."""
FINISHED_CODES = (0, 1)
"""Exit codes of `train` that leave a finished run: all well, or a gate failed."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep: its folder's name, and the overrides that make its recipe."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Running:
    """What a process trains, in which slot, and what keeps other sweeps from it."""

    point: Point
    slot: str
    claim: ExitStack


def is_finished(folder: Path) -> bool:
    """Whether a run has its report and its export: the last things that `train` writes, each whole or not at all."""
    run = RunFolder(folder)
    return run.leakage.is_file() and run.export.is_dir()


def _command(recipe: Path, point: Point, out: Path, overrides: Sequence[str], options: Sequence[str]) -> list[str]:
    """Resume where there is a checkpoint, else begin anew; a run without one has nothing to lose."""
    folder = out / point.name
    start = [sys.executable, "-m", "mibias_cli.cli", "train", *options]
    if RunFolder(folder).last.is_file():
        return [*start, "--resume", str(folder)]
    settings = [part for text in (*overrides, *point.overrides) for part in ("--set", text)]
    again = ["--overwrite"] if any((folder / name).exists() for name in OWNED) else []
    return [*start, str(recipe), "--out", str(folder), *again, *settings]


def run_all(
    recipe: Path,
    todo: Sequence[Point],
    out: Path,
    overrides: Sequence[str],
    options: Sequence[str],
    slots: Sequence[str],
) -> Iterator[tuple[Point, str]]:
    """Each point as its process ends, with what went wrong, or an empty text; one process at a time in every slot.

    A point that another process has finished since is given without a process; one that it is at is left out.
    """
    waiting, free = list(todo), list(slots)
    running: dict[subprocess.Popen[bytes], _Running] = {}
    # the audits of several runs share the processors too
    options = [*options, *(("--jobs", str(_share(len(slots)))) if len(slots) > 1 else ())]
    try:
        while waiting or running:
            # keep a process going in every slot, and look at them five times a second
            while waiting and free:
                point, claim = waiting.pop(0), ExitStack()
                if not _is_ours(point, out, claim):
                    continue
                if is_finished(out / point.name):
                    claim.close()
                    yield point, ""
                    continue
                slot = free.pop(0)
                command = _command(recipe, point, out, overrides, options)
                process = _start(command, _log(out, point), _environment(len(slots), slot))
                running[process] = _Running(point=point, slot=slot, claim=claim)
            ended = [process for process in running if process.poll() is not None]
            for process in ended:
                done = running.pop(process)
                done.claim.close()
                free.append(done.slot)
                folder = out / done.point.name
                problem = _problem(process.returncode, folder, _log(out, done.point))
                # one that outlived a sweep that was killed may lock its run only after this one began
                if not problem or not is_locked(folder):
                    yield done.point, problem
            if not ended:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        # an interrupt, or a fault of our own, ends what is still training
        _stop(running)


def claim_of(point: Point, out: Path) -> Path:
    """The folder whose lock a sweep holds as long as it is at a point, its own training included."""
    return out / "logs" / ".claims" / point.name


def _is_ours(point: Point, out: Path, claim: ExitStack) -> bool:
    """Keep other sweeps from a point until the claim is closed or this process ends; False: another process has it.

    That may be another sweep, a `train` of the user's own, or one that outlived a sweep that was killed.
    """
    try:
        # the run's own lock is only looked at, for its process takes it
        claim.enter_context(lock_run(claim_of(point, out)))
        with lock_run(out / point.name):
            return True
    except RunError:
        claim.close()
        return False


def gpu_slots(jobs: int, n_each: int) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` is to be for each of so many jobs, of `n_each` GPUs; empty texts: as it is.

    GPUs are dealt out in turn; where there are not enough for two jobs, all share those that there are.
    """
    if jobs == 1:
        return [""]
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        import torch

        given = ",".join(map(str, range(torch.cuda.device_count())))
    gpus = [name.strip() for name in given.split(",") if name.strip()]
    dealt = [",".join(gpus[k : k + n_each]) for k in range(0, len(gpus) - n_each + 1, n_each)]
    return [dealt[k % len(dealt)] if len(dealt) > 1 else "" for k in range(jobs)]


def _log(out: Path, point: Point) -> Path:
    return out / "logs" / f"{point.name}.log"


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=dict(environment)
        )


def _environment(jobs: int, slot: str = "") -> dict[str, str]:
    """As it is; several jobs share processors and GPUs, unless the user has said how many threads each may have."""
    environment = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": slot} if slot else {})
    # the job's own summary and annotations would be told once for every run
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        environment.pop(name, None)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(_share(jobs)))
    return environment


def _share(jobs: int) -> int:
    """Processors for each of so many jobs."""
    return max(1, (os.cpu_count() or 1) // jobs)


def _problem(code: int, folder: Path, log: Path) -> str:
    if code in FINISHED_CODES and is_finished(folder):
        return ""
    # the last line is the error's own; a traceback's too
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return f"ended with exit code {code}: {said} (all of it: {log})"


def _stop(running: Collection[subprocess.Popen[bytes]]) -> None:
    """End what still runs, and wait for it: no process outlives its sweep."""
    for process in running:
        with contextlib.suppress(OSError):
            process.terminate()
    until = time.monotonic() + _SECONDS_TO_END
    for process in running:
        try:
            process.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
