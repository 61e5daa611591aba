"""Photographs from three devices, each class mostly from one: what becomes of the bias that a scanner leaves.

python benchmarks/pacs_devices.py --data DIR --weights FILE [--kinds device tint …] [--aligned 0.95]
    [--methods mibias plain …] [--seeds 1] [--out pacs_devices.csv]

DIR and FILE are those of benchmarks/pacs.py, and so are the columns; of DIR the photographs of seven classes are taken.
By the seed, 45 of each class are audited, 15 from each device, and of what is left at most 150 are for training and
validation, a share ρ of them from the device that is the class's own, the rest from the two others. Three devices
differ in one of four ways: brightness, noise and focus (device), white balance (tint), sharpness and compression
(sharpness), or a dark or bright border. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pacs import OURS, VALIDATION_EVERY, VALUES, Row, run, write_draw
from pacs_peers import FINE_TUNED, HEADS
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from runs import Table, mean_and_spread

Pixels = NDArray[np.float64]
Device = Callable[[Image.Image, np.random.Generator], Image.Image]
N_AUDITED, N_FOR_TRAINING = 15, 150
KEYS = ("kind", "method", "aligned", "seed")


def of_pixels(change: Callable[[Pixels, np.random.Generator], Pixels]) -> Device:
    """A device that changes pixels (h, w, 3) in [0, 1]."""

    def device(image: Image.Image, g: np.random.Generator) -> Image.Image:
        pixels = change(np.asarray(image, dtype=np.float64) / 255, g)
        return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))

    return device


def tinted(*by: float) -> Device:
    """A device whose white balance is off by these factors of red, green and blue."""
    return of_pixels(lambda pixels, _: pixels * by)


def compressed(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """As a JPEG of quality 12."""
    file = io.BytesIO()
    image.save(file, "jpeg", quality=12)
    return Image.open(file).convert("RGB")


def bordered(colour: str) -> Device:
    """A device with a border of six pixels."""
    return lambda image, _: ImageOps.expand(image.resize((image.width - 12, image.height - 12)), 6, colour)


def as_it_is(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """The image."""
    return image


KINDS: dict[str, tuple[Device, ...]] = {
    "device": (
        as_it_is,
        of_pixels(lambda pixels, g: 0.9 * pixels**1.6 + g.normal(0, 0.04, pixels.shape)),
        lambda image, _: ImageEnhance.Contrast(image.filter(ImageFilter.GaussianBlur(1))).enhance(0.7),
    ),
    "tint": (tinted(1.1, 0.95, 0.8), tinted(0.85, 1.05, 0.9), tinted(0.85, 0.9, 1.15)),
    "sharpness": (
        lambda image, _: image.filter(ImageFilter.GaussianBlur(0.9)),
        lambda image, _: ImageEnhance.Sharpness(image).enhance(3),
        compressed,
    ),
    "border": (as_it_is, bordered("black"), bordered("white")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help="weights of tf_efficientnet_lite0")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--aligned", type=float, nargs="+", default=[0.95])
    methods = [*OURS, *HEADS, *FINE_TUNED]
    parser.add_argument("--methods", nargs="+", choices=methods, default=["mibias", "plain"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("pacs_devices.csv"))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    photos, weights = arguments.data.resolve() / "photo", arguments.weights.resolve()
    for aligned in arguments.aligned:
        for kind in arguments.kinds:
            chosen: dict[str, str] = {}
            for seed in range(arguments.seeds):
                wanted = [m for m in arguments.methods if not table.has(kind, m, aligned, seed)]
                with tempfile.TemporaryDirectory() as folder:
                    images = rows_of(photos, kind, aligned, seed, Path(folder))
                    drawn = write_draw(images, Path(folder), weights, seed, Path(folder))
                    for method in wanted:
                        figures = run(method, drawn, chosen)
                        table.add((kind, method, aligned, seed), figures)
                        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                        print(f"{aligned} {kind} {seed} {method}: {told}", flush=True)
    show(table)


def rows_of(photos: Path, kind: str, aligned: float, seed: int, folder: Path) -> Iterator[Row]:
    """Path, class, device and split of every image, which is written to the folder."""
    g = np.random.default_rng(seed)
    devices = dict(zip(("A", "B", "C"), KINDS[kind], strict=True))
    for k, of_class in enumerate(sorted(photos.iterdir())):
        paths = sorted(of_class.glob("*.jpg"))
        paths = [paths[i] for i in g.permutation(len(paths))]
        own, *others = np.roll(list(devices), -k)
        audited = len(devices) * N_AUDITED
        training = paths[audited:][:N_FOR_TRAINING]
        n_others = max(1, round(len(training) * (1 - aligned)))
        for i, path in enumerate(paths[:audited] + training):
            nth = i - audited
            name = others[nth % 2] if nth < n_others else own
            split = "validation" if nth % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
            if nth < 0:
                name, split = list(devices)[i % len(devices)], "test"
            written = folder / f"{of_class.name}_{path.stem}.png"
            devices[name](Image.open(path).convert("RGB"), g).save(written)
            yield written, of_class.name, str(name), split


def show(table: Table) -> None:
    """Means over seeds, as Markdown."""
    print("\n| aligned | kind | method | accuracy, % | worst of 21 groups, % | leakage, bits | given the class, bits |")
    print("|---|---|---|---|---|---|---|")
    for (aligned, kind, method), rows in sorted(table.groups("aligned", "kind", "method").items()):
        shown = [mean_and_spread(rows, name, scale=100) for name in VALUES[:2]]
        shown += [mean_and_spread(rows, name, digits=2) for name in VALUES[2:4]]
        print(f"| {aligned} | {kind} | {method} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
