"""Attributes whose values hardly come back are told, before anybody takes what is found of them for a finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.annotations import annotate
from mibias_cli.data.columns import DEFAULT_COLUMNS, DEFAULT_SPLITS, AttributeColumn
from mibias_cli.data.encoding import identifier_notes, shared_column_notes
from mibias_cli.data.files.tabular import Table


@pytest.mark.parametrize(
    ("rows_each", "n_classes", "kind", "told"),
    [
        (2, 30, "categorical", True),
        (4, 10, "categorical", True),
        (5, 30, "categorical", False),
        # a few classes of a small table are no identifiers
        (2, 9, "categorical", False),
        (2, 30, "continuous", False),
    ],
)
def test_identifiers_are_told(rows_each: int, n_classes: int, kind: str, told: bool) -> None:
    values = np.array([str(k) for k in range(n_classes)] * rows_each + [None], dtype=object)
    table = Table(path=Path("m.csv"), columns={"v": values}, row_numbers=np.arange(len(values)))
    notes = list(identifier_notes(table, {"site": AttributeColumn(column="v", kind=kind)}))  # type: ignore[arg-type]
    assert [f"{n_classes} values in {n_classes * rows_each} rows, as identifiers have" in note for note in notes] == [
        True
    ] * told


def test_attributes_of_one_column_are_told_by_both_names() -> None:
    columns = {
        "target": np.array(["a", "b"] * 20, dtype=object),
        "split": np.array(["train"] * 20 + ["validation"] * 8 + ["test"] * 12, dtype=object),
        "age": np.array([str(20 + k % 7) for k in range(40)], dtype=object),
        "sex": np.array(["f", "f", "m", "m"] * 10, dtype=object),
    }
    table = Table(path=Path("m.csv"), columns=columns, row_numbers=np.arange(40))
    attributes = {
        "age": AttributeColumn(kind="continuous", bins=4),
        "sex": AttributeColumn(),
        "year": AttributeColumn(column="age"),
    }
    columns_of = replace(DEFAULT_COLUMNS, split="split", target="target")
    found = annotate(table, columns=columns_of, attributes=attributes, splits=DEFAULT_SPLITS, seed=0)
    told = [note for note in found.notes if "both read column" in note]
    assert len(told) == 1
    assert "attributes 'age' (as numbers in 4 bins) and 'year' (as classes) both read column 'age'" in told[0]
    del attributes["year"]
    assert list(shared_column_notes(table, attributes)) == []
