from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files.tabular import Table, texts
from mibias_cli.data.loader import batches
from mibias_cli.data.sources.table import load_table
from mibias_cli.data.target_columns import MAX_STRATA, encode_targets, kind_of, split_labels
from mibias_cli.errors import DataError


def table(**columns: Sequence[object]) -> Table:
    arrays = {}
    for name, values in columns.items():
        arrays[name] = np.empty(len(values), dtype=object)
        arrays[name][:] = [None if v is None else str(v) for v in values]
    n = len(next(iter(columns.values())))
    return Table(path=Path("t.csv"), columns=arrays, row_numbers=np.arange(2, n + 2))


def everywhere(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (Columns(target="y"), "classes"),
        (Columns(target=None), "none"),
        (Columns(target="y", target_kind="none"), "none"),
        (Columns(target=("a", "b")), "multilabel"),
        (Columns(target=("a", "c")), "multilabel"),
        (Columns(target=("a", "y")), "regression"),
        (Columns(target="y", target_kind="regression"), "regression"),
    ],
)
def test_a_kind_is_as_said_or_as_the_columns_look(columns: Columns, kind: str) -> None:
    assert kind_of(table(y=[1.5, 2, 3], a=[0, 1, None], b=["true", "False", 0], c=["1.0", "0.0", 0]), columns) == kind


def test_numbers_are_standardised_by_training_and_come_back_in_their_units() -> None:
    values = np.array([10.0, 20.0, 40.0, 1000.0])
    y, target = encode_targets(table(y=values), Columns(target="y", target_kind="regression"), np.arange(4) < 3)
    train = values[:3]
    np.testing.assert_allclose(y[:, 0], (values - train.mean()) / train.std(), rtol=1e-6)
    np.testing.assert_allclose(target.in_units(y)[:, 0], values, rtol=1e-6)
    assert y.dtype == np.float32
    assert target.n_outputs == 1


def test_strata_of_one_number_are_fifths_of_training_by_their_values() -> None:
    values = np.arange(100.0)
    y, target = encode_targets(table(y=values), Columns(target="y", target_kind="regression"), everywhere(100))
    assert np.bincount(target.strata(y)).tolist() == [20] * 5
    assert target.class_names[0].startswith("below 19.8")
    assert target.class_names[-1].endswith("and above")


def test_strata_of_several_numbers_cross_their_halves() -> None:
    a, b = np.meshgrid(np.arange(10.0), np.arange(10.0))
    y, target = encode_targets(table(a=a.ravel(), b=b.ravel()), Columns(target=("a", "b")), everywhere(100))
    assert target.kind == "regression"
    assert np.bincount(target.strata(y)).tolist() == [25] * 4
    assert target.class_names[0] == "a below 4.5, b below 4.5"


def test_strata_of_labels_are_their_combinations_and_rare_ones_go_to_the_nearest() -> None:
    rows = [(0, 0)] * 5 + [(1, 0)] * 5 + [(1, 1)] * 5
    a, b = np.array(rows).T
    y, target = encode_targets(table(a=a, b=b), Columns(target=("a", "b")), everywhere(15))
    assert target.class_names == ("no label", "a", "a + b")
    assert target.strata(y).tolist() == [0] * 5 + [1] * 5 + [2] * 5
    # two labels differ from (1, 0), one from the others; the first of those is taken
    assert target.strata(np.array([[0, 1]], dtype=np.float32)).tolist() == [0]


def test_no_more_strata_than_the_most_frequent_combinations() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (4000, 8))
    names = [f"l{k}" for k in range(8)]
    y, target = encode_targets(
        table(**dict(zip(names, labels.T, strict=True))), Columns(target=tuple(names)), everywhere(4000)
    )
    strata = target.strata(y)
    assert len(target.class_names) == MAX_STRATA
    assert set(strata) == set(range(MAX_STRATA))
    distance = np.abs(labels - np.array(target.levels)[strata]).sum(axis=1)
    every = np.abs(labels[:, None] - np.array(target.levels)[None]).sum(axis=2)
    assert (distance == every.min(axis=1)).all()


