"""What is guessed of columns by their names and looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from layouts import write

from mibias_cli.data.columns import DRAWN, ColumnLook, look_at
from mibias_cli.data.group_columns import group_columns, is_id_folder, path_groups, same_names
from mibias_cli.survey.columns import attribute_rank, guess_path, guess_target
from mibias_cli.survey.layout import make_table
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.splits import guess_split
from mibias_cli.survey.survey import survey


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
        (["Training", "Testing", "Testing"], ("Training", DRAWN, "Testing")),
        (["0", "1", "2", "0"], ("0", "1", "2")),
        (["train", "train", "val"], ("train", DRAWN, "val")),
        (["dev", "dev", "test"], ("dev", DRAWN, "test")),
        (["0", "1", "0"], ("0", DRAWN, "1")),
        (["val", "test", "test"], None),  # nothing that trains
        (["train", "extra", "extra"], None),  # nothing that would be audited
        (["a", "b", "b"], None),
    ],
)
def test_split(values: list[str], expected: tuple[str, str, str] | None) -> None:
    assert guess_split(looks(Split=values)) == (None if expected is None else ("Split", expected))
    # under another name words say the same, and numbers nothing
    worded = None if expected is None or "0" in values else ("other", expected)
    assert guess_split(looks(other=values)) == worded


def test_target_by_name_or_because_no_other_column_may_be_it_never_by_its_place() -> None:
    columns = looks(Label=["a", "b", "a"], kind=["c", "d", "c"], sex=["f", "m", "f"])
    assert guess_target(columns, []) == ("Label", "by its name")
    found = guess_target(columns, ["Label"])
    assert found is not None
    assert found[0] == "kind"
    assert guess_target(columns, ["Label", "kind"]) is None
    assert guess_target(looks(label=["a", "a", "a"]), []) is None
    assert guess_target(looks(one=["a", "b", "a"], two=["c", "d", "c"]), []) is None
    assert guess_target(looks(finding_labels=["a", "b", "a"], two=["c", "d", "c"]), []) == (
        "finding_labels",
        "by its name",
    )


def test_groups_by_name_where_values_repeat() -> None:
    assert group_columns(looks(patient_id=[f"p{k // 2}" for k in range(60)])) == ["patient_id"]
    assert group_columns(looks(patient_id=[f"p{k}" for k in range(60)])) == []
    assert group_columns(looks(patient_id=["1", None, "1", "2", "3"])) == ["patient_id"]
    # a column of few classes called group is no id of a group
    assert group_columns(looks(group=["a", "b", "c"] * 20)) == []
    assert group_columns(looks(animal=["cat", "dog", "cow"] * 20)) == []
    assert group_columns(looks(patient=["p1", "p2", "p3"] * 20)) == ["patient"]


def test_ids_inside_paths() -> None:
    for paths in (
        [
            "train/patient00001/study1/a.jpg",
            "train/patient00001/study2/a.jpg",
            "v/patient00002/a.jpg",
            "patient3/a.jpg",
        ],
        ["sub-01/anat/a.png", "sub-01/func/a.png", "sub-02/anat/a.png", "sub-03/anat/a.png"],
        [
            "files/p10/p10000032/s1/a.jpg",
            "files/p10/p10000032/s2/a.jpg",
            "files/p11/p11000012/a.jpg",
            "p12000000/a.jpg",
        ],
        ["TCGA-AA-0001-01Z.png", "TCGA-AA-0001-02Z.png", "TCGA-AB-0002-01Z.png", "TCGA-AB-0003-01Z.png"],
    ):
        found = path_groups(paths)
        assert found is not None
        assert found[0] == found[1]
        assert len(set(found)) == 3
    assert path_groups(["patient1/a.jpg", "patient2/a.jpg", "patient3/a.jpg"]) is None  # no id repeats
    assert path_groups(["cat/1.jpg", "cat/2.jpg", "dog/3.jpg"]) is None
    assert is_id_folder({"patient1", "patient2", "patient3"}, inner=False)
    assert is_id_folder({str(k) for k in range(30)}, inner=True)
    assert not is_id_folder({str(k) for k in range(30)}, inner=False)  # numbered classes
    assert not is_id_folder({str(k) for k in range(10)}, inner=True)  # digits
    assert not is_id_folder({"cat", "dog", "patient"}, inner=True)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("scanner", lambda k: 1 + k % 12, "categorical"),
        ("site_id", lambda k: 1000 + k % 30, "categorical"),
        ("region", lambda k: f"0{1000 + k % 30}", "categorical"),
        ("age", lambda k: 20 + k % 30, "continuous"),
        # a value of its own in nearly every row
        ("site_id", lambda k: 1000 + k // 2, "continuous"),
        # sites beyond those of a few classes, and lists, a class each
        ("hospital", lambda k: f"H{k % 30}", "categorical"),
        ("race", lambda k: ("white", "black", "white|asian")[k % 3], "categorical"),
    ],
)
def test_attributes_of_codes_and_of_many_classes(
    tmp_path: Path, name: str, value: Callable[[int], object], kind: str
) -> None:
    rows = [[0.1 * k, value(k), "ab"[k * 7 % 11 % 2]] for k in range(240)]
    found = survey(write(tmp_path / "t.csv", ["x", name, "label"], rows), Wishes(attributes=(name,)))
    assert (found.chosen[0].name, found.chosen[0].kind) == (name, kind)
    if kind == "categorical":
        assert len(found.chosen[0].classes) == len({str(row[1]) for row in rows})


@pytest.mark.parametrize(
    ("values", "mark"),
    [((1, 2, 3, 4, 5, 6, -1), -1), ((0, 1, 9), 9), ((1, 2, 99), 99), ((1, 2, 3), None), (range(10), None)],
)
def test_attributes_that_may_have_a_mark_of_missing(tmp_path: Path, values: Sequence[int], mark: int | None) -> None:
    rows = [[0.1 * k, values[k % len(values)], "ab"[k // 7 % 2]] for k in range(240)]
    found = survey(write(tmp_path / "t.csv", ["x", "skin_tone", "label"], rows), Wishes())
    said = [note for note in found.notes if "if it means missing" in note]
    assert len(said) == (mark is not None)
    assert not said or f"'skin_tone' is {mark} in" in said[0]


def test_files_of_one_name_are_one_thing_where_names_are_of_one_class() -> None:
    """The same things by several scanners; not counters that begin anew in each class, nor one level of folders."""
    rows = [("cat", "x1"), ("cat", "x2"), ("dog", "x3"), ("dog", "x4"), ("dog", "x5")]
    by_scanner = [f"{scanner}/{label}/{name}.png" for scanner in "abc" for label, name in rows]
    by_class = [f"{label}/{scanner}/{name}.png" for scanner in "abc" for label, name in rows]
    for paths in (by_scanner, by_class, [*by_scanner, "a/cat/y1.png"]):
        found = same_names(paths)
        assert found is not None
        assert list(found) == [path.rpartition("/")[2].removesuffix(".png") for path in paths]
    counters = [f"{scanner}/{label}/{k}.png" for scanner in "ab" for label in ("cat", "dog") for k in range(9)]
    few = [*by_scanner[:6], *(f"a/cat/z{k}.png" for k in range(9))]
    for paths in (counters, few, ["a/x1.png", "b/x1.png"], ["x1.png", "x2.png"], ["a/cat/x1.png", "x1.png"], []):
        assert same_names(paths) is None
