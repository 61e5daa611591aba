"""Properties of single images, against images whose properties are known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mibias_cli.scan.border import frame_widths
from mibias_cli.scan.pixels import looks
from mibias_cli.scan.properties import PROPERTIES, image_properties, jpeg_quality

SCENE = np.random.default_rng(0).uniform(0.2, 0.7, (3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 90, 95, 100])
def test_jpeg_quality_is_what_the_file_was_saved_at(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray((SCENE.transpose(1, 2, 0) * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    assert jpeg_quality(Image.open(buffer)) == pytest.approx(quality, abs=1)


def test_making_an_image_darker_changes_brightness_alone() -> None:
    dim, bright = looks(SCENE * 0.6), looks(SCENE)
    assert dim["brightness"] == pytest.approx(0.6 * (bright["brightness"] or 0), abs=1e-5)
    for name in ("blur", "contrast", "colourfulness", "hue"):
        assert dim[name] == pytest.approx(bright[name], rel=1e-3), name


@pytest.mark.parametrize(("colour", "degrees"), [((1, 0, 0), 0), ((0, 1, 0), 120), ((0, 0, 1), 240), ((1, 1, 0), 60)])
def test_hue(colour: tuple[int, int, int], degrees: float) -> None:
    image = np.ones((3, 4, 4), dtype=np.float32) * np.array(colour, dtype=np.float32)[:, None, None]
    assert looks(image)["hue"] == pytest.approx(degrees, abs=1e-3)


def test_a_background_or_a_gradient_is_no_frame() -> None:
    across, down = np.meshgrid(np.arange(40.0), np.arange(40.0))
    disc = np.where((across - 20) ** 2 + (down - 20) ** 2 < 100, 200.0, 50.0)
    assert frame_widths(disc) == (0, 0)
    assert frame_widths(across * 6) == (0, 0)
    assert frame_widths(np.full((40, 40), 9.0)) == (0, 0)
    assert frame_widths(np.pad(disc, 4, constant_values=255)) == (4, 4)


def test_size_and_aspect_are_of_the_image_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "1970:01:11 10:00:00"  # turned by a quarter; taken on day 10
    Image.new("RGB", (40, 20), (200, 30, 30)).save(tmp_path / "turned.jpg", exif=exif)
    found = image_properties(tmp_path / "turned.jpg")
    assert (found["aspect"], found["size"], found["date"], found["file_format"]) == ("0.5", "800", "10", "JPEG")
    assert tuple(found) == PROPERTIES
    # 16 bits, thin and grey images have properties too
    Image.fromarray(np.full((1, 600), 30000, dtype=np.uint16)).save(tmp_path / "thin.png")
    assert image_properties(tmp_path / "thin.png")["hue"] is None
