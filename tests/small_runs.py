"""A whole run that is small enough for a test, and what tests look at in it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report import html
from mibias_cli.run import stages, workflow
from mibias_cli.run.heads import fitted
from mibias_cli.training.loop import StageTrainer

__all__ = [
    "PICTURES",
    "TINY",
    "best",
    "metrics",
    "pictures",
    "recipe_for_numbers",
    "same",
    "shorten_last_fit",
    "stop_at_step",
    "tiny",
    "train_alone",
    "trained",
]

TINY = """
version: 1
name: tiny
data: {source: digits, variance: 0.05, size: 28}
backbone: {name: digit_cnn, options: {width: 4, hidden: 16, features: 8}}
representation: {layers: [pool2]}
original: {epochs: 1}
debias: {weight: 0.5, queue_batches: 4, critic: {steps: 2, hidden: [16]}}
training: {epochs: 3, batch_size: 128, log_every_steps: 2, device: cpu}
evaluation: {probes: [logistic], n_bootstrap: 100}
"""


PICTURES = """
version: 1
name: frozen
data:
  source: {source}
  {files}
  attributes: {{background: {{}}}}
  columns: {{target: shape, split: split}}
backbone: {{name: test_resnet, input_size: 32, train: none}}
representation: {{bottleneck: 8}}
original: {{epochs: 1}}
debias: {{weight: 0.5, queue_batches: 4, critic: {{steps: 1, hidden: [16]}}}}
training: {{epochs: 2, batch_size: 32, log_every_steps: 1, device: cpu}}
evaluation: {{probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}}
"""


def tiny(*overrides: str) -> Recipe:
    return parse_recipe(TINY, path="tiny.yaml", overrides=overrides)


def trained(recipe: Recipe, out: Path, *, maps: bool = False, **options: Any) -> workflow.TrainedRun:
    """A whole run; without `maps` its page has no confusion maps, which take a quarter of its time with ten digits."""
    arguments: dict[str, Any] = {"resume": None, "overwrite": False, "offline": True, "progress": Silent()} | options
    with pytest.MonkeyPatch.context() as patch:
        if not maps:
            patch.setattr(html, "confusion_plot", lambda *_, **__: "")
        return workflow.train(recipe, out=out, **arguments)


def train_alone(recipe: Recipe, out: Path, **options: Any) -> Path:
    """A run that ends before its audit, which takes several times as long: enough for weights and metrics."""

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "write_audit", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(recipe, out, **options)
    return options.get("resume") or out


def metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run, but for what depends on the clock or the machine: all else is of recipe and seed."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of_clock = ("_seconds", "_per_second", "_bytes")
    return [{key: value for key, value in record.items() if not key.endswith(of_clock)} for record in records]


def best(run: Path, name: str = "best") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{name}.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def shorten_last_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps, for tests to which their number is nothing; 100 are one record."""
    for module in (fitted, stages):
        monkeypatch.setattr(module, "N_STEPS", 100)
    monkeypatch.setattr(fitted, "PATH_STEPS", 20)


def stop_at_step(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Interrupt the next run at its n-th step, the original stage's included."""
    calls = 0
    real = StageTrainer._step

    def stopping(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(StageTrainer, "_step", stopping)


def recipe_for_numbers(folder: Path, *sections: str) -> str:
    """A recipe, with these further lines, for a table that is written into the folder: its target is a number."""
    rows = "".join(f"{k},{k % 3},{k / 7},{'fm'[k % 2]}\n" for k in range(60))
    (folder / "t.csv").write_text("a,b,y,sex\n" + rows, encoding="utf-8")
    return f"""
version: 1
data:
  source: table
  path: {folder / "t.csv"}
  target_kind: regression
  columns: {{target: y}}
  attributes: {{sex: {{}}}}
backbone: {{name: mlp}}
""" + "\n".join(sections)


def pictures(folder: Path, source: str, n: int = 20) -> str:
    """A recipe of small images: bright or dark squares on backgrounds of two colours; 3·n of each split's cells."""
    rng, rows = np.random.default_rng(0), []
    for split, (shape, background) in [
        (split, cell) for split in ("train", "validation", "test") for cell in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]:
        for k in range(n):
            pixels = rng.integers(0, 60, (16, 16, 3)).astype(np.uint8)
            pixels[:, :, background] += 120
            pixels[4:12, 4:12] += np.uint8(60 * shape)
            name = f"{split}/{('dark', 'bright')[shape]}/{background}-{k}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name)
            rows.append({"path": name, "split": split, "shape": shape, "background": background})
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if source == "manifest":
        return PICTURES.format(source=source, files=f"path: {folder}/table.csv")
    text = PICTURES.format(source=source, files=f"root: {folder}\n  sidecar: {folder}/table.csv")
    return text.replace("columns: {target: shape, split: split}", "columns: {}")
