"""What a training step with MI costs over a plain one, side by side.

python benchmarks/step_overhead.py [--device cuda] [--rounds 7] [--cases resnet18 mnist …]

Each case is a recipe on noise that lies on the device, so that reading images costs nothing for anyone. The methods
take steps in turn, in several rounds; a ratio is the median over rounds of one round's times. The last line is JSON:
each case's time over that of the same recipe without bias product and estimator.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mibias_cli.data.loader import batches
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import assemble
from mibias_cli.run.stages import Run, make_stage
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.step import DRAW_WEIGHT

RECIPES = Path(__file__).parent.parent / "recipes"
PHOTOGRAPHS = """
version: 1
name: photographs
data:
  source: manifest
  path: metadata.csv
  columns: { path: img_filename, target: y, split: split }
  splits: { train: "0", validation: "1", audit: "2" }
  attributes: { place: {} }
backbone: { name: resnet50, weights: none, freeze_batchnorm: true }
representation: { layers: [layer4, features], pool: mean }
debias:
  estimator: classifier
  bias_product: 0.8
  weight: 0.03
  warmup_epochs: 2
  balance: critic
  queue_batches: 16
  critic: { hidden: [256, 256], steps: 10, batch_size: 128, beta1: 0.5 }
training: { learning_rate: 5e-5, weight_decay: 1e-2, beta1: 0.5 }
"""
"""A whole network that is penalised in its steps by a critic on a queue."""
PLAIN = ("debias.bias_product=0", "debias.mix=null", "debias.estimator=none", "debias.recycle_every_steps=null")
PAPER = (
    "debias.bias_product=0", "debias.estimator=mine", "debias.schedule=fresh", "debias.gradients=rescale",
    "debias.balance=none", "debias.critic.hidden=[64, 64, 64]", "representation.layers=[features]",
    "debias.critic.steps=10",
)  # fmt: skip
"""The paper's step, with K = 10 freshly embedded batches for the critic."""
IN_MEMORY = ("training.num_workers=0", "training.augment=false", "training.channels_last=true")
N_IMAGES = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe whose step is timed with its method and plainly."""

    recipe: str
    overrides: tuple[str, ...]
    method: tuple[str, ...] = ()
    gpu: bool = False
    by_name: bool = False


def _images(backbone: str, size: int, batch: int) -> tuple[str, ...]:
    frozen = () if backbone.startswith("resnet") else ("backbone.freeze_batchnorm=false",)
    return (
        "backbone.weights=none", f"backbone.name={backbone}", f"backbone.input_size={size}",
        f"training.batch_size={batch}", "training.precision=auto", *IN_MEMORY, *frozen,
    )  # fmt: skip


CASES: dict[str, Case] = {
    "resnet18": Case(recipe="photographs", overrides=_images("resnet18", 112, 64)),
    "mnist": Case(recipe="colored_mnist", overrides=IN_MEMORY),
    "resnet18_paper": Case(recipe="photographs", overrides=_images("resnet18", 112, 64), method=PAPER),
    "resnet18_auto": Case(
        recipe="photographs", overrides=_images("resnet18", 112, 64), method=("debias.weight=auto",), by_name=True
    ),
    "mnist_auto": Case(recipe="colored_mnist", overrides=IN_MEMORY, method=("debias.weight=auto",), by_name=True),
    "resnet50": Case(recipe="photographs", overrides=_images("resnet50", 224, 128), gpu=True),
    "vit_small": Case(
        recipe="photographs",
        overrides=(*_images("vit_small_patch16_224", 224, 128), "representation.layers=[features]"),
        gpu=True,
    ),
}


class Held:
    """A reader whose images are where they are needed: any row is one of a few images of noise."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self._pool = torch.randn(N_IMAGES, *shape, device=device)

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Images (n, channels, height, width)."""
        return self._pool[torch.from_numpy(rows % N_IMAGES).to(self._pool.device)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=list(CASES),
        help="default: all that the device is for, but for those with weight: auto",
    )
    options = parser.parse_args()
    names = options.cases or [
        name for name, case in CASES.items() if not case.by_name and (options.device == "cuda" or not case.gpu)
    ]
    ratios = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            taken = rounds(CASES[name], Path(folder), options.device, options.rounds)
        ratios[name] = statistics.median(ours / plain for plain, ours in zip(*taken.values(), strict=True))
        shown = ", ".join(f"{way} {statistics.median(ms):.1f} ms" for way, ms in taken.items())
        print(f"{name}: {shown}, ratio {ratios[name]:.3f}", flush=True)
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


def rounds(case: Case, folder: Path, device: str, n: int) -> Mapping[str, list[float]]:
    """Milliseconds of a step, plain and with the method, in every round."""
    (draw_digits if case.recipe == "colored_mnist" else draw_birds)(folder)
    root = "data.root" if case.recipe == "colored_mnist" else "data.path"
    place = folder if case.recipe == "colored_mnist" else folder / "metadata.csv"
    fixed = (f"{root}={place}", f"training.device={device}", *case.overrides)
    ways = {"plain": PLAIN, "with MI": case.method}
    steps = {way: prepare(case.recipe, (*fixed, *more), folder / way) for way, more in ways.items()}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for k in range(1 + n):
        for way, step in steps.items():
            ms = milliseconds(step, device)
            # the first round warms up
            if k:
                taken[way].append(ms)
    return taken


def draw_birds(folder: Path, n: int = 512) -> None:
    """A manifest as Waterbirds has it; its images are never read."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(folder / "noise.png")
    for k in range(n):
        (folder / f"{k}.png").hardlink_to(folder / "noise.png")
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
        for k in range(n):
            y = int(rng.random() < 0.5)
            place = y if rng.random() < 0.9 else 1 - y
            writer.writerow([k, f"{k}.png", y, 0 if k < 3 * n // 4 else 1 + k % 2, place, "x"])


def draw_digits(folder: Path) -> None:
    """IDX files as MNIST has them, of noise."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 2000), ("t10k", 500)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.resize(np.arange(10, dtype=np.uint8), n)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, n, 28, 28) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, n) + labels.tobytes())


def read_recipe(name: str, overrides: tuple[str, ...]) -> Recipe:
    """A recipe of the project, or the one above."""
    path = RECIPES / f"{name}.yaml"
    text = PHOTOGRAPHS if name == "photographs" else path.read_text(encoding="utf-8")
    return parse_recipe(text, path=str(path), overrides=overrides)


def prepare(name: str, overrides: tuple[str, ...], run: Path) -> Callable[[], object]:
    """A function that takes one training step of a recipe."""
    run.mkdir()
    recipe = read_recipe(name, overrides)
    fabric = make_fabric(recipe.training.device, recipe.training.precision, deterministic=False)
    parts = assemble(recipe, offline=True, fabric=fabric)
    held = Held(parts.data.input_shape, fabric.device)
    data = dataclasses.replace(parts.data, train=dataclasses.replace(parts.data.train, reader=held))
    parts = dataclasses.replace(parts, data=data)
    going = Run(folder=RunFolder(run), progress=Silent())
    trainer = make_stage(parts, going, going.log(), parts.new_model(), name="debias")
    weights = trainer.weights["train"]
    batch = next(
        batches(
            data.train,
            batch_size=recipe.training.batch_size,
            shuffle=True,
            weights=weights,
            draw_by=weights.get(DRAW_WEIGHT),
            draw_share=0.0 if trainer.debiaser is None else trainer.debiaser.draw_share,
        )
    )
    return lambda: trainer.try_step(batch, 0)


def milliseconds(step: Callable[[], object], device: str, n: int = 5) -> float:
    """The mean over some steps, to the end of what they started."""
    start = time.perf_counter()
    for _ in range(n):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / n


if __name__ == "__main__":
    main()
