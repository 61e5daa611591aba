from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files.tabular import read_table
from mibias_cli.data.sources.table import load_table
from mibias_cli.errors import DataError

SEX = {"sex": AttributeColumn()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    lines = ["age,job,sex,income,split,constant"]
    for k in range(60):
        age = "" if k % 9 == 4 else f"{20 + 40 * generator.random():.3f}"
        job = ("clerk", "nurse", "", "smith")[generator.integers(4)] if k < 50 else ("clerk", "pilot")[k % 2]
        split = "train" if k < 40 else "validation" if k < 50 else "test"
        lines.append(f"{age},{job},{'mf'[k % 2]},{'low' if k % 3 else 'high'},{split},5")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_features_equal_sklearns(path: Path) -> None:
    data = load_table(path, columns=Columns(target="income", split="split"), attributes=SEX)
    table = read_table(path)
    train = np.arange(60) < 40
    age = np.array([np.nan if v is None else float(v) for v in table.columns["age"]])[:, None]
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(age[train])
    filled = imputer.transform(age)
    scaled = StandardScaler().fit(filled[train, :1]).transform(filled[:, :1])
    job = np.array(["" if v is None else v for v in table.columns["job"]], dtype=object)[:, None]
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(job[train]).transform(job)
    expected = np.concatenate([scaled, filled[:, 1:], hot, np.zeros((60, 1))], axis=1)
    x = data.train.reader.read(np.arange(60), None)
    assert x.dtype == torch.float32
    assert data.input_shape == (7,)
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)
    assert (x[data.audit.rows][:, 2:6].sum(dim=1) == 0).any()  # a pilot: a category that training does not have
    assert torch.equal(x, data.audit.reader.read(np.arange(60), 3))


def test_labels_rows_and_default_features(path: Path) -> None:
    data = load_table(path, columns=Columns(target="income", split="split"), attributes=SEX)
    assert data.class_names == ("high", "low")
    assert data.attributes["sex"].class_names == (("f", "m"),)
    assert data.audit.row_names[0] == "row 52"
    with_sex = load_table(
        path, columns=Columns(target="income", split="split"), attributes=SEX, features=["age", "sex"]
    )
    assert with_sex.input_shape == (4,)
    assert with_sex.fingerprint != data.fingerprint
    said = "an attribute is among the inputs, so a model can read it off them: sex; take it out of data.features"
    assert [said in note for note in with_sex.notes] == [True]
    assert not any("among the inputs" in note for note in data.notes)


def test_text_of_digits_in_parquet_stays_a_category(tmp_path: Path) -> None:
    table = pa.table(
        {
            "zip": ["01", "02"] * 10,
            "n": [1, 2] * 10,
            "b": [True, False] * 10,
            "target": [0, 1] * 10,
            "a": [0, 0, 1, 1] * 5,
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    data = load_table(tmp_path / "t.parquet", attributes={"a": AttributeColumn()})
    assert data.input_shape == (5,)  # zip: 2, n: 1, b: 2


def test_faults(path: Path) -> None:
    columns = Columns(target="income", split="split")
    with pytest.raises(DataError, match=r"data.features\[1\]: no column 'jb', did you mean 'job'"):
        load_table(path, columns=columns, attributes=SEX, features=["age", "jb"])
    with pytest.raises(DataError, match="the target 'income' is among data.features"):
        load_table(path, columns=columns, attributes=SEX, features=["age", "income"])
    with pytest.raises(DataError, match="no feature columns"):
        load_table(path, columns=columns, attributes=SEX, features=[])
    with pytest.raises(DataError, match="data.columns.target: no column 'incme', did you mean 'income'"):
        load_table(path, columns=Columns(target="incme"), attributes=SEX)
    path.write_text(path.read_text().replace(",5\n", ",inf\n", 1))
    with pytest.raises(DataError, match="1 value.* of 'constant' are infinite: rows 2"):
        load_table(path, columns=columns, attributes=SEX)


def test_ramps_are_another_dataset(path: Path) -> None:
    columns = Columns(target="income", split="split")
    plain = load_table(path, columns=columns, attributes=SEX)
    ramps = load_table(path, columns=columns, attributes=SEX, ramps=8)
    assert ramps.fingerprint != plain.fingerprint
    assert ramps.input_shape == (15,)


def rows_of(tmp_path: Path, x: np.ndarray) -> Path:
    """Rows of numbers (100, 2) of two classes: 60 train, 10 validate, 30 are audited."""
    splits = ["train"] * 60 + ["validation"] * 10 + ["test"] * 30
    lines = [f"{a},{b},{'uv'[k // 2 % 2]},{'mn'[k % 2]},{splits[k]}" for k, (a, b) in enumerate(x)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,target,sex,split", *lines]))
    return tmp_path / "rows.csv"


def notes_of_copies(tmp_path: Path, x: np.ndarray) -> list[str]:
    data = load_table(rows_of(tmp_path, x), columns=Columns(split="split"), attributes={"sex": AttributeColumn()})
    return [note for note in data.notes if "very inputs" in note]


def test_audited_rows_that_are_copies_are_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    assert notes_of_copies(tmp_path, x) == []
    # 5 of training, 2 of validation, 3 once more
    copied = x.copy()
    copied[70:77], copied[90:93] = x[[0, 1, 2, 3, 4, 60, 61]], x[93:96]
    (told,) = notes_of_copies(tmp_path, copied)
    assert "7 of 30 audited rows have the very inputs of a training or validation row and 3 of 30" in told
    # of few values, rows are alike by chance
    assert notes_of_copies(tmp_path, np.random.default_rng(0).integers(0, 3, (100, 2))) == []


def test_inputs_of_which_none_varies_are_refused(tmp_path: Path) -> None:
    x = np.full((100, 2), 0.5)
    x[-1] = 3
    with pytest.raises(DataError, match=r"all inputs \(a, b\) have one value in all 60 training rows"):
        notes_of_copies(tmp_path, x)
    x[0, 1] = 2
    assert notes_of_copies(tmp_path, x) == []
