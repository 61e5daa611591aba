"""What a run writes while it trains: metrics.jsonl, TensorBoard events and train.log."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard, TypeVar

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from mibias_cli.errors import RunError
from mibias_cli.output.machine import writing
from mibias_cli.output.text import one_line
from mibias_cli.run_folder import RunFolder

__all__ = ["CLOCK_SUFFIXES", "NoLog", "RunLog", "check_metrics", "without_clock"]


CLOCK_SUFFIXES = ("_seconds", "_per_second", "_bytes")
"""Keys that end so depend on the clock or the machine; everything else is a function of recipe and seed."""

Scalar = str | int | float | None
_Value = TypeVar("_Value")


class RunLog:
    """Appends records to metrics.jsonl and scalars to TensorBoard.

    On resume metrics.jsonl is cut back to `keep_bytes`: what the checkpoint knows of (see `check_metrics`).
    """

    def __init__(self, folder: Path, *, keep_bytes: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        check_metrics(folder, keep_bytes)
        path = RunFolder(folder).metrics
        # what was written after the checkpoint will be written again
        path.touch()
        with path.open("r+b") as f:
            f.truncate(keep_bytes)
        self._metrics = path.open("a", encoding="utf-8")
        self._lines = (folder / "train.log").open("a" if keep_bytes else "w", encoding="utf-8")
        self._tensorboard = _Events(folder / "tensorboard")
        self._folder = folder

    def record(self, kind: str, *, step: int, **values: Scalar) -> None:
        """One line of metrics.jsonl, and its numbers to TensorBoard; what is not finite becomes null."""
        line: dict[str, Scalar] = {"kind": kind, "step": step}
        for key, value in values.items():
            line[key] = None if isinstance(value, float) and not math.isfinite(value) else value
        # flushed line by line: whoever watches a run reads the file as it grows
        with writing(RunFolder(self._folder).metrics):
            self._metrics.write(json.dumps(line, allow_nan=False) + "\n")
            self._metrics.flush()
        numbers = {f"{kind}/{key}": float(value) for key, value in values.items() if _is_number(value)}
        self._tensorboard.write(step, numbers)

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

    def close(self) -> None:
        """Close the files; all is written already, so a disk that is full tells nothing new."""
        for file in (self._metrics, self._lines, self._tensorboard):
            with contextlib.suppress(OSError):
                file.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NoLog(RunLog):
    """Writes nothing: the log of every rank but the first."""

    def __init__(self) -> None:
        """There is no file."""

    def record(self, kind: str, *, step: int, **values: Scalar) -> None: ...
    def line(self, text: str) -> None: ...
    def close(self) -> None: ...


class _Events:
    """Scalars as TensorBoard reads them, written at once.

    Its own writer has a thread, for which an interrupted program may wait two minutes, and hides what a disk says.
    """

    def __init__(self, folder: Path) -> None:
        with writing(folder):
            folder.mkdir(exist_ok=True)
            # TensorBoard looks for this beginning, and reads files of one folder in the order of their names
            self._path = folder / f"events.out.tfevents.{time.time_ns() // 1000:016d}.{os.getpid()}"
            self._file = self._path.open("wb")
            self._records = RecordWriter(self._file)
            self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The scalars of one step, by their names."""
        if numbers:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
            self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, event: Event) -> None:
        with writing(self._path):
            self._records.write(event.SerializeToString())
            self._records.flush()


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


def without_clock(record: Mapping[str, _Value]) -> dict[str, _Value]:
    """A record without what depends on the clock or the machine."""
    return {k: v for k, v in record.items() if not k.endswith(CLOCK_SUFFIXES)}
