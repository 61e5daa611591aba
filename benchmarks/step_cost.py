"""What a training step costs: plain, ours, and the paper's with K freshly embedded batches, side by side.

python benchmarks/step_cost.py [--device cuda] [--backbone resnet50] [--size 224] [--batch 128] [--rounds 3]

The recipe for Waterbirds on noise that lies on the device, so that reading images costs nothing for anyone; methods in
turn, several rounds of them, the best round of each. A table on stdout: milliseconds, and the share of the others'.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import tempfile
import time
from collections.abc import Callable
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

RECIPE = Path(__file__).parent.parent / "recipes" / "waterbirds.yaml"
PAPER = (
    "debias.bias_product=0", "debias.estimator=mine", "debias.schedule=fresh", "debias.gradients=rescale",
    "debias.balance=none", "debias.critic.hidden=[64, 64, 64]", "representation.layers=[features]",
)  # fmt: skip
METHODS: dict[str, tuple[str, ...]] = {
    "plain": ("debias.bias_product=0", "debias.estimator=none"),
    "mibias": (),
    "paper_10": (*PAPER, "debias.critic.steps=10"),
    "paper": (*PAPER, "debias.critic.steps=40"),
}
N_IMAGES = 128


class Held:
    """A reader whose images are where they are needed: any row is one of a few images of noise."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self._pool = torch.randn(N_IMAGES, *shape, device=device)

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Images (n, channels, height, width)."""
        return self._pool[torch.from_numpy(rows % N_IMAGES).to(self._pool.device)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--set", action="append", default=[], help="further overrides of the recipe, for all methods")
    arguments = parser.parse_args()
    fixed = [
        "backbone.weights=none", f"backbone.name={arguments.backbone}", f"backbone.input_size={arguments.size}",
        f"training.batch_size={arguments.batch}", f"training.device={arguments.device}", "training.precision=auto",
        "training.channels_last=true", "training.num_workers=0", "training.augment=false", *arguments.set,
    ]  # fmt: skip
    if not arguments.backbone.startswith("resnet"):
        fixed.append("backbone.freeze_batchnorm=false")
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), arguments.batch)
        fixed.append(f"data.path={folder}/metadata.csv")
        steps = {m: prepare([*fixed, *METHODS[m]], Path(folder) / str(i)) for i, m in enumerate(arguments.methods)}
        for _ in range(1 + arguments.rounds):  # the first warms up
            for method, step in steps.items():
                taken.setdefault(method, []).append(milliseconds(step, arguments.device))
    best = {method: min(times[1:]) for method, times in taken.items()}
    print(f"| {arguments.backbone}, batch {arguments.batch} | ms | {' | '.join(f'× {m}' for m in best)} |")
    print("|---" * (2 + len(best)) + "|")
    for method, ms in best.items():
        print(f"| {method} | {ms:.1f} | {' | '.join(f'{ms / other:.2f}' for other in best.values())} |")


def draw(folder: Path, batch: int) -> None:
    """A manifest as Waterbirds has it, with as many rows as a few batches; its images are never read."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(folder / "noise.png")
    for k in range(4 * batch):
        (folder / f"{k}.png").hardlink_to(folder / "noise.png")
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
        for k in range(4 * batch):
            y = int(rng.random() < 0.5)
            place = y if rng.random() < 0.9 else 1 - y
            writer.writerow([k, f"{k}.png", y, 0 if k < 3 * batch else 1 + k % 2, place, "x"])


def prepare(overrides: list[str], run: Path) -> Callable[[], None]:
    """A function that takes one training step of a recipe."""
    run.mkdir()
    recipe: Recipe = parse_recipe(RECIPE.read_text(encoding="utf-8"), path=str(RECIPE), overrides=overrides)
    fabric = make_fabric(recipe.training.device, recipe.training.precision, deterministic=False)
    parts = assemble(recipe, offline=True, fabric=fabric)
    held = Held(parts.data.input_shape, fabric.device)
    data = dataclasses.replace(parts.data, train=dataclasses.replace(parts.data.train, reader=held))
    parts = dataclasses.replace(parts, data=data)
    going = Run(folder=RunFolder(run), progress=Silent())
    trainer = make_stage(parts, going, going.log(), parts.new_model(), name="debias")
    weights, draws = trainer.weights["train"], trainer.debiaser is not None and trainer.debiaser.draws
    batch = next(
        batches(
            data.train,
            batch_size=recipe.training.batch_size,
            shuffle=True,
            weights=weights,
            draw_by=weights[DRAW_WEIGHT] if draws else None,
        )
    )
    return lambda: trainer.try_step(batch, 0)


def milliseconds(step: Callable[[], None], device: str, steps: int = 5) -> float:
    """The mean over some steps, to the end of what they started."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
