from __future__ import annotations

import io
import re
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shard_files import write_tar

from mibias_cli.data.files.folders import find_images
from mibias_cli.data.files.images import BROKEN_IMAGE, FileImages, ImageReader, image_shape, load_image, readable
from mibias_cli.data.files.planes import UnfitImage
from mibias_cli.data.files.tabular import AS_USUAL
from mibias_cli.data.inputs import Transforms, unchanged
from mibias_cli.data.shards.shards import read_shards
from mibias_cli.errors import DataError

BANDS = np.random.default_rng(0).integers(0, 65536, (4, 6, 13)).astype(np.uint16)
"""An image of four rows, six columns and thirteen channels."""


def expected(hwc: np.ndarray, largest: float) -> torch.Tensor:
    return torch.tensor(hwc.astype(np.float64) / largest, dtype=torch.float32).permute(2, 0, 1)


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("channels", [13, None])
@pytest.mark.parametrize("first", [True, False])
def test_arrays_with_channels_first_or_last(tmp_path: Path, first: bool, channels: int | None) -> None:
    wide = np.repeat(np.repeat(BANDS, 4, 0), 4, 1)
    np.save(tmp_path / "a.npy", wide.transpose(2, 0, 1) if first else wide)
    same(load_image(tmp_path / "a.npy", channels), expected(wide, 65535))
    same(load_image(io.BytesIO((tmp_path / "a.npy").read_bytes()), channels), expected(wide, 65535))
    assert image_shape(tmp_path / "a.npy") == (13, 16, 24)


def test_the_axis_that_is_as_long_as_asked_for_is_the_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BANDS)  # (4, 6, 13), of which 4 is the shortest
    same(load_image(tmp_path / "a.npy", 13), expected(BANDS, 65535))
    same(load_image(tmp_path / "a.npy", 4), expected(BANDS.transpose(1, 2, 0), 65535))
    np.save(tmp_path / "b.npy", np.zeros((4, 6, 4), np.uint8))
    with pytest.raises(ValueError, match="first axis or its last"):
        load_image(tmp_path / "b.npy", 4)


@pytest.mark.parametrize("first", [True, False])
def test_of_square_patches_the_axis_beside_both_sides_is_the_channels(tmp_path: Path, first: bool) -> None:
    patch = np.random.default_rng(0).integers(0, 65536, (4, 4, 13)).astype(np.uint16)
    np.save(tmp_path / "a.npy", patch.transpose(2, 0, 1) if first else patch)
    assert image_shape(tmp_path / "a.npy") == (13, 4, 4)
    same(load_image(tmp_path / "a.npy", None), expected(patch, 65535))


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        (np.array([[0, 51, 255]], np.uint8), 255),
        (np.array([[0, 300, 65535]], ">u2"), 65535),
        (np.array([[0, 300, 32767]], np.int16), 32767),
        (np.array([[0.0, 0.25, 1.0]], np.float16), 1),
        (np.array([[0.0, 0.3, 1.0]], np.float64), 1),
        (np.array([[False, True, True]]), 1),
    ],
)
def test_values_are_scaled_by_the_range_of_their_type(tmp_path: Path, values: np.ndarray, largest: int) -> None:
    np.save(tmp_path / "a.npy", values)
    same(load_image(tmp_path / "a.npy", 1), expected(values[..., None], largest))
    # grey is repeated for colour, as of other files
    same(load_image(tmp_path / "a.npy", 3), expected(values[..., None], largest).repeat(3, 1, 1))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((2, 2), -3, np.int16), "run from -3 to -3"),
        (np.full((2, 2), 200.5), r"run from 200.5 to 200.5, outside \[0, 1\], in which floats must lie"),
        (np.full((2, 2), np.nan), "no finite numbers"),
        (np.zeros((0, 5)), r"its shape is \(0, 5\)"),
        (np.full((2, 2), 200, np.int64), "values are int64; write them as uint8, uint16"),
        (np.full((2, 2), 1j), "values are complex128"),
        (np.zeros((2, 2, 2, 2), np.uint8), r"shape is \(2, 2, 2, 2\)"),
        (np.zeros((3, 0, 4), np.uint8), r"shape is \(3, 0, 4\)"),
        (np.zeros(5, np.uint8), r"shape is \(5,\)"),
        (np.array([[object()]]), "Python objects"),
    ],
)
def test_other_values_and_shapes_are_refused(tmp_path: Path, values: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=rf"a\.npy: row 2 cannot be read as an image: .*{said}"):
        read(tmp_path / "a.npy", 3)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 13)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    with pytest.raises(DataError, match=r"a\.npy: row 2 cannot be read as an image"):
        read(tmp_path / "a.npy", 13)
    assert readable(FileImages([str(tmp_path / "a.npy")])) == [False]


