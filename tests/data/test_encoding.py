from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.encoding import encode_attribute
from mibias_cli.data.files.tabular import Table
from mibias_cli.errors import DataError


def one_column(values: Sequence[str | None]) -> Table:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return Table(path=Path("m.csv"), columns={"v": column}, row_numbers=np.arange(2, len(values) + 2))


def training(n: int, n_train: int) -> np.ndarray:
    return np.arange(n) < n_train


def test_categorical_attribute_with_missing_values() -> None:
    c, known, attribute = encode_attribute(
        "sex", AttributeColumn(column="v"), one_column(["m", None, "f", "x"]), training(4, 2)
    )
    assert attribute.class_names == (("f", "m", "x"),)
    assert attribute.n_classes == (3,)
    assert known.tolist() == [True, False, True, True]
    assert c[known, 0].tolist() == [1, 0, 2]
    assert c.dtype == np.int64
    assert c.shape == (4, 1)


def test_a_single_class_is_allowed_and_an_empty_column_is_not() -> None:
    _, _, attribute = encode_attribute("v", AttributeColumn(), one_column(["m", "m"]), training(2, 1))
    assert attribute.n_classes == (1,)
    with pytest.raises(DataError, match="empty in every row"):
        encode_attribute("v", AttributeColumn(), one_column([None, None]), training(2, 1))


def test_a_value_of_its_own_in_each_row_is_an_identifier() -> None:
    names = [f"id{k}" for k in range(30)]
    with pytest.raises(DataError, match="another value in each of its 30 rows"):
        encode_attribute("v", AttributeColumn(), one_column(names), training(30, 20))
    encode_attribute("v", AttributeColumn(), one_column([*names[:-1], "id0"]), training(30, 20))


def test_continuous_bins_are_trainings_quantiles() -> None:
    values = [str(k) for k in range(100)] + ["1000", None]
    spec = AttributeColumn(column="v", kind="continuous", bins=4)
    c, known, attribute = encode_attribute("age", spec, one_column(values), training(102, 100))
    assert attribute.bin_edges == ((24.75, 49.5, 74.25),)
    classes = attribute.classes(c)
    np.testing.assert_array_equal(np.bincount(classes[:100, 0]), [25, 25, 25, 25])
    assert classes[100, 0] == 3
    assert not known[101]
    assert np.isfinite(c).all()
    assert c.dtype == np.float32
    assert attribute.class_names == (("below 24.75", "24.75 to 49.5", "49.5 to 74.25", "74.25 and above"),)


def test_repeated_values_leave_no_empty_bin() -> None:
    spec = AttributeColumn(column="v", kind="continuous", bins=8)
    c, _, attribute = encode_attribute("v", spec, one_column(["0"] * 90 + ["1"] * 10), training(100, 100))
    assert np.bincount(attribute.classes(c)[:, 0], minlength=attribute.n_classes[0]).min() > 0
    c, _, attribute = encode_attribute("v", spec, one_column(["0.1"] * 10), training(10, 10))
    assert attribute.n_classes == (1,)
    assert (attribute.classes(c) == 0).all()


def test_values_that_are_no_numbers() -> None:
    spec = AttributeColumn(column="v", kind="continuous")
    values = ["1", "x", "2", "y", "inf", "a", "b", "c"]
    with pytest.raises(DataError) as caught:
        encode_attribute("age", spec, one_column(values), training(8, 8))
    assert "6 value(s)" in str(caught.value)
    assert "rows 3 ('x'), 5 ('y'), 6 ('inf'), 7 ('a'), 8 ('b') and 1 more" in str(caught.value)
    with pytest.raises(DataError, match="empty in every training row"):
        encode_attribute("age", spec, one_column([None, "1"]), training(2, 1))
