from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event

from mibias_cli.training.run_log import RunLog
from mibias_cli.training.trackers.tensorboard import TensorBoard


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_is_cut_back_to_what_the_checkpoint_knows(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.record("train", step=1, loss=0.5)
        known = log.n_bytes()
        log.record("train", step=2, loss=0.25)
    assert known == len((tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0])
    with RunLog(tmp_path, keep_bytes=known) as log:
        log.record("train", step=2, loss=0.125)
    assert records(tmp_path) == [
        {"kind": "train", "step": 1, "loss": 0.5},
        {"kind": "train", "step": 2, "loss": 0.125},
    ]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.record("train", step=1, loss=float("nan"), other=float("inf"))
    assert records(tmp_path) == [{"kind": "train", "step": 1, "loss": None, "other": None}]


def test_tensorboard_reads_what_is_on_disk_at_once(tmp_path: Path) -> None:
    record_reader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    with RunLog(tmp_path, trackers=[TensorBoard(tmp_path / "tensorboard")]) as log:
        for step in (1, 2):
            log.record("train", step=step, loss=0.5 * step, text="no number")
        # read while the log is open, as TensorBoard does
        (path,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
        events = list(record_reader.RawEventFileLoader(str(path)).Load())
    parsed = [Event.FromString(event) for event in events]
    scalars = [(event.step, value.tag, value.simple_value) for event in parsed for value in event.summary.value]
    assert scalars == [(1, "train/loss", 0.5), (2, "train/loss", 1.0)]
