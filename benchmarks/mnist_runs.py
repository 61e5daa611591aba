"""What the coloured-MNIST benchmarks share: one training run by the package, and a CSV that knows which rows it has."""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mibias_cli import workflow
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe

__all__ = ["Table", "mean_and_spread", "measure", "run_recipe"]

RECIPE = Path(__file__).parent.parent / "recipes" / "colored_mnist.yaml"
AUDIT = (
    "evaluation.probes=[logistic, mlp]",
    "evaluation.max_samples=4000",
    "evaluation.n_permutations=0",
    "evaluation.n_bootstrap=100",
    "evaluation.random_control=false",
)
"""A cheap audit: two probe families on 4,000 digits, without controls."""


def measure(data: str, overrides: Sequence[str], seed: int) -> dict[str, float]:
    """Train the shipped recipe with some overrides, audit it, and give the figures that the tables need.

    Returns:
        `accuracy` of the trained head on random colours, `leakage_bits` and `conditional_leakage_bits` of the features
        by the strongest probe, `seconds` of training on one thread, and `step_ms`.
    """
    return run_recipe(RECIPE, [f"data.root={Path(data).resolve()}", *AUDIT, *overrides], seed)


def run_recipe(path: Path, overrides: Sequence[str], seed: int) -> dict[str, float]:
    """The same for any recipe whose attribute is called colour."""
    torch.set_num_threads(1)
    changes = [f"seed={seed}", "original=null", *overrides]
    recipe = parse_recipe(path.read_text(encoding="utf-8"), path=str(path), overrides=changes)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = workflow.train(recipe, out=out, resume=None, overwrite=False, offline=True, progress=Silent())
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [r for r in records if r["kind"] == "validation"][-1]
    colour, task = run.report["attributes"]["colour"]["after"], run.report["task"]["after"]
    return {
        "accuracy": task["head_accuracy"],
        "leakage_bits": colour["leakage_bits"]["estimate"],
        "conditional_leakage_bits": colour["conditional_leakage_bits"]["estimate"],
        "seconds": last["elapsed_seconds"],
        "step_ms": 1000 * last["elapsed_seconds"] / last["step"],
    }


class Table:
    """Rows in a CSV file, appended one by one, so that a benchmark that was stopped goes on where it was.

    Args:
        path: The file; made with its header if it is not there.
        keys: Columns that name a row.
        values: The others.
    """

    def __init__(self, path: Path, keys: Sequence[str], values: Sequence[str]) -> None:
        self.path, self.keys, self.values = path, tuple(keys), tuple(values)
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as f:
                self.rows = list(csv.DictReader(f))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as f:
                csv.writer(f).writerow([*self.keys, *self.values])

    def has(self, *key: object) -> bool:
        """Whether the row is there."""
        return any(tuple(row[k] for k in self.keys) == tuple(map(str, key)) for row in self.rows)

    def add(self, key: Sequence[object], figures: Mapping[str, float]) -> None:
        """Append a row."""
        row = dict(zip(self.keys, map(str, key), strict=True)) | {v: f"{figures[v]:.5g}" for v in self.values}
        with self.path.open("a", newline="", encoding="utf-8") as f:
            csv.writer(f).writerow([row[k] for k in (*self.keys, *self.values)])
        self.rows.append(row)

    def groups(self, *keys: str) -> dict[tuple[str, ...], list[dict[str, str]]]:
        """Rows that agree in some columns."""
        found: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self.rows:
            found.setdefault(tuple(row[k] for k in keys), []).append(row)
        return found


def mean_and_spread(rows: Sequence[Mapping[str, Any]], column: str, *, scale: float = 1.0, digits: int = 1) -> str:
    """`mean ± standard deviation` over rows; the mean alone where there is one row."""
    values = [scale * float(row[column]) for row in rows]
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
