"""Shards of stored embeddings: the same as the one array that they were cut from, and none may be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files import stored_features
from mibias_cli.data.files.readers import StoredReader
from mibias_cli.data.shards.feature_parts import open_stored, part_name
from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.errors import DataError

N, D = 97, 5
FEATURES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
SIZES = (20, 1, 0, 13, 40, 23)
PATHS = [f"{k:03d}.png" for k in np.random.default_rng(1).permutation(N)]
SUFFIXES = (".parquet", ".safetensors", ".npy")


def write(path: Path, features: np.ndarray, paths: list[str]) -> Path:
    if path.suffix == ".safetensors":
        save_file({"features": features}, path, metadata={"path": "[" + ",".join(f'"{p}"' for p in paths) + "]"})
    elif path.suffix == ".parquet":
        columns = {f"z_{k}": features[:, k] for k in range(features.shape[1])}
        pq.write_table(pa.table({"path": pa.array(paths, pa.string()), **columns}), path)
    else:
        np.save(path, features)
    return path


def shards(folder: Path, suffix: str, order: list[int] | None = None) -> Path:
    """The features in files of uneven sizes, written in any order."""
    folder.mkdir()
    starts = np.cumsum([0, *SIZES])
    for k in order or [4, 0, 5, 2, 1, 3]:
        rows = slice(starts[k], starts[k + 1])
        write(folder / part_name(k, len(SIZES), suffix), FEATURES[rows], PATHS[rows])
    (folder / "shards.json").write_text("{}")
    (folder / f".part-00009-of-00010{suffix}.0123abcd.partial").touch()
    return folder


def labels(path: Path, order: np.ndarray) -> Path:
    rows = [f"{PATHS[k]},{'ab'[k % 2]},{'xyz'[k % 3]},{('train', 'validation', 'test')[k // 2 % 3]}" for k in order]
    path.write_text("\n".join(["path,target,hospital,split", *rows]))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shards_are_the_array_that_they_were_cut_from(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_features, "_CHUNK_BYTES", 7 * 4 * D)
    features = open_stored(shards(tmp_path / "z", suffix), key="features", prefix="z_")
    assert features.shape == (N, D)
    chunks = list(features.chunks())
    # whatever the number of rows, so many are in memory at a time
    assert max(map(len, chunks)) == 7
    np.testing.assert_array_equal(np.concatenate(chunks), FEATURES)
    rows = np.random.default_rng(2).integers(0, N, 200)
    np.testing.assert_array_equal(features.take(rows), FEATURES[rows])
    assert features.take(rows[:0]).shape == (0, D)
    assert features.by_row == (suffix != ".parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_of_shards_is_the_same_data_as_one_file(tmp_path: Path, suffix: str) -> None:
    manifest = labels(tmp_path / "m.csv", np.arange(N))
    one = write(tmp_path / f"one{suffix}", FEATURES, PATHS)
    held, stored = (
        load_embeddings(
            path, manifest=manifest, columns=Columns(split="split"), attributes={"hospital": AttributeColumn()},
            in_memory_bytes=limit,
        )
        for path, limit in ((one, 2**30), (shards(tmp_path / "z", suffix), 0))
    )  # fmt: skip
    assert isinstance(stored.train.reader, StoredReader)
    assert stored.fingerprint == held.fingerprint


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
@pytest.mark.parametrize("in_parts", [True, False])
def test_labels_in_another_order_than_the_paths_beside_features_are_refused(
    tmp_path: Path, suffix: str, in_parts: bool
) -> None:
    # two rows change places that are in different shards
    order = np.arange(N)
    order[[3, 90]] = 90, 3
    path = shards(tmp_path / "z", suffix) if in_parts else write(tmp_path / f"z{suffix}", FEATURES, PATHS)
    with pytest.raises(DataError, match=r"2 row\(s\) are not in the order of z.*, whose 'path' are ids of 'path'"):
        load_embeddings(
            path,
            manifest=labels(tmp_path / "m.csv", order),
            columns=Columns(split="split"),
            attributes={"hospital": AttributeColumn()},
        )


def test_faults_are_named(tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(DataError) as caught:
            open_stored(folder, key="features", prefix="z_")
        return str(caught.value)

    folder = shards(tmp_path / "z", ".parquet", order=[0, 2, 3, 5])
    assert "2 of 6 shards are not there: part-00001-of-00006.parquet, part-00004-of-00006.parquet" in message(folder)
    (tmp_path / "empty").mkdir()
    assert "is a folder without shards of embeddings" in message(tmp_path / "empty")
    folder = shards(tmp_path / "wide", ".npy")
    np.save(folder / part_name(3, 6, ".npy"), np.zeros((13, D + 1)))
    assert "part-00003-of-00006.npy: its embeddings are 6 wide, those of part-00000-of-00006.npy are 5" in message(
        folder
    )
    folder = shards(tmp_path / "two", ".npy")
    np.save(folder / "train-00000-of-00001.npy", FEATURES)
    assert "holds shards of 2 sets (part-00000-of-00006.npy, train-00000-of-00001.npy)" in message(folder)
    folder = shards(tmp_path / "beyond", ".npy")
    (folder / part_name(2, 6, ".npy")).rename(folder / part_name(6, 6, ".npy"))
    assert "part-00006-of-00006.npy: there is no such shard of 6: they count from 0" in message(folder)
    # no list of the missing ones is made
    claims = tmp_path / "claims"
    claims.mkdir()
    np.save(claims / "part-00000-of-99999999999.npy", FEATURES)
    assert "part-00005-of-99999999999.npy and 99999999993 more" in message(claims)


def test_shards_need_a_table_of_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds features alone; set data.manifest"):
        load_embeddings(shards(tmp_path / "z", ".parquet"), attributes={"hospital": AttributeColumn()})
