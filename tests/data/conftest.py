"""Draws what the tests of data read: biased images with their manifest, and tiny MNIST files."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DrawnRows = list[dict[str, str]]


def draw_biased_images(folder: Path, n: int, *, side: int = 8, bias: float = 0.9) -> DrawnRows:
    """n PNGs of class `square` or `stripe`, on a red or blue background that agrees with the class at rate `bias`."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows: DrawnRows = []
    for k in range(n):
        y = k % 2
        c = y if generator.random() < bias else 1 - y
        pixels = generator.integers(0, 60, (side, side, 3), dtype=np.uint8)
        pixels[:, :, 2 * c] += 150
        if y:
            pixels[:: side // 2] = 255
        else:
            pixels[side // 4 : -side // 4, side // 4 : -side // 4] = 255
        Image.fromarray(pixels).save(folder / f"{k:04d}.png")
        rows.append(
            {
                "path": f"{k:04d}.png",
                "target": ("square", "stripe")[y],
                "background": ("red", "blue")[c],
                "age": str(20 + k),
                "split": ("train", "train", "train", "validation", "test")[(k // 2) % 5],
                "patient": f"p{k // 4}",
            }
        )
    return rows


def write_csv(path: Path, rows: DrawnRows) -> Path:
    """A CSV of the rows."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_idx(path: Path, array: np.ndarray, magic: int) -> None:
    """An IDX file, gzipped where its name says so."""
    data = np.array([magic, *array.shape], dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def draw() -> Callable[..., DrawnRows]:
    return draw_biased_images


@pytest.fixture
def to_csv() -> Callable[[Path, DrawnRows], Path]:
    return write_csv


@pytest.fixture
def to_idx() -> Callable[[Path, np.ndarray, int], None]:
    return write_idx


@pytest.fixture
def tiny_mnist(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with 120 training and 50 test images of 5 × 4 pixels, and what is in them."""
    generator = np.random.default_rng(1)
    arrays = {
        "train-images-idx3-ubyte.gz": generator.integers(0, 256, (120, 5, 4)),
        "train-labels-idx1-ubyte": np.arange(120) % 10,
        "t10k-images.idx3-ubyte": generator.integers(0, 256, (50, 5, 4)),
        "t10k-labels-idx1-ubyte.gz": np.arange(50) % 10,
    }
    root = tmp_path / "mnist"
    root.mkdir()
    for name, array in arrays.items():
        write_idx(root / name, array, 2051 if "images" in name else 2049)
    return root, arrays
