"""Waterbirds' metadata.csv in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mibias_cli.datasets.waterbirds import read_waterbirds
from mibias_cli.errors import DataError

HEADER = "img_id,img_filename,y,split,place,place_filename\n"
ROWS = ["4,001.Albatross/a.jpg,1,0,0,/f/x.jpg", "2,001.Albatross/b.jpg,0,1,1,/f/y.jpg", "9,c.jpg,1,2,1,/f/z.jpg"]


def waterbirds(folder: Path, rows: list[str] = ROWS) -> Path:
    (folder / "001.Albatross").mkdir(exist_ok=True)
    for name in ("001.Albatross/a.jpg", "001.Albatross/b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"")
    (folder / "metadata.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return folder


def test_words(tmp_path: Path) -> None:
    columns, notes = read_waterbirds(waterbirds(tmp_path))
    assert columns == {
        "path": ["001.Albatross/a.jpg", "001.Albatross/b.jpg", "c.jpg"],
        "bird": ["waterbird", "landbird", "waterbird"],
        "place": ["land", "water", "water"],
        "split": ["train", "validation", "test"],
    }
    assert notes == []


def test_images_that_are_not_there(tmp_path: Path) -> None:
    waterbirds(tmp_path)
    (tmp_path / "c.jpg").unlink()
    columns, notes = read_waterbirds(tmp_path)
    assert columns["bird"] == ["waterbird", "landbird"]
    assert notes == ["1 image(s) of metadata.csv are not there, left out: row 4 (c.jpg)"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,a.jpg,2,0,0,x"], r"1 value\(s\) of 'y' are none of 0, 1: row 2 \('2'\)"),
        (["1,a.jpg,1,3,0,x"], r"1 value\(s\) of 'split' are none of 0, 1, 2: row 2 \('3'\)"),
        (["1,a.jpg,1,0,0,x", "1,b.jpg,1,0,0,x"], r"1 value\(s\) of 'img_id' occur more than once: 1"),
        (["1,nowhere.jpg,1,0,0,x"], r"none of the 1 images"),
    ],
)
def test_errors(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_waterbirds(waterbirds(tmp_path, rows))
