"""Spellings of one value: which values are one, and that groups and splits are the same by any of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from layouts import people, write

from mibias_cli.data.annotations import annotate, spelling_notes
from mibias_cli.data.columns import Columns, SplitRule
from mibias_cli.data.files.tabular import read_table, texts
from mibias_cli.data.spelling import spelt_alike


@pytest.mark.parametrize(
    ("values", "alike"),
    [
        (["yes", "Y", "TRUE", "no", "0"], [("0", "no"), ("TRUE", "Y", "yes")]),
        (["ja", "Yes", "nein", "oui"], [("Yes", "ja", "oui")]),
        (["M", "male", "Female", "f"], [("Female", "f"), ("M", "male")]),
        (["no tumor", "no\u00a0tumor", "No_tumor", "tumor"], [("No_tumor", "no tumor", "no\u00a0tumor")]),
        ([unicodedata.normalize("NFC", "Brünn"), unicodedata.normalize("NFD", "Brünn"), "Wien"], 1),
        (["<=50K", "<=50K.", ">50K"], [("<=50K", "<=50K.")]),
        (["007", "7", "70"], [("007", "7")]),
        # values that are not the same
        (["A", "A-", "A+", "AB"], []),
        (["f", "m"], []),
        (["m", "missing"], []),
        (["-1", "1", "0"], []),
        (["1_0", "10"], []),
        (["9007199254740993", "9007199254740992"], []),
        (["A", "A|B", "C"], []),
        (["A", "B", "AB", "O"], []),
    ],
)
def test_values_that_differ_only_in_their_spelling(values: list[str], alike: list[tuple[str, ...]] | int) -> None:
    found = spelt_alike(texts(values))
    assert len(found) == alike if isinstance(alike, int) else found == alike


@pytest.mark.parametrize(
    "spellings",
    [("P{:03d}", "p{:03d}"), ("{}", "{}.0"), ("{:04d}", "{}"), ("case {}", "case_{}", "Case-{}")],
    ids=["capitals", "floats", "zeros", "blanks"],
)
def test_a_patient_is_one_group_by_any_spelling(tmp_path: Path, spellings: Sequence[str]) -> None:
    rows = [
        ["ab"[y], "fm"[c], spellings[k % len(spellings)].format(p)] for k, (p, y, c) in enumerate(people(60, each=3))
    ]
    table = read_table(write(tmp_path / "t.csv", ["label", "sex", "patient"], rows))
    columns = Columns(target="label", group="patient")
    found = annotate(table, columns=columns, attributes={}, splits=SplitRule(), seed=0)
    # rows 3p, 3p + 1 and 3p + 2 are of patient p, whatever is written
    assert (found.role.reshape(60, 3) == found.role.reshape(60, 3)[:, :1]).all()
    assert found.group is not None
    assert len(set(found.group)) == 60
    assert any("in several spellings are one group" in note for note in found.notes)


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (("Train", "TRAIN", "train", "val", "TEST", "Test"), SplitRule(validation="val")),
        (("0.0", "0", "0", "1.0", "2", "2.0"), SplitRule(train="0", validation="1", audit="2")),
    ],
)
def test_a_split_is_one_by_any_spelling(tmp_path: Path, written: Sequence[str], rule: SplitRule) -> None:
    rows = [["ab"[k % 2], written[k // 2 % 6]] for k in range(120)]
    table = read_table(write(tmp_path / "t.csv", ["label", "split"], rows))
    found = annotate(table, columns=Columns(target="label", split="split"), attributes={}, splits=rule, seed=0)
    assert np.bincount(found.role).tolist() == [60, 20, 40]


def test_characters_without_width_and_roman_numerals() -> None:
    assert spelt_alike(texts(["cat", "cat\u200b", "d\u00adog", "dog"])) == [("cat", "cat\u200b"), ("dog", "d\u00adog")]
    # a Cyrillic M
    assert spelt_alike(texts(["M", "\u041c", "F"])) == [("M", "\u041c")]
    assert spelt_alike(texts(["I", "II", "III", "IV", "V", "VI"])) == []


def test_values_that_look_the_same_are_told_by_their_characters(tmp_path: Path) -> None:
    rows = [["Brünn"], [unicodedata.normalize("NFD", "Brünn")], ["Wien"]]
    (note,) = spelling_notes(read_table(write(tmp_path / "t.csv", ["city"], rows)), ["city"])
    assert r"'Bru\u0308nn' and 'Br\xfcnn'" in note
