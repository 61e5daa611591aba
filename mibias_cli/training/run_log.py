"""What a run writes while it trains: metrics.jsonl and train.log, and what its trackers are told."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from mibias_cli.errors import RunError
from mibias_cli.output.machine import writing
from mibias_cli.output.text import one_line
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.trackers.tracker import Tracker

__all__ = ["NoLog", "RunLog", "check_metrics"]

Scalar = str | int | float | None


class RunLog:
    """Appends records to metrics.jsonl, and gives their numbers to trackers, which it closes with itself.

    On resume metrics.jsonl is cut back to `keep_bytes`: what the checkpoint knows of (see `check_metrics`).
    """

    def __init__(self, folder: Path, *, keep_bytes: int = 0, trackers: Sequence[Tracker] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        check_metrics(folder, keep_bytes)
        path = RunFolder(folder).metrics
        # what was written after the checkpoint will be written again
        path.touch()
        with path.open("r+b") as f:
            f.truncate(keep_bytes)
        self._metrics = path.open("a", encoding="utf-8")
        self._lines = (folder / "train.log").open("a" if keep_bytes else "w", encoding="utf-8")
        self._trackers = tuple(trackers)
        self._folder = folder

    def record(self, kind: str, *, step: int, **values: Scalar) -> None:
        """One line of metrics.jsonl, where what is not finite becomes null, and its numbers to the trackers."""
        line: dict[str, Scalar] = {"kind": kind, "step": step}
        for key, value in values.items():
            line[key] = None if isinstance(value, float) and not math.isfinite(value) else value
        # flushed line by line: whoever watches a run reads the file as it grows
        with writing(RunFolder(self._folder).metrics):
            self._metrics.write(json.dumps(line, allow_nan=False) + "\n")
            self._metrics.flush()
        # both stages count their steps from 1: the original's curves have names of their own
        kind = f"original/{kind}" if values.get("stage") == "original" else kind
        numbers = {f"{kind}/{key}": float(value) for key, value in values.items() if _is_number(value)}
        for tracker in self._trackers:
            tracker.write(step, numbers)

    def attach(self, name: str, folder: Path) -> None:
        """A folder of the finished run, `report` or `export`, to the trackers."""
        for tracker in self._trackers:
            tracker.attach(name, folder)

    def line(self, text: str) -> None:
        """A line of train.log."""
        with writing(self._folder / "train.log"):
            self._lines.write(one_line(text) + "\n")
            self._lines.flush()

    def n_bytes(self) -> int:
        """Length of metrics.jsonl so far, safe on disk."""
        with writing(RunFolder(self._folder).metrics):
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        return os.fstat(self._metrics.fileno()).st_size

    def close(self, *, failed: bool = False) -> None:
        """Close the files; all is written already, so a disk that is full tells nothing new."""
        for file in (self._metrics, self._lines):
            with contextlib.suppress(OSError):
                file.close()
        for tracker in self._trackers:
            tracker.close(failed=failed)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)


class NoLog(RunLog):
    """Writes nothing: the log of every rank but the first."""

    def __init__(self) -> None:
        """There is no file."""

    def record(self, kind: str, *, step: int, **values: Scalar) -> None: ...
    def line(self, text: str) -> None: ...
    def attach(self, name: str, folder: Path) -> None: ...
    def close(self, *, failed: bool = False) -> None: ...


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_metrics(folder: Path, keep_bytes: int) -> None:
    """Refuse (RunError) a metrics.jsonl that lacks records which a checkpoint knows of; longer ones are cut back."""
    path = RunFolder(folder).metrics
    if not keep_bytes:
        return
    found = path.stat().st_size if path.is_file() else 0
    if found >= keep_bytes:
        with path.open("rb") as file:
            file.seek(keep_bytes - 1)
            if file.read(1) == b"\n":
                return
    what = f"has {found:,} bytes" if 0 < found < keep_bytes else "was changed" if found else "is missing or empty"
    raise RunError(
        f"{path}: {what}, but the last checkpoint knows of {keep_bytes:,} bytes of it; put it back as it was, or train "
        "anew with another --out"
    )
