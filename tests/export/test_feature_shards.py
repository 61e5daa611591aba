"""Features in shards: the one-file output cut in pieces, by any ranks in any order, and never mixed with others."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data import new_inputs
from mibias_cli.data.files.readers import StoredReader
from mibias_cli.data.input_rules import EmbeddingRules
from mibias_cli.data.new_inputs import NewInputs
from mibias_cli.data.shards.feature_parts import open_stored
from mibias_cli.errors import DataError, ExportError
from mibias_cli.export import feature_shards
from mibias_cli.export.feature_shards import FeatureShards, begin_shards, described_shards, write_shards
from mibias_cli.export.load import LoadedExtractor, extractor_of
from mibias_cli.export.new_rows import EmbeddedRows
from mibias_cli.progress import Silent
from mibias_cli.ranks.place import Share

N, D = 103, 6
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def extractor(seed: int = 0) -> LoadedExtractor:
    backbone = create_backbone("mlp", options={"hidden": [8], "features": 4}, input_shape=(D,), seed=seed)
    return extractor_of(
        backbone, Extractor(backbone.module, backbone.n_features), inputs=EmbeddingRules(), source="model"
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


def begin(
    data: Path, out: Path, n: int, suffix: str = ".parquet", loaded: LoadedExtractor | None = None
) -> FeatureShards:
    loaded = loaded or extractor()
    return begin_shards(loaded, loaded.open(data), out, rows_per_shard=n, suffix=suffix, target="model")


def write(data: Path, shards: FeatureShards, share: Share) -> None:
    loaded = extractor()
    write_shards(loaded, loaded.open(data), shards, share=share, progress=Silent())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
@pytest.mark.parametrize(("n", "size"), [(1, 3), (10, 2), (64, 1), (103, 4), (1000, 2)])
def test_ranks_together_write_what_one_file_holds(data: Path, tmp_path: Path, suffix: str, n: int, size: int) -> None:
    out = tmp_path / "z"
    # the last rank first: none waits for another
    for rank in reversed(range(size)):
        shards = begin(data, out, n, suffix)
        before = set(names(out))
        write(data, shards, Share(rank=rank, size=size))
        made = set(names(out)) - before
        assert made == {shards.path(k).name for k in range(rank, len(shards), size)}
    assert len(names(out)) == len(shards) + 1
    whole = extractor().embed(data)
    features = open_stored(out, key="features", prefix="z_")
    assert features.shape == (N, 4)
    np.testing.assert_allclose(np.concatenate(list(features.chunks())), whole.features, rtol=0, atol=1e-6)
    for k in range(len(shards)):
        rows = slice(k * n, (k + 1) * n)
        if suffix == ".parquet":
            assert pq.read_table(shards.path(k)).column("row").to_pylist() == list(range(1, N + 1))[rows]
        else:
            with safe_open(shards.path(k), framework="np") as file:
                assert json.loads(file.metadata()["row"]) == list(whole.ids[rows])
    assert described_shards(out) == shards


def test_what_is_there_stays_and_what_a_kill_left_goes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "z"
    shards = begin(data, out, 25)
    write(data, shards, Share(rank=1, size=2))
    kept = {path: path.stat().st_ino for path in out.glob("part-*")}
    for number in (0, 1):
        (out / f".{shards.path(number).name}.0123abcd.partial").touch()
    # another number of ranks goes on
    write(data, begin(data, out, 25), Share())
    assert {path: path.stat().st_ino for path in kept} == kept
    # that of shard 1 may be another process's, which writes it at this moment: it is whole here
    assert [name for name in names(out) if name.startswith(".")] == [f".{shards.path(1).name}.0123abcd.partial"]
    assert open_stored(out, key="", prefix="z_").shape == (N, 4)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_memory_holds_one_shard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Of features one shard's alone, and of large inputs the same rows."""
    monkeypatch.setattr(new_inputs, "IN_MEMORY_BYTES", limit)
    alive: list[weakref.ref[np.ndarray]] = []
    taken: list[int] = []
    really_write, really_hold = EmbeddedRows.write, StoredReader.holding

    def counted(rows: EmbeddedRows, path: Path | str, **more: Mapping[str, str]) -> None:
        assert [ref for ref in alive if ref() is not None] == []
        alive.append(weakref.ref(rows.features))
        really_write(rows, path, **more)

    def held(reader: StoredReader, rows: np.ndarray) -> StoredReader:
        taken.append(len(rows))
        return really_hold(reader, rows)

    monkeypatch.setattr(EmbeddedRows, "write", counted)
    monkeypatch.setattr(StoredReader, "holding", held)
    write(data, begin(data, tmp_path / "z", 20), Share())
    assert len(alive) == 6
    assert taken == ([20, 20, 20, 20, 20, 3] if limit == 0 else [])
    found = np.concatenate(list(open_stored(tmp_path / "z", key="", prefix="z_").chunks()))
    np.testing.assert_allclose(found, extractor()(torch.from_numpy(X)).numpy(), rtol=0, atol=1e-6)


