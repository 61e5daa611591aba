from __future__ import annotations

import json
from pathlib import Path

from mibias_cli.training.run_log import RunLog, without_clock


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


def test_without_clock() -> None:
    record = {"loss": 1.0, "elapsed_seconds": 3.0, "samples_per_second": 9.0, "peak_bytes": 1}
    assert without_clock(record) == {"loss": 1.0}
