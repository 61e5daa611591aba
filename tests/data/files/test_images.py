from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mibias_cli.data.files.images import FileImages, ImageReader, load_image
from mibias_cli.data.inputs import IDENTITY, Transforms, unchanged
from mibias_cli.errors import DataError

RGB = np.array([[[255, 0, 51], [0, 102, 0]], [[10, 20, 30], [255, 255, 255]], [[0, 0, 255], [9, 9, 9]]], np.uint8)


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float32).permute(2, 0, 1) / 255


def test_rgb_and_its_mean(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "a.png", 3), as_tensor(RGB))
    torch.testing.assert_close(load_image(tmp_path / "a.png", 1), as_tensor(RGB).mean(0, keepdim=True))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_keep_their_depth(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    expected = torch.tensor(deep.astype(np.float64) / 65535, dtype=torch.float32)[None]
    torch.testing.assert_close(load_image(tmp_path / f"a{suffix}", 1), expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(load_image(tmp_path / f"a{suffix}", 3), expected.repeat(3, 1, 1), rtol=0, atol=1e-8)


def test_big_endian_and_32_bit_integers(tmp_path: Path) -> None:
    deep = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    expected = torch.tensor(deep.astype(np.float64) / 65535, dtype=torch.float32)[None]
    Image.frombytes("I;16B", (3, 2), deep.astype(">u2").tobytes()).save(tmp_path / "big.tiff")
    with Image.open(tmp_path / "big.tiff") as opened:
        assert opened.mode == "I;16B"
    torch.testing.assert_close(load_image(tmp_path / "big.tiff", 1), expected, rtol=0, atol=1e-8)
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "wide.tiff")
    torch.testing.assert_close(load_image(tmp_path / "wide.tiff", 1), expected, rtol=0, atol=1e-8)


def test_float_images_must_lie_in_the_unit_interval(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.3], [0.7, 1.0]], np.float32)).save(tmp_path / "a.tiff")
    torch.testing.assert_close(load_image(tmp_path / "a.tiff", 1), torch.tensor([[[0.0, 0.3], [0.7, 1.0]]]))
    Image.fromarray(np.array([[0.0, 300.0]], np.float32)).save(tmp_path / "b.tiff")
    reader = ImageReader(FileImages([str(tmp_path / "b.tiff")]), IDENTITY, 0, row_names=["row 2 (b.tiff)"])
    with pytest.raises(DataError, match=r"b\.tiff: row 2 \(b\.tiff\) .* 0\.0 to 300\.0, outside \[0, 1\]"):
        reader.read(np.array([0]), None)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
    image.save(tmp_path / "a.png")
    expected = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(load_image(tmp_path / "a.png", 1), expected)
    torch.testing.assert_close(load_image(tmp_path / "a.png", 3), expected.repeat(3, 1, 1))


def test_alpha_palette_and_cmyk(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB, np.full((3, 2, 1), 200, np.uint8)], axis=2)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    torch.testing.assert_close(load_image(tmp_path / "rgba.png", 3), as_tensor(RGB))
    palette = Image.fromarray(RGB).quantize(6, dither=Image.Dither.NONE)
    palette.save(tmp_path / "p.png")
    torch.testing.assert_close(load_image(tmp_path / "p.png", 3), as_tensor(RGB))
    palette.save(tmp_path / "transparent.png", transparency=bytes([0, 128, 255, 255, 255, 255]))
    torch.testing.assert_close(load_image(tmp_path / "transparent.png", 3), as_tensor(RGB))
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "cmyk.tiff")
    torch.testing.assert_close(load_image(tmp_path / "cmyk.tiff", 3), as_tensor(RGB), rtol=0, atol=0.01)


@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation_is_applied(tmp_path: Path, deep: bool) -> None:
    grey = np.array([[0, 50, 100], [150, 200, 250]], np.uint16 if deep else np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: show it after a quarter turn clockwise
    Image.fromarray(grey).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(grey, k=-1) / (65535 if deep else 255)
    torch.testing.assert_close(load_image(tmp_path / "a.png", 1)[0], torch.tensor(expected.copy(), dtype=torch.float32))


def test_unreadable_files_are_named_with_their_row(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.png", "text.png", "empty.png", "gone.png"):
        reader = ImageReader(
            FileImages([str(tmp_path / "whole.png"), str(tmp_path / name)]), IDENTITY, 0, row_names=["row 2", "row 3"]
        )
        with pytest.raises(DataError, match=rf"{re.escape(name)}: row 3 cannot be read as an image"):
            reader.read(np.array([0, 1]), None)


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    for side in (4, 5):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    reader = ImageReader(
        FileImages([str(tmp_path / "4.png"), str(tmp_path / "5.png")]), IDENTITY, 0, ["row 0", "row 1"]
    )
    with pytest.raises(DataError, match=r"\(3, 4, 4\) \(row 0\), \(3, 5, 5\) \(row 1\).*input_size"):
        reader.read(np.array([0, 1]), None)


def global_noise(x: torch.Tensor) -> torch.Tensor:
    """Draws from all three global generators, as timm's transforms do."""
    return x + random.random() + 10 * float(np.random.random()) + 100 * torch.rand(())


@pytest.fixture
def reader(tmp_path: Path) -> ImageReader:
    paths = []
    for k in range(6):
        paths.append(tmp_path / f"{k}.png")
        Image.new("RGB", (2, 2), (k, k, k)).save(paths[-1])
    return ImageReader(
        FileImages(paths),
        Transforms(train=global_noise, evaluate=unchanged, arrays=unchanged),
        7,
        [str(path) for path in paths],
    )


def test_augmentation_does_not_depend_on_order_or_global_state(reader: ImageReader) -> None:
    rows = np.arange(6)
    torch.manual_seed(0)
    whole = reader.read(rows, 4)
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    before = (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state())
    backwards = torch.cat([reader.read(rows[k : k + 1], 4) for k in rows[::-1]])
    assert torch.equal(whole, backwards.flip(0))
    assert random.getstate() == before[0]
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_augmentation_depends_on_seed_epoch_and_row(reader: ImageReader) -> None:
    noise = torch.stack([reader.read(np.arange(6), e)[:, 0, 0, 0] - torch.arange(6) / 255 for e in (0, 1)])
    assert len(noise.unique()) == 12
    assert torch.equal(reader.read(np.arange(6), None)[:, 0, 0, 0], torch.arange(6) / 255)


def test_images_are_read_one_at_a_time(tmp_path: Path) -> None:
    """A batch of large photographs, all decoded at once, would not fit into memory."""
    events: list[str] = []

    class Told(FileImages):
        def source(self, row: int) -> str:
            events.append("read")
            return super().source(row)

    def shrink(x: torch.Tensor) -> torch.Tensor:
        events.append("shrunk")
        return x[:, :1, :1]

    Image.fromarray(RGB).save(tmp_path / "a.png")
    images = Told([str(tmp_path / "a.png")] * 3)
    transforms = Transforms(train=shrink, evaluate=shrink, arrays=shrink)
    x = ImageReader(images, transforms, 0, row_names=["a"] * 3).read(np.arange(3), None)
    torch.testing.assert_close(x, as_tensor(RGB)[:, :1, :1].expand(3, 3, 1, 1))
    assert events == ["read", "shrunk"] * 3
