"""New rows of a table beside those of training: what their numbers say of units and of marks of missing values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import write

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.inputs import IDENTITY
from mibias_cli.data.new_inputs import read_new
from mibias_cli.data.sources.table import load_table

N = 120
HEADER = ["age", "target", "sex"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda k: 20 + k % 50, ""),
        # a narrower group, one old patient, a constant
        (lambda k: 60 + k % 5, ""),
        (lambda k: 105 if k == 3 else 20 + k % 50, ""),
        (lambda k: 40, ""),
        (lambda k: 12 * (20 + k % 50), "is 240 to 828, and was "),
        (lambda k: (20 + k % 50) / 100, "is it in another unit?"),
        (lambda k: -9 if k % 7 == 0 else 20 + k % 50, "'age' is -9 in 18 rows, and 20 to 69 in all others"),
    ],
)
def test_what_is_said_of_numbers_of_new_rows(tmp_path: Path, value: Callable[[int], float], said: str) -> None:
    rows = [[20 + k % 50, "ab"[k % 2], "fm"[k // 2 % 2]] for k in range(150)]
    data = load_table(write(tmp_path / "t.csv", HEADER, rows), attributes={"sex": AttributeColumn()})
    path = write(tmp_path / "new.csv", HEADER[:1], [[value(k)] for k in range(N)])
    notes = read_new(path, data.inputs, input_shape=data.input_shape, transforms=IDENTITY).notes
    assert (not notes) if not said else said in " ".join(notes)
