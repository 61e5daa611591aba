"""Columns that are no inputs by themselves, and numbers that may be none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from layouts import write

from mibias_cli.data import table_inputs
from mibias_cli.data.columns import AttributeColumn, Columns, name_words
from mibias_cli.data.files.tabular import read_table
from mibias_cli.data.sources.table import load_table
from mibias_cli.data.table_inputs import doubts, left_out, may_mean_missing
from mibias_cli.errors import DataError

N = 120


def column(path: Path, name: str, value: Callable[[int], object]) -> Path:
    """A table with that column beside a target, an attribute and a number."""
    rows = [["ab"[k % 2], "fm"[k // 2 % 2], k * 0.37 % 5, value(k)] for k in range(N)]
    return write(path / "t.csv", ["target", "sex", "x", name], rows)


def inputs(path: Path, features: Sequence[str] | None = None) -> tuple[int, tuple[str, ...]]:
    columns = Columns(target="target")
    data = load_table(path, columns=columns, attributes={"sex": AttributeColumn()}, features=features)
    return data.input_shape[0], data.notes


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Unnamed: 0", lambda k: k, "row numbers"),
        ("", lambda k: k, "row numbers"),
        ("notes", lambda k: "", "empty"),
        ("user_id", lambda k: f"U{k:04d}", "a value of its own in each row"),
        # of hexadecimal ids some are numbers
        ("hash", lambda k: f"{k * 2654435761 % 2**32:08x}", "a value of its own in each row"),
        ("encounter_nbr", lambda k: 7000 + 3 * k, "a value of its own in each row"),
        ("tweet", lambda k: 1_200_000_000_000_000_000 + 7 * k, "a value of its own in each row"),
        ("visit", lambda k: f"2020-{k % 12 + 1:02d}-{k % 28 + 1:02d}", "dates or times"),
        ("dob", lambda k: f"{k % 28 + 1}.{k % 12 + 1}.1990", "dates or times"),
        ("at", lambda k: f"2020-01-{k % 28 + 1:02d}T{k % 24:02d}:00:00Z", "dates or times"),
        ("seen", lambda k: f"{k % 28 + 1} Mar 2020", "dates or times"),
        ("at", lambda k: f"2020{k % 12 + 1:02d}{k % 28 + 1:02d}", "dates or times"),
        ("month", lambda k: f"2020-{k % 12 + 1:02d}", "dates or times"),
        ("month", lambda k: f"{k % 12 + 1}/2020", "dates or times"),
        ("month", lambda k: f"Mar {2000 + k % 20}", "dates or times"),
        ("month", lambda k: f"{2000 + k % 20}-March", "dates or times"),
        ("day", lambda k: f"{k % 28 + 1}. M\u00e4rz 2020", "dates or times"),
        ("day", lambda k: "unknown" if k % 5 == 0 else f"2020-01-{k % 28 + 1}", "dates or times"),
        ("day", lambda k: "0000-00-00" if k % 5 == 0 else f"2020-01-{k % 28 + 1}", "dates or times"),
        ("scan_date", lambda k: 43831 + k % 70, "dates or times"),
        ("timestamp", lambda k: 1577836800 + 86400 * k, "dates or times"),
        ("clock", lambda k: f"{k % 24}:{k % 60:02d}", "dates or times"),
        ("findings", lambda k: f"no change since visit {k % 100}, nothing\nnew", "prose"),
        ("fold", lambda k: k % 5, "a split"),
        ("is_test", lambda k: k % 2, "a split"),
        ("isTrain", lambda k: k % 3 == 0, "a split"),
        # what stays an input
        ("bmi_index", lambda k: 20 + k / 7, ""),
        ("city", lambda k: f"city {k % 30}", ""),
        ("version", lambda k: f"1.{k % 7}", ""),
        ("release", lambda k: f"2020.{k % 12 + 1:02d}", ""),
        ("test", lambda k: k % 2, ""),
        ("date_index", lambda k: k % 40, ""),
    ],
)
def test_columns_that_are_no_inputs(tmp_path: Path, name: str, value: Callable[[int], object], why: str) -> None:
    path = column(tmp_path, name, value)
    assert left_out(read_table(path), ["x", name]) == ({name: why} if why else {})
    n, notes = inputs(path)
    said = f"no inputs unless data.features names them: {name!r} ({why})"
    assert (n == 1) == any(said in note for note in notes) == bool(why)
    # a recipe that names it gets it
    assert why in ("", "empty") or inputs(path, ["x", name])[0] > 1


def test_the_index_that_pandas_writes(tmp_path: Path) -> None:
    frame = pd.read_csv(column(tmp_path, "w", lambda k: k % 7)).sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "t.parquet")
    n, notes = inputs(tmp_path / "t.parquet")
    assert n == 2
    assert any("'__index_level_0__' (row numbers)" in note for note in notes)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (lambda k: f"{k * 37 % 500 + 20:03d}Y", "'020Y'"),
        (lambda k: f"{k} mg", "'0 mg'"),
        (lambda k: f"{k} {'kg' if k % 3 else 'lb'}", "'0 lb'"),
        (lambda k: f"{k - 60}".replace("-", "\u2212"), "'\u221260'"),
        # 950 and 1.050: the same file with points of thousands
        (lambda k: f"{900 + 10 * k:,}".replace(",", "."), "'1.000'"),
        (lambda k: f"{k:,}.250,50", "'0.250,50'"),
        (lambda k: f"{k},5e+02", "'0,5e.02'"),
        (lambda k: f"EUR {k}", "'EUR 0'"),
        (lambda k: f"~{k}", "'~0'"),
        (lambda k: f"'{k}", "'0"),
        (lambda k: f"({-k})" if k else "0", "'.-1.'"),
        (lambda k: f"1,{k % 90 + 10},000", "'1,10,000'"),
        (lambda k: f"{100 + k}/80", "'100/80'"),
        (lambda k: f"{k} {'years' if k % 3 else 'months'}", "'0 months'"),
        (lambda k: f"{k}.5-", "'0.5-'"),
        (lambda k: f"{k} 1/2", "'0 1/2'"),
    ],
    ids=[
        "dicom age",
        "unit",
        "units",
        "minus",
        "points",
        "points and a comma",
        "comma and e",
        "currency",
        "about",
        "quote",
        "brackets",
        "lakhs",
        "pairs",
        "words",
        "minus behind",
        "fractions",
    ],
)
def test_numbers_in_another_way_are_an_error(tmp_path: Path, value: Callable[[int], object], fault: str) -> None:
    with pytest.raises(DataError, match=r"are no plain numbers.*" + fault):
        inputs(column(tmp_path, "w", value))


@pytest.mark.parametrize(
    "value",
    [lambda k: f"{k // 2}{'ab'[k % 2]}", lambda k: f"{k % 12}_{k % 9}", lambda k: f"A{k % 40}"],
    ids=["letters", "underscores", "first a letter"],
)
def test_codes_are_categories(tmp_path: Path, value: Callable[[int], object]) -> None:
    path = column(tmp_path, "plate", lambda k: value(k % 60))
    assert inputs(path)[0] > 20


def test_decimals_of_three_digits_stay_numbers(tmp_path: Path) -> None:
    assert inputs(column(tmp_path, "w", lambda k: f"{k % 9 + 1}.{k * 7 % 1000:03d}"))[0] == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda k: -9 if k % 5 == 0 else k % 40, "-9 in 24 rows, and 1 to 39 in all others"),
        (lambda k: 999 if k % 5 else k % 28, "999 in 96 rows, and 0 to"),
        (lambda k: f"{k * 37 % 500:05d}", "'00000' may be a code"),
        (lambda k: f"{k % 12 + 1}E{k % 8 + 1}", "'1E1' may be a code"),
        (lambda k: k % 12 - 6, None),
        (lambda k: k * 9 % 1000, None),
    ],
)
def test_numbers_that_may_be_none(tmp_path: Path, value: Callable[[int], object], said: str | None) -> None:
    found = list(doubts(read_table(column(tmp_path, "w", value)), ["x", "w"]))
    assert found == [] if said is None else len(found) == 1 and said in found[0]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda k, audited: k % 40 * (100 if audited else 1), "'w' is 0 to 3900, and was"),
        (lambda k, audited: ("yes", "no")[k % 2] if audited else k % 2, "40 value(s) of 'w' do not occur in training"),
        (lambda k, audited: "" if audited else k % 40, "40 row(s) have no 'w', which training rows all had"),
        (lambda k, audited: k % 40, None),
        # one rare category
        (lambda k, audited: "rare" if audited and k == 90 else "ab"[k % 2], None),
    ],
    ids=["unit", "spelling", "missing", "alike", "rare"],
)
def test_audited_rows_with_other_inputs_are_said(
    tmp_path: Path, value: Callable[[int, bool], object], said: str | None
) -> None:
    rows = [
        [k / 7, value(k, k >= 80), "fm"[k % 3 % 2], "ab"[k % 2], "test" if k >= 80 else "train"] for k in range(120)
    ]
    path = write(tmp_path / "t.csv", ["x", "w", "sex", "label", "split"], rows)
    columns = Columns(target="label", split="split")
    notes = load_table(path, columns=columns, attributes={"sex": AttributeColumn()}).notes
    told = [note for note in notes if "of audited rows" in note and "'w'" in note]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]


@pytest.mark.parametrize("role", ["target", "attribute"])
@pytest.mark.parametrize("unit", [1, 12])
def test_measured_targets_and_attributes_in_another_unit_are_said(tmp_path: Path, role: str, unit: int) -> None:
    rows = [
        [k / 7, (20 + k % 9) * (unit if k >= 80 else 1), "ab"[k % 2], "test" if k >= 80 else "train"] for k in range(N)
    ]
    path = write(tmp_path / "t.csv", ["x", "age", "label", "split"], rows)
    of_target = role == "target"
    columns = Columns(
        target="age" if of_target else "label", split="split", target_kind=None if not of_target else "regression"
    )
    attribute = {"label": AttributeColumn()} if of_target else {"age": AttributeColumn(kind="continuous")}
    notes = load_table(path, columns=columns, attributes=attribute).notes
    said = "of audited rows 'age' is 240 to 336, and was "
    assert any(said in note for note in notes) == (unit > 1)


def test_classes_that_may_mean_missing(tmp_path: Path) -> None:
    table = read_table(column(tmp_path, "race", lambda k: ("black", "white", "Unknown", "other")[k % 4]))
    assert [note.partition(": ")[2] for note in may_mean_missing(table, ["sex", "race"])] == [
        "'race' has 'Unknown' (30 rows), a class as any other; if it means missing: data.missing"
    ]


def test_numbers_that_a_file_declares_to_be_text_and_spellings_of_inputs_are_said(tmp_path: Path) -> None:
    frame = pd.read_csv(column(tmp_path, "bmi", lambda k: 20 + k / 7))
    frame["bmi"] = frame["bmi"].astype(str)
    frame.to_parquet(tmp_path / "t.parquet")
    assert any(
        "'bmi' holds numbers that the file declares to be text" in note for note in inputs(tmp_path / "t.parquet")[1]
    )
    path = column(tmp_path, "smokes", lambda k: ("yes", "Y", "no")[k % 3])
    assert any("values of 'smokes' that differ only in their spelling" in note for note in inputs(path)[1])


def test_a_column_called_test_is_a_split_beside_train_alone(tmp_path: Path) -> None:
    rows = [["ab"[k % 2], k * 0.37 % 5, int(k % 4 > 0), int(k % 4 == 0)] for k in range(N)]
    table = read_table(write(tmp_path / "t.csv", ["target", "x", "train", "test"], rows))
    assert left_out(table, ["x", "train", "test"]) == {"train": "a split", "test": "a split"}


def test_names_are_read_a_few_times_however_many_columns_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"gene{k}" for k in range(200)]
    table = read_table(write(tmp_path / "t.csv", names, [[k * 0.37 % 5 for k in range(200)] for _ in range(3)]))
    read: list[str] = []
    monkeypatch.setattr(table_inputs, "name_words", lambda name: read.append(name) or name_words(name))
    assert left_out(table, names) == {}
    assert len(read) <= 5 * len(names)
