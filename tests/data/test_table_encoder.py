from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mibias_cli.data.files.tabular import Table, read_table, texts
from mibias_cli.data.table_encoder import fit_encoder


def encoded(
    table: Table, features: Sequence[str], in_training: np.ndarray, ramps: int | None = None
) -> tuple[np.ndarray, list[str]]:
    encoder = fit_encoder(table, features, in_training, ramps=ramps)
    return encoder.encode(table), encoder.input_names


def test_a_number_column_that_is_empty_in_training_is_no_number() -> None:
    column = np.array([None, None, "3"], dtype=object)
    table = Table(path=Path("t.csv"), columns={"v": column}, row_numbers=np.arange(2, 5))
    x, names = encoded(table, ["v"], np.array([True, True, False]))
    assert names == ["v="]
    assert x.ravel().tolist() == [1, 1, 0]


def test_ramps_follow_a_number_through_the_pieces_of_its_range(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    values = ["0"] * 20 + ["1", "2", "4", "8", ""] + ["3", "99", "-5"]
    path.write_text("\n".join(["a,k", *(f"{v},7" for v in values)]))
    table, train = read_table(path), np.arange(28) < 25
    x, names = encoded(table, ["a", "k"], train, ramps=4)
    plain, _ = encoded(table, ["a", "k"], train)
    assert names[2:] == ["a from 0 to 1", "a from 1 to 2", "a from 2 to 4", "a from 4 to 8", "k"]
    np.testing.assert_array_equal(x[:, [0, 1, 6]], plain)
    expected = {0: [0, 0, 0, 0], 22: [1, 1, 1, 0], 24: [0, 0, 0, 0], 25: [1, 1, 0.5, 0], 26: [1] * 4, 27: [0] * 4}
    for row, ramp in expected.items():
        np.testing.assert_allclose(x[row, 2:6], ramp)
    few, _ = encoded(table, ["a"], train, ramps=2)
    assert few.shape == (28, 4)


def test_names_of_the_inputs(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("age,job,constant\n1,,5\n,clerk,5\n3,nurse,5\n4,smith,5\n5,pilot,5\n")
    _, names = encoded(read_table(path), ["age", "job", "constant"], np.arange(5) < 4)
    assert names == ["age", "age missing", "job=", "job=clerk", "job=nurse", "job=smith", "constant"]


def test_new_rows_are_encoded_as_training_was(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n3,y\n,x\n")
    encoder = fit_encoder(read_table(path), ["a", "b"], np.ones(3, dtype=bool), ramps=1)
    new = Table(path=path, columns={"a": texts(["5", None]), "b": texts(["z", "y"])}, row_numbers=np.arange(2))
    scale = np.std([1, 3, 2])
    np.testing.assert_allclose(encoder.encode(new), [[3 / scale, 0, 1, 0, 0], [0, 1, 0.5, 0, 1]], rtol=1e-6)
    assert json.loads(json.dumps(asdict(encoder)))["columns"][1] == {"name": "b", "categories": ["x", "y"]}


def test_a_constant_is_zero_also_where_its_mean_is_rounded() -> None:
    table = Table(path=Path("t.csv"), columns={"v": texts(["0.1"] * 10)}, row_numbers=np.arange(10))
    x, _ = encoded(table, ["v"], np.ones(10, dtype=bool))
    assert (x == 0).all()