def test_no_target_is_zeros_in_one_stratum() -> None:
    y, target = encode_targets(table(y=["a", None]), Columns(target=None), everywhere(2))
    assert y.tolist() == target.strata(y).tolist() == [0, 0]
    assert target.class_names == ("all",)
    assert target.n_outputs == 0


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        ([1, None, 3], Columns(target="y", target_kind="regression"), "1 row.* have no target in 'y': rows 3; fill"),
        ([1, "x", 3], Columns(target="y", target_kind="regression"), r"1 value.*'y' cannot be used: rows 3 \('x'\)"),
        ([1, "inf", 3], Columns(target="y", target_kind="regression"), r"rows 3 \('inf'\); a target of regression"),
        ([0, 2, 1], Columns(target="y", target_kind="multilabel"), r"rows 3 \('2'\); labels of several are 0 or 1"),
        ([1, 1, 1], Columns(target="y", target_kind="multilabel"), "'y' has one value in training"),
    ],
)
def test_faults_of_targets_name_their_rows(values: list[object], columns: Columns, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_targets(table(y=values), columns, everywhere(3))


def test_a_quantity_taken_for_classes_is_told_of_regression() -> None:
    with pytest.raises(DataError, match="set data.target_kind to regression"):
        encode_targets(table(y=np.arange(40) / 7), Columns(target="y"), np.arange(40) < 20)


def test_splits_are_stratified_by_whatever_the_target_is() -> None:
    drawn = table(y=np.arange(40.0), a=[0, 1] * 20, b=[0, 0, 1, 1] * 10)
    tenths = split_labels(drawn, Columns(target="y", target_kind="regression"))
    assert np.bincount(tenths).tolist() == [4] * 10
    assert np.bincount(split_labels(drawn, Columns(target=("a", "b")))).tolist() == [10] * 4
    assert set(split_labels(drawn, Columns(target=None))) == {0}


def loaded(tmp_path: Path, columns: Columns) -> BiasedData:
    generator = np.random.default_rng(0)
    lines = ["age,tall,sex,u"]
    lines += [f"{generator.normal() * 9 + 40},{k % 2},{'fm'[k % 3 == 0]},{generator.normal()}" for k in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return load_table(path, columns=columns, attributes={"sex": AttributeColumn()})


def test_batches_carry_targets_of_their_shape_and_their_strata(tmp_path: Path) -> None:
    data = loaded(tmp_path, Columns(target=("age", "tall"), target_kind="regression"))
    assert data.input_shape == (1,)
    batch = next(batches(data.train, batch_size=8, shuffle=True))
    assert batch.y.shape == (8, 2)
    assert batch.strata.tolist() == data.target.strata(batch.y.numpy()).tolist()
    classes = loaded(tmp_path, Columns(target="tall"))
    batch = next(batches(classes.train, batch_size=8, shuffle=True))
    assert batch.strata is batch.y


def test_without_a_target_a_named_column_is_no_feature_either(tmp_path: Path) -> None:
    assert loaded(tmp_path, Columns(target=None)).input_shape == (3,)
    assert loaded(tmp_path, Columns(target="age", target_kind="none")).input_shape == (2,)


def test_the_kind_of_target_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    kinds: list[Columns] = [Columns(target="tall"), Columns(target="tall", target_kind="regression")]
    kinds.append(Columns(target="tall", target_kind="multilabel"))
    assert len({loaded(tmp_path, columns).fingerprint for columns in kinds}) == 3


def column(values: Sequence[str | None]) -> Table:
    return Table(path=Path("m.csv"), columns={"v": texts(values)}, row_numbers=np.arange(2, len(values) + 2))


def first(n: int, n_train: int) -> np.ndarray:
    return np.arange(n) < n_train


def encode_target(table: Table, column: str, in_training: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    y, target = encode_targets(table, Columns(target=column), in_training)
    return y, target.class_names


def test_target_classes_are_trainings_and_sorted() -> None:
    y, names = encode_target(column(["b", "a", "b", "a"]), "v", first(4, 3))
    assert names == ("a", "b")
    assert y.tolist() == [1, 0, 1, 0]
    y, names = encode_target(column(["10", "9", "-1"]), "v", first(3, 3))
    assert names == ("-1", "9", "10")
    assert y.tolist() == [2, 1, 0]


def test_target_faults() -> None:
    told = r"1 class.* in no training row: 'c' \(2 rows\).*by data\.values: \{ v: \{ c: \(left out\) \} \}"
    with pytest.raises(DataError, match=told):
        encode_target(column(["a", "b", "c", "c"]), "v", first(4, 2))
    with pytest.raises(DataError, match="2 row.* no target in 'v': rows 3, 5"):
        encode_target(column(["a", None, "b", None]), "v", first(4, 4))
    with pytest.raises(DataError, match="one class in training, 'a'"):
        encode_target(column(["a", "a", "b"]), "v", first(3, 2))