def read(path: Path, channels: int) -> torch.Tensor:
    as_they_are = Transforms(train=unchanged, evaluate=unchanged, arrays=unchanged, channels=channels)
    return ImageReader(FileImages([str(path)]), as_they_are, 0, ["row 2"]).read(np.array([0]), None)


@pytest.mark.parametrize(("wanted", "n"), [(3, 13), (1, 13), (5, 13), (5, 1), (5, 3), (2, 3)])
def test_another_number_of_channels_names_file_number_and_key(tmp_path: Path, wanted: int, n: int) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 20, n), np.uint8))
    said = rf"{re.escape(str(tmp_path / 'a.npy'))}: row 2 .* has {n} channel\(s\), .* takes {wanted}; .*in_chans: {n}$"
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.npy", wanted)
    # the file itself is whole: on_bad_sample: skip is for others
    assert readable(FileImages([str(tmp_path / "a.npy")])) == [True]


def test_alpha_counts_where_as_many_channels_are_wanted(tmp_path: Path) -> None:
    rgbd = np.random.default_rng(1).integers(0, 256, (4, 6, 4)).astype(np.uint8)
    Image.fromarray(rgbd).save(tmp_path / "a.png")
    same(load_image(tmp_path / "a.png", 4), expected(rgbd, 255))
    same(load_image(tmp_path / "a.png", 3), expected(rgbd[..., :3], 255))
    Image.fromarray(rgbd[..., :2], "LA").save(tmp_path / "b.png")
    same(load_image(tmp_path / "b.png", 2), expected(rgbd[..., :2], 255))
    with pytest.raises(ValueError, match="has 3 channel"):
        load_image(tmp_path / "a.png", 2)


def pages(path: Path, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    """A TIFF of grey pages, and their pixels."""
    made = [np.full(size, 20 * k, np.uint8) for k, size in enumerate(sizes)]
    first, *others = [Image.fromarray(one) for one in made]
    first.save(path, save_all=True, append_images=others)
    return made


def test_inks_palettes_and_turned_pixels_are_refused(tmp_path: Path) -> None:
    """Among files with alpha, those of four inks would be read as such, numbers of a palette as brightness."""
    tifffile = pytest.importorskip("tifffile")
    grey = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    Image.fromarray(np.repeat(grey[0, :, :, None], 4, 2), "CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(UnfitImage, match=r"has 3 channel\(s\), and the model takes 4"):
        load_image(tmp_path / "a.jpg", 4)
    Image.fromarray(grey[0]).convert("P").save(tmp_path / "a.png", transparency=bytes(range(256)))
    with Image.open(tmp_path / "a.png") as image:
        same(load_image(tmp_path / "a.png", 4), expected(np.array(image.convert("RGBA")), 255))
    colours = np.tile(np.arange(256, dtype=np.uint16)[::-1], (3, 1))
    for name, values, kind, said in (
        ("p.tif", grey, {"photometric": "palette", "colormap": colours}, "numbers of a palette"),
        ("w.tif", grey, {"photometric": "miniswhite"}, "darker the larger they are"),
        ("t.tif", grey, {"extratags": [(274, 3, 1, 6, True)]}, r"stored turned or mirrored \(orientation 6\)"),
        ("s.tif", np.repeat(grey[0, :, :, None], 4, 2), {"photometric": "separated"}, "samples are inks"),
    ):
        tifffile.imwrite(tmp_path / name, values, **kind)
        with pytest.raises(ValueError, match=said):
            load_image(tmp_path / name, 4 if name == "s.tif" else 2)


def test_pages_of_colours_are_not_read_as_their_first(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="channels lie along one axis"):
        load_image(tmp_path / "a.tif", 3)
    # a mask of the same size is no page of colours
    page = Image.fromarray(np.full((8, 8, 3), 51, np.uint8))
    page.save(tmp_path / "b.tif", save_all=True, append_images=[Image.new("1", (8, 8))])
    assert load_image(tmp_path / "b.tif", 3).unique().tolist() == pytest.approx([0.2])


def test_a_smaller_second_page_is_no_channel(tmp_path: Path) -> None:
    made = pages(tmp_path / "a.tif", [(6, 8), (3, 4)])
    same(load_image(tmp_path / "a.tif", 1), expected(made[0][..., None], 255))
    assert image_shape(tmp_path / "a.tif") == (1, 6, 8)


def test_what_reads_stacks_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    pages(tmp_path / "a.tif", [(6, 8)] * 5)
    for channels in (1, 5):
        with pytest.raises(DataError, match=r"row 2 .*a\.tif: it is a TIFF.* pip install 'mibias\[tiff\]'"):
            read(tmp_path / "a.tif", channels)
    # on_bad_sample: skip would leave out every image
    with pytest.raises(DataError, match="tifffile"):
        readable(FileImages([str(tmp_path / "a.tif")]))


def test_pages_of_one_size_are_channels(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    made = np.stack(pages(tmp_path / "a.tif", [(6, 8)] * 5), axis=2)
    same(load_image(tmp_path / "a.tif", 5), expected(made, 255))
    assert image_shape(tmp_path / "a.tif") == (5, 6, 8)
    with pytest.raises(DataError, match=r"has 5 channel\(s\)"):
        read(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("bigtiff", "n"), [(False, 13), (True, 13), (False, 4), (False, 2)])
def test_tiff_files_of_many_samples(
    tmp_path: Path, planar: str, dtype: type[np.generic], bigtiff: bool, n: int
) -> None:
    tifffile = pytest.importorskip("tifffile")
    bands = BANDS[..., :n]
    values = (bands / 65535).astype(dtype) if dtype is np.float32 else bands.astype(dtype)
    stored = values if planar == "contig" else values.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, bigtiff=bigtiff)
    largest = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    same(load_image(tmp_path / "a.tif", n), expected(values, largest))
    same(load_image(io.BytesIO((tmp_path / "a.tif").read_bytes()), None), expected(values, largest))
    assert image_shape(tmp_path / "a.tif") == (n, 4, 6)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_sample_beside_colours(tmp_path: Path, planar: str, dtype: type[np.generic]) -> None:
    """Near infrared, say: a channel where four are wanted; of three, one too many where planes are read one by one."""
    tifffile = pytest.importorskip("tifffile")
    values = BANDS[..., :4].astype(dtype)
    stored = values if planar == "contig" else values.transpose(2, 0, 1)
    path, largest = tmp_path / "a.tif", np.iinfo(dtype).max
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, extrasamples=["unspecified"])
    assert image_shape(path) == (4, 4, 6)
    same(load_image(path, 4), expected(values, largest))
    if planar == "contig":
        # as ever, Pillow's eight bits
        torch.testing.assert_close(load_image(path, 3), expected(values[..., :3], largest), rtol=0, atol=1 / 255)
    else:
        with pytest.raises(UnfitImage, match="has 4 channel"):
            load_image(path, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "largest"), [("u1", 255), ("i1", 127), ("u2", 65535), ("i2", 32767)])
