"""New rows of a table beside those of training: what their numbers say of units and of marks of missing values."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from layouts import write
from shard_files import picture, split_shards, write_tar

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.files import packed
from mibias_cli.data.files.images import load_image
from mibias_cli.data.files.packed import PackedTexts
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.data.inputs import IDENTITY
from mibias_cli.data.new_inputs import NewInputs, read_new
from mibias_cli.data.sources.table import load_table
from mibias_cli.data.sources.webdataset import load_webdataset
from mibias_cli.errors import DataError

N = 120
TINY = 12
HEADER = ["age", "target", "sex"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda k: 20 + k % 50, ""),
        # a narrower group, one old patient, a constant
        (lambda k: 60 + k % 5, ""),
        (lambda k: 105 if k == 3 else 20 + k % 50, ""),
        (lambda k: 40, ""),
        (lambda k: 12 * (20 + k % 50), "is 240 to 828, and was "),
        (lambda k: (20 + k % 50) / 100, "is it in another unit?"),
        (lambda k: -9 if k % 7 == 0 else 20 + k % 50, "'age' is -9 in 18 rows, and 20 to 69 in all others"),
    ],
)
def test_what_is_said_of_numbers_of_new_rows(tmp_path: Path, value: Callable[[int], float], said: str) -> None:
    rows = [[20 + k % 50, "ab"[k % 2], "fm"[k // 2 % 2]] for k in range(150)]
    data = load_table(write(tmp_path / "t.csv", HEADER, rows), attributes={"sex": AttributeColumn()})
    path = write(tmp_path / "new.csv", HEADER[:1], [[value(k)] for k in range(N)])
    notes = read_new(path, data.inputs, input_shape=data.input_shape, transforms=IDENTITY).notes
    assert (not notes) if not said else said in " ".join(notes)


def test_text_that_training_read_as_numbers_is_no_category(tmp_path: Path) -> None:
    rows = [[20 + k % 50, "ab"[k % 2], "fm"[k // 2 % 2]] for k in range(150)]
    data = load_table(write(tmp_path / "t.csv", HEADER, rows), attributes={"sex": AttributeColumn()})
    pq.write_table(pa.table({"age": [str(20 + k % 50) for k in range(N)]}), tmp_path / "new.parquet")
    new = read_new(tmp_path / "new.parquet", data.inputs, input_shape=data.input_shape, transforms=IDENTITY)
    assert not new.notes


def test_new_shards_are_read_by_the_ending_of_the_training_data(tmp_path: Path) -> None:
    members = [
        member
        for k in range(40)
        for member in (
            (f"{k}.png", picture(k)),
            (f"{k}.mask.png", picture(255 - k)),
            (f"{k}.json", json.dumps({"target": k % 2, "sex": "fm"[k // 2 % 2]}).encode()),
        )
    ]
    path = write_tar(tmp_path / "a.tar", members)
    data = load_webdataset(path, image="mask.png", attributes={"sex": AttributeColumn()})
    assert data.inputs is not None
    new = read_new(path, data.inputs, input_shape=(3, 2, 3), transforms=IDENTITY)
    assert torch.equal(new.split.reader.read(np.array([0]), None)[0], load_image(io.BytesIO(picture(255)), 3))


def test_shards_are_new_images_in_the_order_in_which_they_lie(tmp_path: Path) -> None:
    root = split_shards(tmp_path, {"a-0.tar": 3, "b-0.tar": 2})
    new = read_new(root, ImageRules(), input_shape=(3, 2, 3), transforms=IDENTITY)
    assert new.ids == (*(f"a-0.tar/{k:05d}.png" for k in range(3)), *(f"b-0.tar/{k:05d}.png" for k in range(2)))
    read = new.split.reader.read(np.array([2, 4]), None)
    assert torch.equal(read, torch.stack([load_image(io.BytesIO(picture(k)), 3) for k in (2, 1)]))
    assert read_new(root / "{a,b}-0.tar", ImageRules(), input_shape=(3, 2, 3), transforms=IDENTITY).ids == new.ids
    # an archive beside images is where they came from
    (root / "0.png").write_bytes(picture(9))
    assert read_new(root, ImageRules(), input_shape=(3, 2, 3), transforms=IDENTITY).ids == ("0.png",)
    write_tar(root / "c.tar", [("1.cls", b"1")])
    with pytest.raises(DataError, match=r"1 of 1 sample\(s\) have no image: c\.tar/1"):
        read_new(root / "c.tar", ImageRules(), input_shape=(3, 2, 3), transforms=IDENTITY)


@pytest.mark.parametrize("name", ["images", "m.csv", "m.parquet"])
def test_very_many_images_are_read_as_few_are(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are then kept as bytes, and files are looked for when they are read."""
    (tmp_path / "images").mkdir()
    for k in range(TINY):
        (tmp_path / "images" / f"{k:02d}.png").write_bytes(picture(k))
    listed = [f"images/{k:02d}.png" for k in np.random.default_rng(0).permutation(TINY)]
    rules = ImageRules(path="file")
    if name != "images":
        table = pa.table({"file": listed, "note": ["[1, 2]"] * TINY})
        (pa.csv.write_csv if name.endswith(".csv") else pq.write_table)(table, tmp_path / name)

    def read() -> NewInputs:
        return read_new(tmp_path / name, rules, input_shape=(3, 2, 3), transforms=IDENTITY)

    few = read()
    monkeypatch.setattr(packed, "LARGE", TINY - 1)
    many = read()
    assert isinstance(many.ids, PackedTexts)
    assert list(many.ids) == list(few.ids)
    assert list(many.split.row_names) == list(few.split.row_names)
    rows = np.array([7, 0, 11])
    assert torch.equal(many.split.reader.read(rows, None), few.split.reader.read(rows, None))
    # what tells data apart does not depend on anything but them
    assert many.ids_sha256 == read().ids_sha256
    assert many.sample_sha256(3, 9) == few.sample_sha256(3, 9)
    assert many.sample_sha256(3, 9) != many.sample_sha256(4, 9)
    (tmp_path / "images" / "07.png").unlink()
    row = list(few.ids).index("07.png" if name == "images" else "images/07.png")
    with pytest.raises(DataError, match=r"07\.png.* cannot be read"):
        many.split.reader.read(np.array([row]), None)
