"""How long a run over a large Parquet manifest takes to start, and how much memory.

python benchmarks/big_manifest.py [--rows 10000000] [--train]

It writes a manifest of so many rows, whose paths are those of a few hundred small images over and over (those of one
split in no other), and runs `mibias train --dry-run` on it in a process of its own; with `--train`, `mibias train` up
to its first steps. One JSON line: rows, seconds by the clock, seconds of the CPU, peak memory in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

N_IMAGES = 300
PART = 1_000_000
RECIPE = """\
version: 1
name: big_manifest
data:
  source: manifest
  path: {path}
  columns: {{ path: path, target: label, split: split }}
  attributes: {{ sex: {{ column: sex, kind: categorical }} }}
backbone: {{ name: test_resnet, input_size: 32, weights: none }}
debias: {{ estimator: closed_form, weight: 0.1 }}
training: {{ epochs: 1, batch_size: 64 }}
"""


def write_manifest(folder: Path, n_rows: int, seed: int = 0) -> Path:
    """A Parquet file of n rows, 98 of 100 for training, and the images that it names."""
    draw = np.random.default_rng(seed)
    (folder / "images").mkdir()
    for k in range(N_IMAGES):
        Image.fromarray(draw.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(folder / "images" / f"{k:08d}.png")
    names = np.array([f"images/{k:08d}.png" for k in range(N_IMAGES)])
    path = folder / "manifest.parquet"
    schema = pa.schema([(name, pa.string()) for name in ("path", "label", "sex", "split")])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_rows, PART):
            row = np.arange(start, min(start + PART, n_rows))
            y = draw.integers(0, 3, len(row))
            c = np.where(draw.random(len(row)) < 0.9, y % 2, 1 - y % 2)
            split = np.where(row % 100 < 98, 0, row % 100 - 97)
            # a third of the images for each split
            columns = {
                "path": names[split * (N_IMAGES // 3) + row // 100 % (N_IMAGES // 3)],
                "label": np.array(["a", "b", "c"])[y],
                "sex": np.array(["f", "m"])[c],
                "split": np.array(["train", "validation", "test"])[split],
            }
            writer.write_table(pa.table(columns, schema=schema))
    return path


def measured(command: list[str], until: str | None) -> dict[str, float]:
    """Runs a command, or ends it as soon as a line of its messages matches; raises if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    stopped = False
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        if until is not None and not stopped and re.search(until, line):
            seconds, stopped = time.monotonic() - began, True
            process.terminate()
    # wait4 and not wait: it tells the memory of this one process
    _, status, used = os.wait4(process.pid, 0)
    if not stopped:
        seconds = time.monotonic() - began
        if status:
            raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    """Write the manifest, start a run on it, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--train", action="store_true", help="mibias train up to its first steps, and not the dry run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE.format(path=write_manifest(folder, args.rows)))
        command, run = [sys.executable, "-m", "mibias_cli.cli", "train", str(recipe)], folder / "run"
        command += ["--out", str(run)] if args.train else ["--dry-run"]
        found = measured(command, r"debias \d+/\d+" if args.train else None)
    print(json.dumps({"command": "train" if args.train else "train --dry-run", "rows": args.rows, **found}))


if __name__ == "__main__":
    main()
