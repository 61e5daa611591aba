"""Features in files: the same in chunks, by row and in memory, and never more in memory than is asked for."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files import stored_features
from mibias_cli.data.files.readers import StoredReader, hold_rows
from mibias_cli.data.files.stored_features import array_shapes, open_features
from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.errors import DataError

N, D = 97, 5
FEATURES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
LABELS = {
    "target": ["ill" if k % 2 else "well" for k in range(N)],
    "hospital": ["ab"[k // 2 % 2] for k in range(N)],
    "split": [("other" if k < 3 else "train", "validation", "test")[k % 3] for k in range(N)],
}
KINDS = ("e.safetensors", "e.npz", "packed.npz", "e.npy", "fortran.npy", "fortran.npz", "e.parquet", "one.parquet")


def write(path: Path, features: np.ndarray = FEATURES) -> Path:
    if path.suffix == ".safetensors":
        save_file({"before": torch.zeros(7), "features": torch.from_numpy(features)}, path)
    elif path.suffix == ".parquet":
        columns = {f"z_{k}": features[:, k] for k in range(features.shape[1])}
        pq.write_table(pa.table({**columns, **LABELS}), path, row_group_size=N if path.stem == "one" else 20)
    else:
        array = np.asfortranarray(features) if path.stem == "fortran" else features
        if path.suffix == ".npy":
            np.save(path, array)
        else:
            (np.savez_compressed if path.stem == "packed" else np.savez)(path, other=np.zeros(3), features=array)
    return path


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_features, "_CHUNK_BYTES", 13 * 4 * D)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    lines = [",".join(LABELS), *(",".join(values) for values in zip(*LABELS.values(), strict=True))]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return tmp_path / "m.csv"


@pytest.mark.parametrize("name", KINDS)
def test_chunks_and_rows_are_the_array(tmp_path: Path, name: str) -> None:
    features = open_features(write(tmp_path / name), key="features", prefix="z_")
    assert features.shape == (N, D)
    for _ in range(2):
        chunks = list(features.chunks())
        assert max(len(chunk) for chunk in chunks) == 13
        np.testing.assert_array_equal(np.concatenate(chunks), FEATURES)
    rows = np.array([96, 3, 3, 50, 0, 12, 13, 40])
    np.testing.assert_array_equal(features.take(rows), FEATURES[rows])
    assert features.take(rows[:0]).shape == (0, D)
    assert features.by_row == (not name.endswith((".parquet", "d.npz", "e.npz")))


def test_types_become_float32(tmp_path: Path) -> None:
    whole = torch.arange(-6, 6).reshape(4, 3)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.int64)
    save_file({str(kind): whole.to(kind) for kind in kinds}, tmp_path / "e.safetensors")
    for kind in kinds:
        features = open_features(tmp_path / "e.safetensors", key=str(kind), prefix="")
        assert features.take(np.arange(4)).dtype == np.float32
        np.testing.assert_array_equal(features.take(np.arange(4)), whole.numpy())
        np.testing.assert_array_equal(np.concatenate(list(features.chunks())), whole.numpy())


@pytest.mark.parametrize("name", KINDS)
def test_on_disk_and_in_memory_are_the_same_data(tmp_path: Path, manifest: Path, name: str) -> None:
    path = write(tmp_path / name)
    given = None if path.suffix == ".parquet" else manifest
    held, stored = (
        load_embeddings(
            path, manifest=given, columns=Columns(split="split"), attributes={"hospital": AttributeColumn()},
            in_memory_bytes=limit,
        )
        for limit in (2**30, 0)
    )  # fmt: skip
    assert isinstance(stored.train.reader, StoredReader)
    assert stored.fingerprint == held.fingerprint
    assert (stored.input_shape, stored.attributes) == (held.input_shape, held.attributes)
    chosen = {"train": np.array([5, 2, 20]), "audit": np.array([0, 7])}
    ahead = hold_rows(stored, chosen)
    assert hold_rows(held, chosen) is held
    path.unlink()  # what was chosen is in memory
    for ours, theirs in ((held.train, ahead.train), (held.audit, ahead.audit)):
        rows = ours.rows[chosen[ours.name]]
        assert torch.equal(ours.reader.read(rows, None), theirs.reader.read(rows, None))


def test_rows_that_are_not_held_come_from_the_file(tmp_path: Path) -> None:
    positions = np.arange(1, N, 2)
    reader = StoredReader(open_features(write(tmp_path / "e.npz"), key="features", prefix=""), positions)
    ahead = reader.holding(np.array([40, 3, 7, 3]))
    for rows in ([7, 3], [7, 4], [47], []):
        wanted = FEATURES[positions[rows]] if rows else FEATURES[:0]
        np.testing.assert_array_equal(ahead.read(np.array(rows, dtype=np.int64), None).numpy(), wanted)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_every_row_in_use_is_looked_at(tmp_path: Path, manifest: Path, limit: int) -> None:
    holed = FEATURES.copy()
    holed[[0, 31, 90], 1] = np.nan, np.inf, -np.inf  # the first is of no split
    with pytest.raises(DataError, match="2 embedding.s. hold NaN or infinity: rows 33, 92"):
        load_embeddings(
            write(tmp_path / "e.safetensors", holed), manifest=manifest, columns=Columns(split="split"),
            attributes={"hospital": AttributeColumn()}, in_memory_bytes=limit,
        )  # fmt: skip


def test_faults(tmp_path: Path) -> None:
    def message(path: Path, key: str = "features", prefix: str = "z_") -> str:
        with pytest.raises(DataError) as caught:
            features = open_features(path, key=key, prefix=prefix)
            list(features.chunks())
        return str(caught.value)

    np.save(tmp_path / "c.npy", np.ones((3, 2), dtype=complex))
    assert "complex" in message(tmp_path / "c.npy")
    np.save(tmp_path / "b.npy", np.ones((3, 2), dtype=bool))
    assert "(3, 2) of bool; embeddings are (n, d) numbers" in message(tmp_path / "b.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    assert "without pickled objects" in message(tmp_path / "o.npy")
    cut = write(tmp_path / "e.npy")
    cut.write_bytes(cut.read_bytes()[:-8])
    assert "was it cut short" in message(cut)
    (tmp_path / "e.npz").write_bytes(b"PK")
    assert "cannot be read as .npz" in message(tmp_path / "e.npz")
    damaged = write(tmp_path / "e2.npz")
    with zipfile.ZipFile(damaged) as archive:
        start = archive.getinfo("features.npy").header_offset + 400
    content = bytearray(damaged.read_bytes())
    content[start] ^= 255
    damaged.write_bytes(content)
    assert "Bad CRC-32" in message(damaged)
    assert "'target' holds string" in message(write(tmp_path / "e.parquet"), prefix="target")


def test_damaged_headers_of_arrays(tmp_path: Path) -> None:
    """numpy reads a header as Python reads a literal, which fails in as many ways."""
    np.save(tmp_path / "a.npy", np.ones((4, 3), dtype=np.float32))
    whole, rng = (tmp_path / "a.npy").read_bytes(), np.random.default_rng(0)
    kinds = set()
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(10, 80, 2):
            damaged[at] = rng.choice(list(b"'\"({[\\\n\t0,:}]#"))
        (tmp_path / "a.npy").write_bytes(damaged)
        for read in (lambda path: open_features(path, key="features", prefix="z_"), array_shapes):
            with suppress(DataError):  # some faults leave a header that can be read
                read(tmp_path / "a.npy")
        try:
            np.load(tmp_path / "a.npy")
        except Exception as error:
            kinds.add(type(error).__name__)
    assert {"TokenError", "ValueError"} <= kinds