def test_shards_of_something_else_are_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "z"
    begin(data, out, 25)
    before = (out / "shards.json").read_text()
    np.save(tmp_path / "fewer.npy", X[:-1])

    def message(data: Path = data, n: int = 25, suffix: str = ".parquet", loaded: LoadedExtractor | None = None) -> str:
        with pytest.raises(ExportError) as caught:
            begin(data, out, n, suffix, loaded)
        return str(caught.value)

    assert f"other the data ({data} before, {tmp_path / 'fewer.npy'} now); choose" in message(tmp_path / "fewer.npy")
    assert "other --rows-per-shard (25 before, 10 now); choose another folder" in message(n=10)
    assert "other --format (parquet before, safetensors now);" in message(suffix=".safetensors")
    assert "other the weights of TARGET (model before, model now);" in message(loaded=extractor(seed=1))
    reads = replace(extractor(), made_by="another input size")
    assert "other how inputs are read; choose" in message(loaded=reads)
    assert (out / "shards.json").read_text() == before
    # the same data from another place go on
    np.save(tmp_path / "copy.npy", X)
    assert begin(tmp_path / "copy.npy", out, 25) == begin(data, out, 25)


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_shards_of_inputs_that_have_changed_are_refused(data: Path, tmp_path: Path, suffix: str) -> None:
    """What has changed in rows that are not embedded yet was mended."""
    shards = begin(data, tmp_path / "z", 25, suffix)
    write(data, shards, Share(rank=1, size=2))
    mended, other = X.copy(), X.copy()
    mended[0] += 1
    other[49] += 1
    np.save(tmp_path / "other.npy", other)
    path = shards.path(1)
    with pytest.raises(ExportError, match=rf"{path.name}: was embedded from other inputs than are in .*other.npy now"):
        write(tmp_path / "other.npy", shards, Share())
    np.save(data, mended)
    write(data, shards, Share())
    np.testing.assert_allclose(
        np.concatenate(list(open_stored(tmp_path / "z", key="features", prefix="z_").chunks())),
        extractor()(torch.from_numpy(mended)).numpy(), rtol=0, atol=1e-6,
    )  # fmt: skip
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ExportError, match=rf"{path.name}: cannot be read: .*; remove it"):
        write(data, shards, Share())


def test_folders_that_cannot_be_one_of_shards(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "z")
    (tmp_path / "other" / "a.png").touch()
    for out, text in {
        tmp_path / "other": r"holds other files \(a.png\)",
        tmp_path / "z.parquet": "is called as a file is; with --rows-per-shard it names a folder",
        data: "is a file; with --rows-per-shard it names a folder",
        data / "z": "x.npy is a file, so nothing can be written below it",
        tmp_path / "link": "is a link to what is not there",
    }.items():
        with pytest.raises(ExportError, match=text):
            begin(data, out, 25)
    monkeypatch.setattr(feature_shards, "_MOST_SHARDS", 3)
    with pytest.raises(ExportError, match="103 rows would be 11 files, more than 3; name a larger number"):
        begin(data, tmp_path / "many", 10)
    assert not (tmp_path / "many").exists()
    out = tmp_path / "damaged"
    begin(data, out, 50)
    for text in ("[", "[" * 100_000):  # the second is too deep for the parser
        (out / "shards.json").write_text(text)
        with pytest.raises(ExportError, match=r"shards.json: does not say of what the shards are"):
            begin(data, out, 50)


@pytest.mark.parametrize("when", ["embedding", "writing"])
def test_the_same_command_twice_at_once_is_no_fault(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The other one writes all shards while this one embeds its first, or takes its unfinished file for a kill's."""
    shards, embed, save = begin(data, tmp_path / "z", 40), LoadedExtractor.embed_part, pq.write_table
    other = iter([lambda: write(data, shards, Share())])

    def embedding(loaded: LoadedExtractor, new: NewInputs, start: int, stop: int, *, num_workers: int) -> EmbeddedRows:
        if when == "embedding":
            next(other, lambda: None)()
        return embed(loaded, new, start, stop, num_workers=num_workers)

    def writing(table: pa.Table, path: Path, **options: bool) -> None:
        save(table, path, **options)
        if when == "writing":
            next(other, lambda: None)()

    monkeypatch.setattr(LoadedExtractor, "embed_part", embedding)
    monkeypatch.setattr(pq, "write_table", writing)
    write(data, shards, Share())
    assert next(other, None) is None
    assert names(tmp_path / "z") == [*(shards.path(k).name for k in range(3)), "shards.json"]
    assert open_stored(tmp_path / "z", key="", prefix="z_").shape == (N, 4)


def test_names_that_are_no_text_are_described(data: Path, tmp_path: Path) -> None:
    """A path of bytes that are no UTF-8, as Python has it."""
    for _ in range(2):
        loaded = extractor()
        shards = begin_shards(
            loaded, loaded.open(data), tmp_path / "z", rows_per_shard=40, suffix=".parquet", target="caf\udce9"
        )
    assert described_shards(tmp_path / "z") == shards


def test_what_is_no_file_is_not_taken_for_a_shard(data: Path, tmp_path: Path) -> None:
    shards = begin(data, tmp_path / "z", 50)
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to(tmp_path / "elsewhere")):
        path = shards.path(1)
        make(path)
        with pytest.raises(ExportError, match=rf"{path.name}: is no file; remove it, and it is embedded anew"):
            write(data, shards, Share())
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not (tmp_path / "elsewhere").exists()


def test_features_that_changed_on_disk_are_damage(data: Path, tmp_path: Path) -> None:
    shards = begin(data, tmp_path / "z", N)
    write(data, shards, Share())
    content = bytearray(shards.path(0).read_bytes())
    largest = extractor()(torch.from_numpy(X)).numpy()[:, 0].max()
    content[content.index(largest.tobytes())] ^= 1
    shards.path(0).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as numbers: .*CRC"):
        list(open_stored(tmp_path / "z", key="features", prefix="z_").chunks())
