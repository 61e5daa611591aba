"""Images within tables, as hubs store them, into shards: the same bytes, columns and class names."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_files import picture

from mibias_cli.data.files.tabular import AS_USUAL
from mibias_cli.data.shards.shards import read_shards
from mibias_cli.datasets import hub_images
from mibias_cli.datasets.hub_images import write_hub_shards
from mibias_cli.errors import DataError

N = 150
CLASSES = {"names": ["cat", "dog"], "_type": "ClassLabel"}
LISTS = {"several": {"feature": CLASSES, "_type": "Sequence"}, "formerly": [CLASSES]}
INFO = {
    "info": {"features": {"label": CLASSES, **LISTS, "image": {"_type": "Image"}, "boxes": {"feature": {"names": 7}}}}
}


def hub_table(first: int = 0, **columns: list[object]) -> pa.Table:
    """Images in a struct, as `datasets` has them: half of them with the name of a file."""
    rows = range(first, first + N)
    images = [{"bytes": picture(k), "path": f"{k}.png" if k % 2 else None} for k in rows]
    table = pa.table(
        {
            "image": images,
            "label": [k % 2 for k in rows],
            "age": [k + 0.5 for k in rows],
            "sex": [None if k == 3 else "fm"[k % 2] for k in rows],
            "boxes": [[1, k] for k in rows],
            "words": [["a|b"] * (k % 2) for k in rows],
            "several": pa.array([[0, 1][: k % 3] for k in rows], pa.list_(pa.int64())),
            "formerly": pa.array([[1] for _ in rows], pa.large_list(pa.int8())),
            **columns,
        }
    )
    return table.replace_schema_metadata({"huggingface": json.dumps(INFO)})


def write_stream(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with pa.OSFile(str(path), "w") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=40)


def test_parquet_and_datasets_folders_become_shards(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pq.write_table(hub_table(), tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", row_group_size=40)
    write_stream(hub_table(first=60), tmp_path / "hub" / "saved" / "data-00000-of-00001.arrow")
    made = write_hub_shards(tmp_path / "hub", tmp_path / "out")
    assert {shard.relative_to(tmp_path / "out").as_posix(): n for shard, n in made.counts.items()} == {
        "data/train-00000-of-00001.tar": N, "saved/data-00000-of-00001.tar": N,
    }  # fmt: skip
    assert list(made.left_out) == ["boxes"]
    for name, first in (("data/train", 0), ("saved/data", 60)):
        found = read_shards(tmp_path / "out" / f"{name}-00000-of-00001.tar", image=None, reading=AS_USUAL)
        columns = found.table.columns
        assert [found.images.content(row) for row in range(N)] == [picture(first + row) for row in range(N)]
        assert list(columns["label"]) == ["cat", "dog"] * (N // 2)
        assert list(columns["words"]) == ["[]", "['a|b']"] * (N // 2)
        assert list(columns["several"]) == ["[]", "['cat']", "['cat', 'dog']"] * (N // 3)
        assert set(columns["formerly"]) == {"['dog']"}
        assert list(columns["age"][:2]) == [f"{first + k}.5" for k in range(2)]
        assert (columns["sex"][3] is None) == (first == 0)
    first_bytes = [shard.read_bytes() for shard in made.counts]
    assert [s.read_bytes() for s in write_hub_shards(tmp_path / "hub", tmp_path / "again").counts] == first_bytes


def test_names_of_classes_too_deep_to_be_read_leave_numbers(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    pq.write_table(hub_table().replace_schema_metadata({"huggingface": "[" * 100_000}), tmp_path / "hub" / "a.parquet")
    (shard,) = write_hub_shards(tmp_path / "hub", tmp_path / "out").counts
    assert list(read_shards(shard, image=None, reading=AS_USUAL).table.columns["label"]) == ["0", "1"] * (N // 2)


def test_bytes_without_a_name_are_named_by_their_format(tmp_path: Path) -> None:
    table = pa.table({"jpg": [picture(1, "JPEG"), picture(2)], "y": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    (shard,) = write_hub_shards(tmp_path / "a.parquet", tmp_path / "out").counts
    found = read_shards(shard, image=None, reading=AS_USUAL)
    assert list(found.table.row_numbers) == ["a.tar/000000000.jpeg", "a.tar/000000001.png"]


@pytest.mark.parametrize(
    ("columns", "image", "message"),
    [
        ({"mask": [picture(1)]}, None, r"several columns of images \(image, mask\); name one with --image"),
        ({}, "imag", r"--image imag: no column of images, did you mean 'image'\?"),
        ({"image": [1]}, None, "has no column of images"),
        ({"image": [{"bytes": None, "path": "a.png"}]}, None, "row 1: 'image' holds no image itself|no column"),
        ({"image": [{"bytes": b"?", "path": None}]}, None, "row 1: is no image that Pillow knows"),
        ({"image": [{"bytes": b"", "path": None}]}, None, "row 1: 'image' holds no image itself"),
    ],
)
def test_what_holds_no_images_is_an_error(
    tmp_path: Path, columns: dict[str, list[object]], image: str | None, message: str
) -> None:
    table = pa.table({"image": [{"bytes": picture(1), "path": None}], **columns})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        write_hub_shards(tmp_path / "a.parquet", tmp_path / "out", image=image)
    # nothing is left half written
    assert not list((tmp_path / "out").glob("*"))


def test_shards_are_not_written_over(tmp_path: Path) -> None:
    pq.write_table(hub_table(), tmp_path / "a.parquet")
    write_hub_shards(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="a.tar: exists already"):
        write_hub_shards(tmp_path, tmp_path / "out")
    assert write_hub_shards(tmp_path, tmp_path / "out", overwrite=True).counts == {tmp_path / "out" / "a.tar": N}
    with pytest.raises(DataError, match="no Parquet or Arrow file"):
        write_hub_shards(tmp_path / "out", tmp_path / "again")


def test_a_full_disk_is_not_said_of_the_file_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(hub_table(), tmp_path / "a.parquet")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub_images, "_add", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_hub_shards(tmp_path / "a.parquet", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_pages_that_are_damaged_are_said_of_the_file(tmp_path: Path) -> None:
    pq.write_table(hub_table(), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:400] = bytes(396)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet or Arrow"):
        write_hub_shards(tmp_path / "a.parquet", tmp_path / "out")