def test_one_page_is_scaled_as_several_are(tmp_path: Path, dtype: str, largest: int, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    page = np.array([[0, 1, 100], [99, 3, largest]]).astype(f"{order}{dtype}")
    for n in (1, 2):
        tifffile.imwrite(tmp_path / "a.tif", page if n == 1 else np.stack([page] * n), photometric="minisblack")
        same(load_image(tmp_path / "a.tif", None), expected(np.stack([page] * n, axis=-1), largest))
        if dtype[0] == "i":
            signed = np.stack([page] * n) if n > 1 else page
            tifffile.imwrite(tmp_path / "b.tif", signed - np.array(5, page.dtype), photometric="minisblack")
            with pytest.raises(DataError, match=rf"its values run from -5 to {largest - 5}, outside"):
                read(tmp_path / "b.tif", n)


def test_stacks_of_two_axes_are_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 5, 6, 8), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(DataError, match=r"axes are ZCYX \(2, 5, 6, 8\), and channels lie along one axis"):
        read(tmp_path / "a.tif", 5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["array", "samples", "pages", "colour"])
def test_damaged_files_are_broken_images_and_no_crash(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.npy" if kind == "array" else "a.tif")
    if kind == "array":
        np.save(path, BANDS)
    elif kind == "pages":
        pages(path, [(6, 8)] * 3)
    elif kind == "colour":
        Image.fromarray(BANDS[..., :3].astype(np.uint8)).save(path)
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, BANDS, photometric="minisblack", planarconfig="contig")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for k in range(100):
        damaged = bytearray(content)
        for at in rng.integers(4, min(250, len(content)), 8):
            damaged[at] = rng.integers(256)
        path.write_bytes(bytes(damaged) if k % 2 else content[: rng.integers(1, len(content) - 1)])
        for read_it in (partial(load_image, path, None), partial(load_image, path, 13), partial(image_shape, path)):
            # what it is depends on the damage; that it is one of these, on nothing; DataError: tifffile is missing
            with suppress(DataError, *BROKEN_IMAGE):
                assert read_it() is not None


def test_which_arrays_of_a_folder_are_images(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", BANDS)
    np.save(tmp_path / "embeddings.npy", np.zeros((9, 16), np.float32))
    np.save(tmp_path / "ids.npy", np.arange(9))
    (tmp_path / "text.npy").write_text("no array")
    assert find_images(tmp_path).images == ["image.npy"]


def test_arrays_in_shards_where_they_are_named(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, BANDS)
    write_tar(tmp_path / "a.tar", [("0.npy", file.getvalue()), ("0.cls", b"1")])
    images = read_shards(tmp_path / "a.tar", image="npy", reading=AS_USUAL).images
    same(load_image(images.source(0), 13), expected(BANDS, 65535))
