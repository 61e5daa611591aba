"""Numbers to be told from images: noise or blur as the bias of two targets made of CIFAR-10.

python benchmarks/cifar_numbers.py --data package --weights FILE [--kinds count size] [--aligned 0.95]
    [--methods mibias no_penalty plain whole] [--seeds 3] [--out cifar_numbers.csv]

DIR and FILE are those of benchmarks/cifar.py. count: nine images as one, of 96 × 96 pixels; the target is how many show
an animal, give or take .3. size: one image; the target is how large such things are, in ten steps from frog to
airplane, give or take half a step. Of the larger half of numbers a share ρ of training images is noisy, of the smaller
half as many are blurred; of 600 audited ones half are noisy. 900 and 1,200 images are for training and validation.
mibias is the recipe that `mibias init` writes; no_penalty the same with λ = 0; plain fine-tunes the same stages, whole
the whole network, without bottleneck, mixing or penalty. R² is the trained head's on audited images; bits are those of
the run's report. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cifar import CORRUPTIONS, SIDE, Pixels, images_of
from numpy.typing import NDArray
from pacs import VALIDATION_EVERY, Draw, Drawn, Row, options_of, write_draw
from pacs_peers import FINE_TUNED
from PIL import Image
from runs import Table, mean_and_spread

METHODS = {
    "mibias": (),
    "no_penalty": ("debias.weight=0",),
    "plain": FINE_TUNED["plain"],
    "whole": (*FINE_TUNED["plain"], "backbone.train=all", "backbone.cache=off", "backbone.cache_views=1"),
}
SIZES = (9, 6, 1, 2, 4, 3, 0, 5, 8, 7)
"""Of airplane, automobile, …: a frog is the smallest."""
ANIMALS = (2, 3, 4, 5, 6, 7)
N_TRAINING = {"count": 900, "size": 1200}
N_AUDITED = 600
VALUES = ("r2", "leakage_bits", "conditional_leakage_bits", "seconds")


def main() -> None:
    options = options_of(
        __doc__, methods=list(METHODS), aligned=[0.95], seeds=3, out="cifar_numbers.csv",
        kinds=list(N_TRAINING), of=list(METHODS),
    )  # fmt: skip
    table = Table(options.out, ("kind", "method", "aligned", "seed"), VALUES)
    for kind, aligned, seed in product(options.kinds, options.aligned, range(options.seeds)):
        wanted = [method for method in options.methods if not table.has(kind, method, aligned, seed)]
        if not wanted:
            continue
        with TemporaryDirectory() as folder:
            draw = Draw(kind=(kind,), aligned=aligned, seed=seed, folder=Path(folder))
            drawn = write_draw(
                rows_of(options.data, draw), options.weights, seed, draw.folder, backbone=options.backbone
            )
            for method in wanted:
                figures = run(drawn, METHODS[method], seed, draw.folder / method)
                table.add((kind, method, aligned, seed), figures)
                print(kind, aligned, seed, method, figures, flush=True)
    print("\n| target | aligned | method | R² | bits | given the target, bits | seconds |\n|---" + "|---" * 6 + "|")
    for key, rows in sorted(table.groups("kind", "aligned", "method").items()):
        shown = [mean_and_spread(rows, name, digits=2) for name in VALUES[:3]]
        print(f"| {' | '.join((*key, *shown))} | {mean_and_spread(rows, 'seconds', digits=0)} |")


def rows_of(data: Path, draw: Draw) -> Iterator[Row]:
    """Path, number, corruption and split of every image, which is written to the draw's folder."""
    g = np.random.default_rng(draw.seed)
    (kind,) = draw.kind
    for test in (True, False):
        pixels, labels = images_of(data, test=test)
        for nth in range(N_AUDITED if test else N_TRAINING[kind]):
            step, half, parts = counted(labels, g) if kind == "count" else sized(labels, g)
            noisy = nth % 2 == 0 if test else (step >= 5) == (g.random() < draw.aligned)
            name = "gaussian_noise" if noisy else "gaussian_blur"
            changed = tiled([CORRUPTIONS[name](pixels[part] / 255, g) for part in parts])
            split = "test" if test else "validation" if nth % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
            path = draw.folder / f"{split}_{nth}.png"
            Image.fromarray((changed.clip(0, 1) * 255).astype(np.uint8)).save(path)
            yield path, f"{step + g.uniform(-half, half):.3f}", name, split


def counted(labels: NDArray[np.int64], g: np.random.Generator) -> tuple[int, float, NDArray[np.int64]]:
    """How many of nine images show animals, half the width of what is added to it, and the images."""
    animal = np.isin(labels, ANIMALS)
    n = int(g.integers(10))
    chosen = [g.choice(np.flatnonzero(animal), n), g.choice(np.flatnonzero(~animal), 9 - n)]
    return n, 0.3, g.permutation(np.concatenate(chosen))


def sized(labels: NDArray[np.int64], g: np.random.Generator) -> tuple[int, float, NDArray[np.int64]]:
    """The same of one image and the size of what it shows."""
    chosen = g.integers(len(labels), size=1)
    return SIZES[labels[chosen[0]]], 0.5, chosen


def tiled(images: list[Pixels]) -> Pixels:
    """A square of images."""
    side = round(len(images) ** 0.5)
    rows = np.reshape(images, (side, side, SIDE, SIDE, 3))
    return rows.swapaxes(1, 2).reshape(side * SIDE, side * SIDE, 3)


def run(drawn: Drawn, overrides: tuple[str, ...], seed: int, out: Path) -> dict[str, float]:
    """Train and audit a recipe with `mibias train`, and read its report."""
    cache = f"backbone.cache={drawn.recipe.parent / 'cache'}"
    settings = ["original=null", cache, f"seed={seed}", *overrides]
    command = [sys.executable, "-m", "mibias_cli.cli", "train", str(drawn.recipe), "--out", str(out), "--offline"]
    started = time.perf_counter()
    # a later value of a key counts
    last = {setting.partition("=")[0]: setting for setting in settings}
    subprocess.run([*command, *(f"--set={setting}" for setting in last.values())], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    report = json.loads((out / "report" / "leakage.json").read_text(encoding="utf-8"))
    found = report["attributes"]["style"]["after"]
    bits = {name: float(found[name]["estimate"]) for name in VALUES[1:3]}
    return {"r2": float(report["task"]["after"]["head_r2"]), **bits, "seconds": seconds}


if __name__ == "__main__":
    main()
