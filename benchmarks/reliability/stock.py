"""What cases are made from: small data and recipes, and a run of each kind that is trained once and copied."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sandbox import mibias

__all__ = ["IMAGES", "TABLE", "copy_of", "people", "prepare", "recipe", "write_pictures"]

TABLE = """\
version: 1
name: people
data:
  source: table
  path: people.csv
  columns: {target: y, split: split}
  attributes: {sex: {}}
backbone: {name: mlp, options: {hidden: [8]}}
original: {epochs: 1}
debias: {weight: 0.1, critic: {hidden: [8]}}
training: {epochs: 3, batch_size: 16, schedule: constant, device: cpu, log_every_steps: 1}
evaluation: {probes: [logistic], n_bootstrap: 100}
"""
IMAGES = """\
version: 1
name: pictures
data:
  source: manifest
  path: pictures.csv
  columns: {target: y, split: split}
  attributes: {sex: {}}
backbone: {name: digit_cnn, options: {width: 2, hidden: 8, features: 4}, input_size: 28, channels: 3}
debias: {weight: 0.1, critic: {hidden: [8]}}
training: {epochs: 1, batch_size: 16, device: cpu}
evaluation: {probes: [logistic], n_bootstrap: 100}
"""
_STOCK = Path("stock")


def people(path: Path, n: int = 120, *, seed: int = 0, **columns: object) -> None:
    """A table of people; `columns` are further ones with one value in every row."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "y", "sex", "split", *columns])
        for k in range(n):
            y, sex = int(rng.integers(2)), int(rng.integers(2))
            x = rng.normal(size=2) + np.array([y, sex])
            split = ("train", "train", "validation", "test")[k % 4]
            writer.writerow([f"{x[0]:.3f}", f"{x[1]:.3f}", ["no", "yes"][y], "fm"[sex], split, *columns.values()])


def write_pictures(folder: Path, n: int = 80) -> None:
    """Small pictures and a manifest of them."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir(exist_ok=True)
    with (folder / "pictures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "y", "sex", "split"])
        for k in range(n):
            y, sex = int(rng.integers(2)), int(rng.integers(2))
            pixels = rng.integers(0, 120, size=(28, 28, 3), dtype=np.uint8)
            pixels[..., sex] += np.uint8(100)
            pixels[: 14 + 7 * y] += np.uint8(30)
            Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
            split = ("train", "train", "validation", "test")[k % 4]
            writer.writerow([f"images/{k}.png", "ab"[y], "fm"[sex], split])


def recipe(folder: Path, text: str = TABLE, **replaced: str) -> Path:
    """Write a recipe, with one piece of its text in place of another."""
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def prepare(work: Path) -> None:
    """Data, and finished runs of both kinds, in a folder that cases copy; what is there stays."""
    folder = work / _STOCK
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    people(folder / "people.csv")
    write_pictures(folder)
    for name, text in (("table", TABLE), ("images", IMAGES)):
        (folder / f"{name}.yaml").write_text(text)
        done = mibias(["train", f"{name}.yaml", "--out", f"{name}_run", "--offline"], folder=folder, limit=600)
        if done.code != 0:
            raise SystemExit(f"the run that cases are made from failed ({done.code}):\n{done.err}")
    (folder / "done").touch()


def copy_of(work: Path, *names: str, to: Path) -> None:
    """Copy parts of the stock into a case's folder; its runs name data by absolute paths, which stay valid."""
    for name in names:
        source = work / _STOCK / name
        if source.is_dir():
            shutil.copytree(source, to / name)
        else:
            shutil.copy(source, to / name)
