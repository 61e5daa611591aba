"""Scalars for TensorBoard, in the run's folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from mibias_cli.output.machine import writing

__all__ = ["TensorBoard"]


class TensorBoard:
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

    def attach(self, name: str, folder: Path) -> None:
        """Nothing: report and export lie beside its folder."""

    def close(self, *, failed: bool) -> None:
        """Close the file; all is written already, so a disk that is full tells nothing new."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _add(self, event: Event) -> None:
        with writing(self._path):
            self._records.write(event.SerializeToString())
            self._records.flush()
