"""What the benchmarks share: training without report or export, its figures, and a CSV that knows which rows it has."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage_findings import AttributeFindings
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts, assemble, load_run_model
from mibias_cli.run.stages import Run, fit_debiased, fit_original
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.model import TaskModel

__all__ = [
    "NARROW",
    "PENALTY_ALONE",
    "WITHOUT_COPIES",
    "Point",
    "Table",
    "assembled",
    "audit_rows",
    "features_and_accuracy",
    "mean_and_spread",
    "measure",
    "run_recipe",
    "train_alone",
]

Point = tuple[float, float]
"""Seconds of training, and the accuracy that was reached."""
RECIPE = Path(__file__).parent.parent / "recipes" / "colored_mnist.yaml"
WITHOUT_COPIES = (
    "debias.mix=null",
    "representation.layers=[pool2]",
    "debias.bias_product=auto",
    "debias.weight=0.002",
    "debias.balance_by=draws",
    "debias.draw_share=0.125",
)
"""Against the recipe for coloured MNIST: what it was before copies, a product of experts and a small penalty."""
PENALTY_ALONE = (
    *WITHOUT_COPIES,
    "debias.bias_product=0",
    "debias.weight=1",
    "debias.recycle_every_steps=100",
    "debias.critic.steps=20",
    "training.beta1=0.5",
    "training.clip_norm=20",
    "training.average_decay=null",
    "training.epochs=10",
)
"""Against the recipe for coloured MNIST: the MI penalty without the product of experts, as it does best."""
NARROW = (
    "backbone.options={width: 16, hidden: 128, features: 64}",
    "training.precision=32",
    "training.channels_last=false",
)
"""A quarter of the paper's width, in single precision: where many short runs are compared."""
N_PROBED = 4000
"""Audited digits on which probes are fitted and scored, half of them each."""
N_HEAD_ROWS = 500


CURVE_ROWS = 5000
"""Audited digits by which the accuracy after each epoch is told."""


def measure(data: str, overrides: Sequence[str], seed: int, curve: list[Point] | None = None) -> dict[str, float]:
    """Train the shipped recipe for coloured MNIST with some overrides, and give the figures that the tables need."""
    return run_recipe(RECIPE, [f"data.root={Path(data).resolve()}", "original=null", *overrides], seed, curve)


def run_recipe(path: Path, overrides: Sequence[str], seed: int, curve: list[Point] | None = None) -> dict[str, float]:
    """Train a recipe whose attribute is called colour, on one thread, and probe the audited split.

    Args:
        path: The recipe.
        overrides: `KEY=VALUE` texts.
        seed: The run's seed.
        curve: Where given, a point is appended for every epoch: seconds of training, accuracy on audited digits.

    Returns:
        `accuracy` of the trained head on all audited digits, which have random colours; `leakage_bits` and
        `conditional_leakage_bits` of the features by the stronger of a logistic and an MLP probe; `seconds` of
        training, and `step_ms`.
    """
    torch.set_num_threads(1)
    recipe = parse_recipe(path.read_text(encoding="utf-8"), path=str(path), overrides=[f"seed={seed}", *overrides])
    parts = assembled(recipe)
    model, records = train_alone(parts, curve)
    data = parts.data
    z, accuracy = features_and_accuracy(model, data.audit)
    rows = np.random.default_rng(seed).permutation(len(z))[:N_PROBED]
    settings = AuditSettings(probes=("logistic", "mlp"), n_permutations=0, n_bootstrap=100)
    found = audit_rows(data, "colour", z, rows, settings, seed=seed).after
    assert found.conditional_leakage_bits is not None
    last = [r for r in records if r["kind"] == "validation"][-1]
    return {
        "accuracy": accuracy,
        "leakage_bits": found.leakage_bits.estimate,
        "conditional_leakage_bits": found.conditional_leakage_bits.estimate,
        "seconds": last["elapsed_seconds"],
        "step_ms": 1000 * last["elapsed_seconds"] / last["step"],
    }


_held: dict[str, Parts] = {}


def assembled(recipe: Recipe) -> Parts:
    """A recipe's parts. Data and backbone are kept while runs have the same: painting 70,000 digits takes a while."""
    key = recipe.model_dump_json(include={"data", "backbone", "seed"})
    if key not in _held:
        _held.clear()
        _held[key] = assemble(recipe, offline=True)
    return replace(_held[key], recipe=recipe)


class _Snapshots(Silent):
    """Keeps what each epoch saved, so that it can be looked at once the clock has stopped."""

    def __init__(self, saved: Path) -> None:
        self._saved, self._time = saved, 0
        self.kept: list[Path] = []

    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        self.look()

    def look(self) -> None:
        time = self._saved.stat().st_mtime_ns if self._saved.exists() else 0
        if time != self._time:
            self._time = time
            self.kept.append(self._saved.with_name(f"{len(self.kept)}.safetensors"))
            shutil.copy(self._saved, self.kept[-1])


def train_alone(parts: Parts, curve: list[Point] | None = None) -> tuple[TaskModel, list[dict[str, Any]]]:
    """A recipe's training stages on the CPU, without report or export: the model, and what the stages logged.

    With `curve`, a list to which the last stage's epochs are appended: (seconds, accuracy on audited rows) each.
    """
    parts = replace(parts, fabric=make_fabric("cpu", parts.recipe.training.precision, deterministic=True))
    with tempfile.TemporaryDirectory() as folder:
        saved = RunFolder(Path(folder))
        snapshots = _Snapshots(saved.best)
        run = Run(folder=saved, progress=Silent() if curve is None else snapshots)
        with run.log() as log:
            fit_debiased(parts, run, log, start=fit_original(parts, run, log))
        records = [json.loads(line) for line in saved.metrics.read_text(encoding="utf-8").splitlines()]
        if curve is not None:
            snapshots.look()
            seconds = [r["elapsed_seconds"] for r in records if r["kind"] == "validation" and r["stage"] == "debias"]
            rows = np.arange(len(parts.data.audit))[:CURVE_ROWS]
            for elapsed, path in zip(seconds, snapshots.kept, strict=True):
                model = load_run_model(parts, path).eval()
                curve.append((elapsed, features_and_accuracy(model, parts.data.audit, rows)[1]))
        return load_run_model(parts, saved.best).eval(), records


def features_and_accuracy(model: TaskModel, split: Split, rows: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Features (n, d) of a split or some of its rows, and the share of them that the trained head gets right."""
    z = embed(model.extractor, split, batch_size=500, rows=rows).features
    with torch.no_grad():
        predicted = model.head(torch.from_numpy(z)).argmax(dim=1).numpy()
    return z, float((predicted == (split.y if rows is None else split.y[rows])).mean())


def audit_rows(
    data: BiasedData, name: str, z: np.ndarray, rows: np.ndarray, settings: AuditSettings, *, seed: int
) -> AttributeFindings:
    """The audit of one attribute from features (n, d) of the audited split, on some of its rows."""
    attribute, split = data.attributes[name], data.audit
    audited = AuditedAttribute(
        name=name, channels=attribute.channels, class_names=attribute.class_names, c=split.c[name][rows],
        known=split.known[name][rows],
    )  # fmt: skip
    head_rows = rows[:N_HEAD_ROWS]  # a task head is fitted on them, which nobody asks for here
    given = AuditInput(
        before=None, after=Features(train=z[head_rows], audit=z[rows]), train_y=split.y[head_rows],
        audit_y=split.y[rows], class_names=data.class_names, attributes=(audited,),
    )  # fmt: skip
    return audit(given, settings, seed=seed, progress=Silent()).attributes[name]


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
