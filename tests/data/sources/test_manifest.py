from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.sources.manifest import load_manifest
from mibias_cli.errors import DataError

Rows = list[dict[str, str]]
Draw = Callable[..., Rows]
ToCsv = Callable[[Path, Rows], Path]

BACKGROUND = {"background": AttributeColumn()}
SPLIT = Columns(split="split")


@pytest.fixture
def rows(draw: Draw, tmp_path: Path) -> Rows:
    return draw(tmp_path, 40)


def load(
    to_csv: ToCsv, folder: Path, rows: Rows, columns: Columns = SPLIT, splits: SplitRule | None = None
) -> BiasedData:
    path = to_csv(folder / "manifest.csv", rows)
    return load_manifest(path, columns=columns, attributes=BACKGROUND, splits=splits or SplitRule())


def test_reads_images_labels_and_splits(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    path = to_csv(tmp_path / "manifest.csv", rows)
    attributes = {"background": AttributeColumn(), "years": AttributeColumn(column="age", kind="continuous", bins=3)}
    data = load_manifest(path, columns=SPLIT, attributes=attributes)
    assert data.class_names == ("square", "stripe")
    assert data.input_shape == (3, 8, 8)
    (note,) = data.notes  # the column of patients is not named as the group
    assert "6 of 10 ids in 'patient' (p1, p2 and 4 more) are in more than one split" in note
    assert data.attributes["background"].class_names == (("blue", "red"),)
    assert data.attributes["years"].n_classes == (3,)
    for split, name in ((data.train, "train"), (data.validation, "validation"), (data.audit, "test")):
        expected = [row for row in rows if row["split"] == name]
        assert [data.class_names[y] for y in split.y] == [row["target"] for row in expected]
        assert [("blue", "red")[c] for c in split.c["background"][:, 0]] == [row["background"] for row in expected]
        assert split.c["years"][:, 0].tolist() == [float(row["age"]) for row in expected]
        images = split.reader.read(split.rows, None)
        for image, row in zip(images, expected, strict=True):
            pixels = np.array(Image.open(tmp_path / row["path"]))
            torch.testing.assert_close(image, torch.tensor(pixels).permute(2, 0, 1) / 255)
    assert data.audit.row_names[0] == "row 10 (0008.png)"


def test_parquet_with_integer_splits_and_rows_of_no_split(rows: Rows, tmp_path: Path) -> None:
    code = {"train": 0, "validation": 1, "test": 2}
    columns = {name: [row[name] for row in rows] for name in ("path", "target", "background")}
    split = [code[row["split"]] for row in rows[:-2]] + [7, 7]
    pq.write_table(pa.table({**columns, "split": split}), tmp_path / "m.parquet")
    data = load_manifest(
        tmp_path / "m.parquet",
        columns=SPLIT,
        attributes=BACKGROUND,
        splits=SplitRule(train="0", validation="1", audit="2"),
    )
    assert len(data.train) + len(data.validation) + len(data.audit) == 38
    assert len(data.notes) == 1
    assert "2 row(s) left out" in data.notes[0]
    assert "'7' (2 rows)" in data.notes[0]


def test_fractions_follow_the_seed(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    path = to_csv(tmp_path / "manifest.csv", rows)
    first, again, other = (load_manifest(path, attributes=BACKGROUND, seed=seed) for seed in (0, 0, 1))
    assert [len(s) for s in (first.train, first.validation, first.audit)] == [28, 4, 8]
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.train.row_names == again.train.row_names != other.train.row_names


def test_groups_are_kept_whole_by_fractions(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    data = load(to_csv, tmp_path, rows, Columns(group="patient"))
    groups = [set(s.group) for s in (data.train, data.validation, data.audit) if s.group is not None]
    assert len(groups) == 3
    assert len(set().union(*groups)) == sum(len(g) for g in groups) == 10


def test_groups_in_two_splits_are_named(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(to_csv, tmp_path, rows, Columns(split="split", group="patient"))
    text = str(caught.value)
    assert "6 group(s) of 'patient' are in more than one split" in text
    assert "'p1' (train, validation)" in text
    assert text.count("'p") == 6
    assert "and 1 more" in text


def test_missing_files_are_counted_and_the_first_five_named(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    for k in range(3, 10):
        (tmp_path / f"{k:04d}.png").unlink()
    with pytest.raises(DataError) as caught:
        load(to_csv, tmp_path, rows)
    assert "7 row(s) name a file that does not exist" in str(caught.value)
    assert "row 5 (0003.png), row 6 (0004.png)" in str(caught.value)
    assert "row 9 (0007.png) and 2 more" in str(caught.value)


def test_paths_may_not_leave_the_root(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for row in rows:
        (tmp_path / row["path"]).rename(root / row["path"])
    outside = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    os.symlink(outside, root / "link.png")
    os.symlink(tmp_path, root / "folder")
    path = tmp_path / "manifest.csv"
    for escape in ("../secret.png", str(outside), "link.png", "folder/secret.png", "a/../../secret.png", ".."):
        to_csv(path, [{**rows[0], "path": escape}, *rows[1:]])
        with pytest.raises(DataError, match="1 row.* leads out of .*root; .*: row 2"):
            load_manifest(path, root=root, columns=SPLIT, attributes=BACKGROUND)
    inside = [{**rows[0], "path": str(root / rows[0]["path"])}, {**rows[1], "path": f"./x/../{rows[1]['path']}"}]
    (root / "x").mkdir()
    to_csv(path, [*inside, *rows[2:]])
    assert len(load_manifest(path, root=root, columns=SPLIT, attributes=BACKGROUND).train) == 24


def test_empty_paths_and_folders(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 row.* have no path in 'path': 2"):
        load(to_csv, tmp_path, [{**rows[0], "path": ""}, *rows[1:]])
    with pytest.raises(DataError, match="does not exist"):
        load(to_csv, tmp_path, [{**rows[0], "path": "."}, *rows[1:]])
    with pytest.raises(DataError, match="no such folder; set data.root"):
        load_manifest(tmp_path / "manifest.csv", root=tmp_path / "gone", columns=SPLIT, attributes=BACKGROUND)


def test_an_empty_split_lists_what_the_column_holds(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(to_csv, tmp_path, rows, splits=SplitRule(validation="validatoin"))
    text = str(caught.value)
    assert (
        "no row has 'validatoin' in 'split', which data.splits.validation asks for, did you mean 'validation'?" in text
    )
    assert "'train' (24 rows)" in text
    with pytest.raises(DataError, match="three values"):
        load(to_csv, tmp_path, rows, splits=SplitRule(validation="test"))
    with pytest.raises(DataError, match="the validation split is empty: splits.fractions"):
        load(to_csv, tmp_path, rows, Columns(), SplitRule(fractions=(0.8, 0.0, 0.2)))


def test_validation_is_drawn_where_only_train_and_test_exist(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    two = [{**row, "split": "test" if row["split"] == "test" else "train"} for row in rows]
    data = load(to_csv, tmp_path, two)
    assert [len(s) for s in (data.train, data.validation, data.audit)] == [28, 4, 8]
    assert "4 of 32 training rows, drawn by splits.fractions, validate" in data.notes[0]


def test_missing_columns(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data.columns.path: no column 'pth', did you mean 'path'"):
        load(to_csv, tmp_path, rows, Columns(path="pth"))
    with pytest.raises(DataError, match="data.columns.group: no column 'patent', did you mean 'patient'"):
        load(to_csv, tmp_path, rows, Columns(group="patent"))
    with pytest.raises(DataError, match="1 row.* no group in 'patient': rows 2"):
        load(to_csv, tmp_path, [{**rows[0], "patient": ""}, *rows[1:]], Columns(group="patient"))


def test_missing_attribute_values_are_unknown(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    data = load(to_csv, tmp_path, [{**rows[0], "background": ""}, *rows[1:]])
    assert data.train.known["background"].tolist() == [False] + [True] * 23
    assert data.attributes["background"].class_names == (("blue", "red"),)


def test_fingerprint_changes_with_labels_and_files(rows: Rows, to_csv: ToCsv, tmp_path: Path) -> None:
    base = load(to_csv, tmp_path, rows).fingerprint
    flipped = {**rows[0], "background": "red" if rows[0]["background"] == "blue" else "blue"}
    assert load(to_csv, tmp_path, [flipped, *rows[1:]]).fingerprint != base
    assert load(to_csv, tmp_path, rows).fingerprint == base
    Image.new("RGB", (8, 8)).save(tmp_path / rows[0]["path"])
    assert load(to_csv, tmp_path, rows).fingerprint != base
