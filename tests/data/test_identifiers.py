"""Attributes whose values hardly come back are told, before anybody takes what is found of them for a finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.encoding import identifier_notes
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
