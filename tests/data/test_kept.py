"""Columns of no other use than that an audit asks after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.sources.table import load_table
from mibias_cli.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lines = ["target,sex,site,age,split"]
    for k in range(60):
        age = "" if k == 59 else str(20 + k / 2)
        lines.append(f"{k % 2},{'fm'[k // 2 % 2]},{'ABC'[k % 3]},{age},{('train', 'validation', 'test')[k % 3]}")
    file = tmp_path / "t.csv"
    file.write_text("\n".join(lines))
    return file


def test_kept_columns_are_encoded_and_stay_features(path: Path) -> None:
    sex = {"sex": AttributeColumn()}
    plain = load_table(path, columns=Columns(split="split"), attributes=sex)
    data = load_table(path, columns=Columns(split="split", kept=("site", "age")), attributes=sex)
    assert plain.kept == plain.audit.kept == {}
    assert (data.kept["site"].kind, data.kept["age"].kind) == ("categorical", "continuous")
    assert list(data.attributes) == ["sex"]
    assert list(data.audit.c) == ["sex"]
    assert data.audit.kept["age"].ravel().tolist() == [20 + k / 2 if k < 59 else 0 for k in range(2, 60, 3)]
    assert data.audit.kept_known["age"].tolist() == [True] * 19 + [False]
    np.testing.assert_array_equal(data.audit.kept["site"].ravel(), np.full(20, 2))
    assert data.input_shape == plain.input_shape
    assert data.fingerprint == plain.fingerprint


def test_few_numbers_are_classes(path: Path) -> None:
    data = load_table(path, columns=Columns(split="split", kept=("target",)), attributes={"sex": AttributeColumn()})
    assert data.kept["target"].kind == "categorical"
    assert data.kept["target"].class_names == (("0", "1"),)


def test_a_column_that_is_not_there_is_named_as_the_recipe_calls_it(path: Path) -> None:
    with pytest.raises(DataError, match=r"evaluation.fidelity_columns\[0\]: no column 'sit', did you mean 'site'"):
        load_table(path, columns=Columns(kept=("sit",)), attributes={"sex": AttributeColumn()})
