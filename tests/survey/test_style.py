"""Attributes that are a matter of colours, brightness or contrast, and attributes that are not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mibias_cli.data.files.images import load_image
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey


def of_images(folder: Path, kind: str, *, n: int = 120, grey: bool = False) -> bool:
    """Whether channels of noise are found to tell a bias of this kind that goes with the class mostly."""
    g = np.random.default_rng(0)
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "scanner"])
        for k in range(n):
            label = k % 2
            scanner = label if g.random() < 0.9 else 1 - label
            pixels = g.integers(60, 180, (24, 24, 3)).astype(np.float64)
            value: object = f"scanner {scanner}"
            if kind == "tint":
                pixels[..., 0] += 40 * scanner
            elif kind == "contrast":
                pixels = 120 + (pixels - 120) * (1 + scanner) / 2
            elif kind == "brightness":
                value = round(float(g.uniform(0, 60)) + 60 * scanner, 1)
                pixels += float(str(value)) - 60
            elif kind == "tint, bright label":
                pixels[..., 0] += 40 * scanner
                pixels += 60 * label
            elif kind == "corner":
                # as much white in either place
                pixels[(slice(0, 5) if scanner else slice(19, 24)), :5] = 255
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            (picture.convert("L") if grey else picture).save(folder / f"{k}.png")
            writer.writerow([f"{k}.png", "ab"[label], value])
        (folder / "0.png").write_bytes(b"no image") if kind == "tint" else None
    found = survey(folder / "t.csv", Wishes(target="label", attributes=("scanner",)))
    return found.shows_in_channels()


@pytest.mark.parametrize("kind", ["tint", "contrast", "brightness"])
def test_style_shows_in_channel_statistics(kind: str, tmp_path: Path) -> None:
    assert of_images(tmp_path, kind, grey=kind != "tint")


@pytest.mark.parametrize("kind", ["corner", "nothing"])
def test_what_lies_elsewhere_does_not(kind: str, tmp_path: Path) -> None:
    assert not of_images(tmp_path, kind)


def test_where_style_is_what_tells_the_target_it_is_not_moved(tmp_path: Path) -> None:
    assert not of_images(tmp_path, "tint, bright label")


def test_of_a_handful_of_images_nobody_can_tell(tmp_path: Path) -> None:
    assert not of_images(tmp_path, "tint", n=10)


def test_large_photographs_are_decoded_at_a_fraction_with_the_same_statistics(tmp_path: Path) -> None:
    pixels = np.kron(np.random.default_rng(0).integers(0, 255, (6, 8, 3)), np.ones((100, 100, 1))).astype(np.uint8)
    for kind, shape in (("jpg", (3, 75, 100)), ("png", (3, 600, 800))):
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}")
        whole, small = (load_image(tmp_path / f"a.{kind}", 3, least_side=side) for side in (None, 64))
        assert (tuple(whole.shape), tuple(small.shape)) == ((3, 600, 800), shape)
        torch.testing.assert_close(whole.mean((1, 2)), small.mean((1, 2)), atol=0.005, rtol=0)
        torch.testing.assert_close(whole.std((1, 2)), small.std((1, 2)), atol=0.02, rtol=0)
