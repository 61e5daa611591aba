from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.errors import DataError

N = 30
FEATURES = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
HOSPITAL = {"hospital": AttributeColumn()}
SPLIT = Columns(split="split")


def labels() -> dict[str, list[str]]:
    return {
        "target": ["ill" if k % 2 else "well" for k in range(N)],
        "hospital": ["ab"[k // 2 % 2] for k in range(N)],
        "split": [("other" if k == 0 else "train", "validation", "test")[k % 3] for k in range(N)],
    }


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    columns = labels()
    lines = [",".join(columns), *(",".join(values) for values in zip(*columns.values(), strict=True))]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return tmp_path / "m.csv"


def write(path: Path, features: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez(path, features=features, other=np.zeros(3))
    elif path.suffix == ".safetensors":
        save_file({"features": torch.tensor(features)}, path)
    else:
        columns = {f"z_{k}": features[:, k] for k in range(features.shape[1])}
        pq.write_table(pa.table({**columns, **labels()}), path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_three_formats_give_the_same(tmp_path: Path, manifest: Path, suffix: str) -> None:
    path = write(tmp_path / f"e{suffix}", FEATURES)
    data = load_embeddings(
        path, manifest=None if suffix == ".parquet" else manifest, columns=SPLIT, attributes=HOSPITAL
    )
    assert data.input_shape == (4,)
    assert len(data.notes) == 1
    for split, rest in ((data.train, 0), (data.validation, 1), (data.audit, 2)):
        rows = [k for k in range(1, N) if k % 3 == rest]
        np.testing.assert_array_equal(split.reader.read(split.rows, None).numpy(), FEATURES[rows])
        assert split.y.tolist() == [0 if k % 2 else 1 for k in rows]
    assert data.train.row_names[0] == ("row 4" if suffix == ".parquet" else "row 5")


def test_bfloat16_and_double_become_float32(tmp_path: Path, manifest: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_file({"features": torch.tensor(FEATURES).bfloat16(), "d": torch.tensor(FEATURES).double()}, path)
    for key in ("features", "d"):
        data = load_embeddings(path, key=key, manifest=manifest, columns=SPLIT, attributes=HOSPITAL)
        x = data.train.reader.read(data.train.rows, None)
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x.numpy(), FEATURES[3::3], rtol=0.01)


def test_faults(tmp_path: Path, manifest: Path) -> None:
    def message(path: Path, manifest: Path | None = manifest, *, key: str = "features", prefix: str = "z_") -> str:
        with pytest.raises(DataError) as caught:
            load_embeddings(path, manifest=manifest, columns=SPLIT, attributes=HOSPITAL, key=key, prefix=prefix)
        return str(caught.value)

    npz, short = write(tmp_path / "e.npz", FEATURES), write(tmp_path / "short.npz", FEATURES[:-2])
    assert "no array 'featres', did you mean 'features'?; set data.key to one of: features, other" in message(
        npz, key="featres"
    )
    assert "has 28 embeddings" in message(short)
    assert "has 30 rows" in message(short)
    assert "set data.manifest" in message(npz, None)
    assert "'other' is (3,)" in message(npz, key="other")
    assert "no such file" in message(tmp_path / "gone.npz")
    assert ".safetensors, .npz, .npy, .parquet" in message(manifest)
    parquet = write(tmp_path / "e.parquet", FEATURES)
    assert "no column starts with 'q_'; set data.prefix" in message(parquet, None, prefix="q_")
    assert "cannot be read as numbers" in message(parquet, None, prefix="hosp")
    holed = FEATURES.copy()
    holed[[4, 7], 1] = np.nan
    assert "2 embedding(s) hold NaN or infinity: rows 6, 9" in message(write(tmp_path / "holed.npz", holed))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    assert "cannot be read as safetensors" in message(tmp_path / "bad.safetensors")


def test_pickled_objects_are_refused(tmp_path: Path, manifest: Path) -> None:
    np.savez(tmp_path / "p.npz", features=np.array([{"a": 1}] * N, dtype=object))
    with pytest.raises(DataError, match="without pickled objects"):
        load_embeddings(tmp_path / "p.npz", manifest=manifest, columns=SPLIT, attributes=HOSPITAL)
