"""Files that unpack to what nobody means, and headers that lie."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.columns import AttributeColumn, numbers
from mibias_cli.data.encoding import encode_attribute
from mibias_cli.data.files.images import load_image
from mibias_cli.data.files.stored_features import open_features
from mibias_cli.data.files.tabular import read_table
from mibias_cli.errors import DataError


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(11_400, 11_400), (70_000_000, 1)])
def test_a_picture_of_too_many_pixels_is_refused_by_its_size(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(ValueError, match=f"{width:,} × {height:,} pixels"):
        load_image(path, 3)


def test_an_archive_that_unpacks_to_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "z.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", b"")
    # what the directory says of it is enough, so nothing as large is made here
    raw = path.read_bytes()
    place = raw.rindex(b"PK\x01\x02")
    path.write_bytes(raw[: place + 24] + struct.pack("<I", 2**30) + raw[place + 28 :])
    with pytest.raises(DataError, match="unpacks from .* to 1,073,741,824"):
        open_features(path, key="features", prefix="z_")


def test_a_table_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mibias_cli.data.files.refused._MANY_BYTES", 2**20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 2**20, 9))
    with pytest.raises(DataError, match="unpack it first"):
        read_table(path)


@pytest.mark.parametrize("shape", ["(-5, -4)", "(-1, 4)", "(1000000000000000000, 4)", "(99999999999999999999999, 4)"])
def test_a_shape_that_cannot_be_is_a_data_error(tmp_path: Path, shape: str) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    path = tmp_path / "z.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(400))
    with pytest.raises(DataError, match=r"z\.npy"), np.errstate(over="ignore"):
        open_features(path, key="features", prefix="z_")


def test_numbers_beyond_single_precision_are_no_numbers() -> None:
    parsed, wrong = numbers(np.array(["1e300", "-1e31", "1e29", "nan", None], dtype=object))
    assert wrong.tolist() == [True, True, False, True, False]
    assert np.isnan(parsed).tolist() == [True, True, False, True, True]


def test_an_attribute_of_thousands_of_values_is_refused_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "".join(f"c{k}\n" for k in range(1001)))
    with pytest.raises(DataError, match="'a' has 1,001 values"):
        encode_attribute("a", AttributeColumn(), read_table(path), np.ones(1001, dtype=bool))
