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

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pacs import KEYS, VALIDATION_EVERY, VALUES, Draw, Row, measure, options_of, show
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from runs import Table

Pixels = NDArray[np.float64]
Device = Callable[[Image.Image, np.random.Generator], Image.Image]
N_AUDITED, N_FOR_TRAINING = 15, 150


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
    options = options_of(
        __doc__, methods=["mibias", "plain"], aligned=[0.95], seeds=1, out="pacs_devices.csv", kinds=list(KINDS)
    )
    table = Table(options.out, ("kind", *KEYS), VALUES)
    measure(table, options, [(kind,) for kind in options.kinds], lambda draw: rows_of(options.data / "photo", draw))
    show(table, n_groups=21)


def rows_of(photos: Path, draw: Draw) -> Iterator[Row]:
    """Path, class, device and split of every image, which is written to the draw's folder."""
    g = np.random.default_rng(draw.seed)
    devices = dict(zip(("A", "B", "C"), KINDS[draw.kind[0]], strict=True))
    for k, of_class in enumerate(sorted(photos.iterdir())):
        paths = sorted(of_class.glob("*.jpg"))
        paths = [paths[i] for i in g.permutation(len(paths))]
        own, *others = np.roll(list(devices), -k)
        audited = len(devices) * N_AUDITED
        training = paths[audited:][:N_FOR_TRAINING]
        n_others = max(1, round(len(training) * (1 - draw.aligned)))
        for i, path in enumerate(paths[:audited] + training):
            nth = i - audited
            name = others[nth % 2] if nth < n_others else own
            split = "validation" if nth % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
            if nth < 0:
                name, split = list(devices)[i % len(devices)], "test"
            written = draw.folder / f"{of_class.name}_{path.stem}.png"
            devices[name](Image.open(path).convert("RGB"), g).save(written)
            yield written, of_class.name, str(name), split


if __name__ == "__main__":
    main()
