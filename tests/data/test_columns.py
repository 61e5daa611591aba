"""What type the values of a column are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.columns import ColumnLook, look_at, numbers
from mibias_cli.data.files.cells import number_of
from mibias_cli.data.files.tabular import Table, texts


def look(**column: Sequence[str | None]) -> ColumnLook:
    ((name, values),) = column.items()
    return look_at(Table(path=Path("t.csv"), columns={name: texts(values)}, row_numbers=np.arange(len(values))), name)


@pytest.mark.parametrize(
    ("values", "kind", "n_values"),
    [
        (["a", "b", "a", "b"], "classes", 2),
        (["1", "0", "1", None], "classes", 2),
        ([str(k % 10) for k in range(40)], "classes", 10),
        ([str(k / 7) for k in range(40)], "number", 40),
        ([f"{k}.JPG" for k in range(40)], "path", 40),
        ([f"person {k}" for k in range(40)], "id", 40),
        ([f"person {k // 2}" for k in range(60)], "text", 30),
        ([None, None], "empty", 0),
    ],
)
def test_kinds(values: list[str | None], kind: str, n_values: int) -> None:
    found = look(column=values)
    assert (found.kind, found.n_values, found.n_missing) == (kind, n_values, values.count(None))


def test_a_number_of_its_own_per_row_is_an_id_where_it_is_called_so() -> None:
    found = look(img_id=[str(k) for k in range(40)])
    assert found.kind == "id"


def test_classes_come_in_order_with_their_counts() -> None:
    found = look(grade=["10", "9", "10", None, "9", "10"])
    assert list(found.values.items()) == [("9", 2), ("10", 3)]


def test_a_column_at_once_and_cell_by_cell_are_the_same_numbers() -> None:
    """Where all cells are numbers they are read at once; a word among them makes each be read by itself."""
    cells = ["1", " 2.5", "-1e3", "1e30", "1e31", "-inf", "nan", "+7", "０", None, "1_000"]
    for some in (cells[:-1], [c for c in cells[:-1] if c is not None], cells, [None, None], []):
        whole, wrong = numbers(texts(some))
        each, each_wrong = numbers(texts([*some, "word"]))
        assert np.array_equal(whole, each[:-1], equal_nan=True)
        assert wrong.tolist() == each_wrong[:-1].tolist() == [c is not None and number_of(c) is None for c in some]
