from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from mibias_cli.data.files.named_arrays import read_named_arrays
from mibias_cli.errors import DataError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The same three rows as CSV, Parquet and, without text, safetensors."""
    (tmp_path / "t.csv").write_text("z_0,z_1,sex,age\n1.5,2,f,30\n-1,4,m,\n0,6,f,50\n")
    columns = {"z_0": [1.5, -1.0, 0.0], "z_1": [2, 4, 6], "sex": ["f", "m", "f"], "age": [30.0, None, 50.0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    z = torch.tensor([[1.5, 2.0], [-1.0, 4.0], [0.0, 6.0]], dtype=torch.bfloat16)
    save_file({"z_": z, "sex": torch.tensor([0, 1, 0])}, tmp_path / "t.safetensors")
    return {path.suffix: path for path in tmp_path.iterdir()}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_give_numbers_text_and_what_is_missing(files: dict[str, Path], suffix: str) -> None:
    arrays = read_named_arrays(files[suffix])
    assert arrays.names == ("z_0", "z_1", "sex", "age")
    assert arrays.read_numbers(["z_0", "z_1"]).tolist() == [[1.5, 2], [-1, 4], [0, 6]]
    assert arrays.read("sex").tolist() == ["f", "m", "f"]
    # text of few values is one-hot, sorted by name
    assert arrays.read_numbers(["z_0", "sex"]).tolist() == [[1.5, 1, 0], [-1, 0, 1], [0, 1, 0]]
    assert np.isnan(arrays.read("age")).tolist() == [False, True, False]


def test_a_tensor_may_hold_many_columns(files: dict[str, Path]) -> None:
    arrays = read_named_arrays(files[".safetensors"])
    assert arrays.read_numbers(["z_"]).tolist() == [[1.5, 2], [-1, 4], [0, 6]]
    assert arrays.read("sex").dtype == np.int64


def test_what_cannot_be_read_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_named_arrays(tmp_path / "none.csv")
    (tmp_path / "t.txt").write_text("")
    with pytest.raises(DataError, match="not from '.txt'"):
        read_named_arrays(tmp_path / "t.txt")
    for word in ("much", "inf"):
        (tmp_path / "mixed.csv").write_text(f"z_0\n{word}\n2\n")
        with pytest.raises(DataError, match=f"'z_0' holds text .'{word}'"):
            read_named_arrays(tmp_path / "mixed.csv").read_numbers(["z_0"])
    for suffix in (".parquet", ".safetensors"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"no such thing")
        with pytest.raises(DataError, match="cannot be read"):
            read_named_arrays(broken)


def test_tensors_of_other_shapes_and_lengths_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"z": torch.zeros(3, 2, 2), "a": torch.zeros(3), "b": torch.zeros(4)}, path)
    arrays = read_named_arrays(path)
    with pytest.raises(DataError, match=r"'z' is \(3, 2, 2\)"):
        arrays.read("z")
    with pytest.raises(DataError, match="differ in their numbers of rows"):
        arrays.read_numbers(["a", "b"])
