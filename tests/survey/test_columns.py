"""What is guessed of columns by their names and looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mibias_cli.data.columns import ColumnLook, look_at
from mibias_cli.survey.columns import attribute_rank, guess_group, guess_path, guess_split, guess_target
from mibias_cli.survey.layout import make_table


def looks(**columns: Sequence[str | None]) -> list[ColumnLook]:
    table = make_table(Path("t.csv"), columns)
    return [look_at(table, name) for name in columns]


def test_attribute_names() -> None:
    for name in ("sex", "Male", "patient_sex", "skin_tone", "ScannerModel"):
        assert attribute_rank(name) == 0, name
    for name in ("AGE", "native-country", "marital.status"):
        assert attribute_rank(name) == 1, name
    for name in ("pages", "message", "label", "sexagesimal", "z_1"):
        assert attribute_rank(name) is None, name


def test_path() -> None:
    columns = looks(thumb=["a.png", "b.png", "a.png"], image=["x/1.jpg", "x/2.jpg", "x/3.jpg"], y=["0", "1", "0"])
    assert guess_path(columns) == "image"
    assert guess_path(columns[:1]) == "thumb"
    assert guess_path(columns[2:]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["train", "val", "test", "test"], ("train", "val", "test")),
        (["Training", "Testing", "Testing"], ("Training", "validation", "Testing")),
        (["0", "1", "2", "0"], ("0", "1", "2")),
        (["train", "train", "val"], None),  # nothing that would be audited
        (["0", "1", "0"], None),
        (["a", "b", "b"], None),
    ],
)
def test_split(values: list[str], expected: tuple[str, str, str] | None) -> None:
    assert guess_split(looks(Split=values)) == (None if expected is None else ("Split", expected))
    assert guess_split(looks(other=values)) is None


def test_target_by_name_else_the_last_column_of_classes_that_is_no_likely_attribute() -> None:
    columns = looks(Label=["a", "b", "a"], kind=["c", "d", "c"], sex=["f", "m", "f"])
    assert guess_target(columns, []) == "Label"
    assert guess_target(columns, ["Label"]) == "kind"
    assert guess_target(columns, ["Label", "kind"]) is None
    assert guess_target(looks(label=["a", "a", "a"]), []) is None


def test_group_by_name_where_values_repeat() -> None:
    assert guess_group(looks(patient_id=[f"p{k // 2}" for k in range(60)])) == "patient_id"
    assert guess_group(looks(patient_id=[f"p{k}" for k in range(60)])) is None
    assert guess_group(looks(patient_id=["1", None, "1", "2", "3"])) is None
