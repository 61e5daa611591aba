from __future__ import annotations

from mibias_cli.cli.output import dry_run_lines
from mibias_cli.run.dry_run import DryRun

FOUND: DryRun = {
    "splits": {"train": 1200, "audit": 30},
    "cells": {"train": {"place": {"land": {"day": 1000, "night": 20}, "water": {"day": 80, "night": 100}}}},
    "n_parameters": 1234567,
    "n_trainable": 1000,
    "steps": 300,
    "step_seconds": 0.25,
    "estimated_training_seconds": 7260.0,
    "peak_memory_bytes": 512 * 2**20,
}

GOLDEN = """\
train samples        1,200
audit samples        30
parameters           1,234,567
trainable            1,000
steps                300
seconds per step     0.250
training would take  2 h 01 min
peak memory          512 MiB

train: target × place
            day  night
   land   1,000     20
  water      80    100"""


def test_figures_first_then_the_cells() -> None:
    shown = "\n".join(dry_run_lines(FOUND))
    assert [line.split() for line in shown.splitlines()] == [line.split() for line in GOLDEN.splitlines()]


def test_a_wide_table_is_cut_with_a_note() -> None:
    row = {f"class {k}": k for k in range(20)}
    lines = list(dry_run_lines({**FOUND, "cells": {"train": {"c": {"y": row}}}}))
    assert lines[-1] == "  … and 8 more classes (--format json has them all)"
