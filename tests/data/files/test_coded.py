"""Columns by their different values: the same cells, in the order in which values first come, each text once."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.tabular import read_table


def test_taken_rows_are_those_of_the_cells() -> None:
    draw = np.random.default_rng(0)
    cells = np.array(["a", "b", None, "c", "d"], dtype=object)[draw.integers(0, 5, 200)]
    column = Coded.of(cells)
    for rows in (np.array([7, 3, 3, 150]), np.arange(0), draw.random(200) < 0.02):
        taken = column.take(rows)
        assert taken.cells.tolist() == cells[rows].tolist()
        assert taken.values.tolist() == list(dict.fromkeys(cells[rows].tolist()))
        assert list(taken.counts.items()) == list(Counter(v for v in cells[rows] if v is not None).items())
        assert taken.known.tolist() == [v is not None for v in cells[rows]]


def test_values_that_become_one_are_one() -> None:
    column = Coded.of(["b", " a", "a", "b ", None]).map(lambda v: v and v.strip())
    assert (column.values.tolist(), column.codes.tolist()) == (["b", "a", None], [0, 1, 1, 0, 2])


def test_typed_cells_are_read_as_each_would_be_alone(tmp_path: Path) -> None:
    held = {
        "text": pa.array([" x", "x", None, "NA", "y"]),
        "category": pa.array(["x", None, "z", "x", "x"]).dictionary_encode(),
        "float": pa.array([1.0, -0.0, float("nan"), None, 0.5]),
        "whole": pa.array([3, 3, None, 1, 2], pa.int8()),
        "bool": pa.array([True, None, False, True, True]),
        "decimal": pa.array([Decimal("1.50"), None, Decimal("1.50"), Decimal("2.00"), None]),
        "bytes": pa.array([b"x", b"y", None, b"x", b""]),
        "nothing": pa.nulls(5),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(held), path, row_group_size=2)
    expected = {
        "text": ["x", "x", None, None, "y"],
        "category": ["x", None, "z", "x", "x"],
        "float": ["1", "0", None, None, "0.5"],
        "whole": ["3", "3", None, "1", "2"],
        "bool": ["True", None, "False", "True", "True"],
        "decimal": ["1.50", None, "1.50", "2.00", None],
        "bytes": ["x", "y", None, "x", None],
        "nothing": [None] * 5,
    }
    found = read_table(path).columns
    assert {name: found[name].tolist() for name in found} == expected
    # one text for all rows of a value, not one for each
    assert found["text"][0] is found["text"][1]
