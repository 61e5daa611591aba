"""Splits that lie in text files, in folds, or below class folders; and folders of codes that are no classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
from layouts import image, pairs, write

from mibias_cli.errors import DataError
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import Survey, survey

GUESS = Wishes()
N = 60
TRAIN, VALIDATION, TEST = range(36), range(36, 48), range(48, N)


def listed(folder: Path, name: Callable[[int], str]) -> Path:
    """Images of these names below a folder, and a table of them."""
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(folder / name(k))
        rows.append([name(k), "ab"[y], "fm"[c]])
    write(folder / "labels.csv", ["file", "label", "sex"], rows)
    return folder


def split_of(found: Survey) -> dict[str, str | None]:
    """By image, the value of the split column."""
    columns = found.layout.table.columns
    return dict(zip(columns[found.layout.path], columns[found.columns.split], strict=True))


@pytest.mark.parametrize(
    ("name", "line", "place"),
    [
        ("images/{k}.png", "images/{k}.png", ""),
        ("images/{k}.png", "{k}", ""),
        ("images/{k}.png", "images/{k}.png 1", ""),
        ("images/{k}.png", "{k}.png,1", ""),
        ("images/{k}.png", "{k}.jpg\t1", "splits/"),
        ("images/scan {k} a.png", "scan {k} a.png", ""),
        ("images/scan {k} a.png", "./images/scan {k} a.png, 1", "ImageSets/"),
        # one name in each folder of a patient
        ("pat_{patient:03d}/{inner}.png", "pat_{patient:03d}/{inner}.png", ""),
        ("pat_{patient:03d}/{inner}.png", "data/pat_{patient:03d}/{inner}", "meta/"),
    ],
)
def test_lists_of_names_by_any_writing(tmp_path: Path, name: str, line: str, place: str) -> None:
    def written(text: str, k: int) -> str:
        return text.format(k=k, patient=k // 4, inner=k % 4)

    folder = listed(tmp_path / "d", lambda k: written(name, k))
    (folder / place).mkdir(exist_ok=True)
    for part, rows in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        (folder / f"{place}{part}.txt").write_text("\n".join(written(line, k) for k in rows))
    found = survey(folder, GUESS)
    parts = [("train", TRAIN), ("validation", VALIDATION), ("test", TEST)]
    assert split_of(found) == {written(name, k): part for part, rows in parts for k in rows}
    assert any(f"from the lists {place}test.txt" in guess for guess in found.guesses)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"train.txt": "0.png\n1.png", "test.txt": "2.png"},
            r"test\.txt, train\.txt; .*\(test\.txt, train\.txt: 3 of 60\)",
        ),
        ({"train_test_split.txt": "1 0\n2 1"}, r"train_test_split\.txt; a list"),  # CUB's, by numbers of its own
        ({"splits.json": "{}", "meta/test.json": "[]"}, r"splits\.json, meta/test\.json; a list"),
        ({"folds/train.mat": "", "train.csv": "x\n1", "notes.txt": "of nothing"}, None),
    ],
)
def test_lists_that_are_not_read_are_said(tmp_path: Path, files: dict[str, str], said: str | None) -> None:
    folder = listed(tmp_path / "d", lambda k: f"images/scan_{k}.png" if "splits.json" in files else f"images/{k}.png")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    found = survey(folder, GUESS)
    assert found.columns.split is None
    notes = [note for note in found.notes if note.startswith("not read as the split")]
    assert len(notes) == (said is not None)
    assert said is None or re.search(said, notes[0])


@pytest.mark.parametrize("name", ["fold", "split_2"])
def test_a_split_of_one_value_beside_empty_cells_is_said(tmp_path: Path, name: str) -> None:
    rows = [["ab"[y], "fm"[c], k / 7, "" if k % 3 else "test"] for k, (y, c) in enumerate(pairs(N))]
    found = survey(write(tmp_path / "t.csv", ["label", "sex", "x", name], rows), GUESS)
    assert found.columns.split is None
    assert any(note.startswith("not read as the split: ") and name in note for note in found.notes)


def test_files_of_folds_are_no_split(tmp_path: Path) -> None:
    rows = [[f"{k / 7:.3f}", "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))]
    header = ["v", "label", "sex"]
    for fold in range(3):
        write(tmp_path / f"fold{fold}_train.csv", header, [row for k, row in enumerate(rows) if k % 3 != fold])
        write(tmp_path / f"fold{fold}_test.csv", header, [row for k, row in enumerate(rows) if k % 3 == fold])
    with pytest.raises(DataError, match=r"60 of 60 rows of fold0_test\.csv.*are in fold0_train\.csv.*as in folds"):
        survey(tmp_path, GUESS)


@pytest.mark.parametrize("values", [3, N])
def test_parts_of_a_split_are_no_folds(tmp_path: Path, values: int) -> None:
    """Rows of a few categories are alike by chance, and others differ."""
    rows = [[k % values, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))]
    for part in range(4):
        name = f"{'train' if part < 2 else 'test'}-{part % 2:05d}-of-00002.csv"
        write(tmp_path / name, ["v", "label", "sex"], rows[part::4])
    assert tuple(survey(tmp_path, GUESS).n_rows.values())[2] == N // 2


@pytest.mark.parametrize("with_table", [True, False])
def test_split_folders_below_class_folders(tmp_path: Path, with_table: bool) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        part = "train" if k < 40 else "test"
        rows.append([name := f"{('cat', 'dog')[y]}/{part}/{'fm'[c]}_{k}.png", "fm"[c]])
        image(tmp_path / "d" / name)
    if with_table:
        write(tmp_path / "d" / "sex.csv", ["file", "sex"], rows)
    found = survey(tmp_path / "d", GUESS)
    assert set(found.class_names) == {"cat", "dog"}
    assert split_of(found) == {name: name.split("/")[1] for name, _ in rows}
    # what stands below is no attribute
    assert [a.name for a in found.chosen] == ["sex" if with_table else "name_prefix"]


def test_folders_of_codes_beside_a_table_with_a_target(tmp_path: Path) -> None:
    folder = listed(tmp_path / "d", lambda k: f"p{k // 5:03d}/{k % 5}.png")
    found = survey(folder, GUESS)
    assert (found.columns.target, found.columns.group) == ("label", "patient_folder")
    assert any("p000, p001, p002 and 9 more: folders of codes, no classes: label" in note for note in found.notes)
    columns = found.layout.table.columns
    assert [*columns["patient_folder"]] == [path.split("/")[0] for path in columns["path"]]


@pytest.mark.parametrize(("folder", "label"), [("class{}", "ab"), ("c{}", "01234"), ("{}_cat", "ab")])
def test_numbered_classes_stay_classes(tmp_path: Path, folder: str, label: str) -> None:
    """They are called so, or the table says the same of them, or they are words."""
    rows = []
    for k, (_, c) in enumerate(pairs(N)):
        name = f"{folder.format(k % 5)}/{k}.png"
        image(tmp_path / "d" / name)
        rows.append([name, label[k % 5 % len(label)], "fm"[c]])
    write(tmp_path / "d" / "labels.csv", ["file", "label", "sex"], rows)
    assert survey(tmp_path / "d", GUESS).target_title == "the class folder"


def test_numbered_folders_of_patients_beside_a_table(tmp_path: Path) -> None:
    """As `8863/scan/1.png`: numbers with folders within are patients, whoever says what is on the images."""
    folder = listed(tmp_path / "d", lambda k: f"{1000 + k // 2}/scan/{k}.png")
    found = survey(folder, GUESS)
    assert (found.columns.target, found.columns.group) == ("label", "patient_folder")
    table = layouts.write(folder / "labels.csv", ["file", "patient_id", "label", "sex"], [
        [f"{1000 + k // 2}/scan/{k}.png", f"x{k // 6}", "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))
    ])  # fmt: skip
    assert table.is_file()
    found = survey(folder, GUESS)
    assert found.columns.group == "patient_id"
    assert len(np.unique(found.layout.table.columns["patient_id"])) == 10


@pytest.mark.parametrize(("yes", "no"), [("ja", "nein"), ("1.0", "0.0"), ("oui", "non"), ("Yes", "No")])
def test_flags_of_a_split_by_any_writing(tmp_path: Path, yes: str, no: str) -> None:
    rows = [["ab"[y], "fm"[c], k / 7, yes if k % 3 == 0 else no] for k, (y, c) in enumerate(pairs(N))]
    found = survey(write(tmp_path / "t.csv", ["label", "sex", "x", "is_test"], rows), GUESS)
    assert (found.columns.split, found.splits.train, found.splits.audit) == ("is_test", no, yes)
    assert found.n_rows["audit"] == N // 3


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        # a row of none of two is of the third split, and of none of three in no split
        (("train", "val", "test"), (30, 10, 10)),
        (("is_train", "is_valid", "is_test"), (30, 10, 10)),
        (("is_val", "is_test"), (40, 10, 10)),
        (("is_train", "is_val"), (30, 10, 20)),
    ],
)
def test_a_split_in_columns_of_yes_and_no(tmp_path: Path, names: tuple[str, ...], rows: tuple[int, int, int]) -> None:
    places = {"train": (0, 1, 2), "is_train": (0, 1, 2), "val": (3,), "is_val": (3,), "is_valid": (3,)}
    flags = [[int(k % 6 in places.get(name, (4,))) for name in names] for k in range(N)]
    table = [["ab"[y], "fm"[c], k / 7, *flags[k]] for k, (y, c) in enumerate(pairs(N))]
    found = survey(write(tmp_path / "t.csv", ["label", "sex", "x", *names], table), GUESS)
    assert tuple(found.n_rows.values()) == rows
    assert f"split: from {', '.join(names)}" in found.guesses
    assert not any("not read as the split" in note for note in found.notes)


@pytest.mark.parametrize("with_images", [True, False])
def test_tables_of_ids_beside_one_of_labels(tmp_path: Path, with_images: bool) -> None:
    for part, some in (("train", range(40)), ("test", range(40, N))):
        write(tmp_path / f"{part}.csv", ["id", "x"], [[f"{k:03d}", k / 7] for k in some])
    labels = {f"{k:03d}": ("ab"[y], "fm"[c]) for k, (y, c) in enumerate(pairs(N))}
    write(tmp_path / "labels.csv", ["id", "label", "sex"], [[name, *of] for name, of in reversed(labels.items())])
    for name in labels if with_images else ():
        image(tmp_path / "images" / f"{name}.png")
    found = survey(tmp_path, GUESS)
    assert (found.columns.target, found.layout.source) == ("label", "manifest" if with_images else "table")
    columns = found.layout.table.columns
    read = {Path(i).stem: (y, c) for i, y, c in zip(columns["id"], columns["label"], columns["sex"], strict=True)}
    assert read == labels
    assert found.n_rows["audit"] == 20
