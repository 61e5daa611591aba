"""Public data sets as they lie: what init takes for split, group, target and attribute, and that loading agrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import layouts
import numpy as np
import pytest
from PIL import Image
from shard_files import split_shards

from mibias_cli.data.annotations import SPLITS
from mibias_cli.data.files.folders import find_images
from mibias_cli.errors import DataError
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run.build import build_data
from mibias_cli.survey.first_recipe import first_recipe, write_needed_manifest
from mibias_cli.survey.model_choice import ModelChoice
from mibias_cli.survey.repeats import same_content
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import Survey, survey


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layout, what the user says, and what must be found: rows of each split, columns, and words of what is said."""

    make: Callable[[Path], Path]
    rows: tuple[int, int, int]
    source: str = "manifest"
    target: str = "label"
    attribute: str = "sex"
    split: str | None = None
    group: str | None = None
    wishes: Wishes = field(default_factory=Wishes)
    said: Sequence[str] = ()


def table(name: str, values: Sequence[str], rows: tuple[int, int, int], *said: str, taken: bool = True) -> Case:
    split = name if taken else None
    return Case(
        make=lambda folder: layouts.split_column(folder, name, values),
        rows=rows,
        source="table",
        split=split,
        said=said,
    )


def tables(names: Sequence[str], rows: tuple[int, int, int], *said: str) -> Case:
    return Case(
        make=lambda folder: layouts.split_tables(folder, names), rows=rows, source="table", split="split", said=said
    )


def folders(names: Sequence[str], rows: tuple[int, int, int]) -> Case:
    return Case(
        make=lambda folder: layouts.split_folders(folder, names),
        rows=rows,
        target="class",
        attribute="name_prefix",
        split="split",
    )


CASES: dict[str, Case] = {
    "chexpert": Case(
        make=layouts.chexpert, rows=(84, 12, 24), target="Pneumonia", attribute="Sex", split="split", group="group",
        wishes=Wishes(target="Pneumonia"),
        said=("ids inside the paths of Path (patient00000", "-1 beside 0 and 1", "12 of 96 training rows"),
    ),
    "chexpert, train.csv alone": Case(
        make=lambda folder: layouts.chexpert(folder) / "train.csv", rows=(66, 9, 21), target="Pneumonia",
        attribute="Sex", group="group", wishes=Wishes(target="Pneumonia"),
        said=("valid.csv beside it may be other parts of an official split", "Path is read by the end of the path"),
    ),
    "nih": Case(
        make=layouts.nih, rows=(81, 9, 30), target="Finding Labels", attribute="Patient Gender", split="split",
        group="Patient ID", said=("from the lists test_list.txt, train_val_list.txt", "cells are lists (A|B)"),
    ),
    "mimic": Case(
        make=layouts.mimic, rows=(78, 18, 24), target="ViewPosition", attribute="Pneumonia", split="split",
        group="subject_id", wishes=Wishes(target="ViewPosition"),
        said=("dicom_id of mimic-cxr-2.0.0-split.csv is read by name",),
    ),
    "mimic, labels by study": Case(
        make=layouts.mimic, rows=(78, 18, 24), target="Pneumonia", attribute="ViewPosition", split="split",
        group="subject_id", wishes=Wishes(target="Pneumonia", attributes=("ViewPosition",)),
        said=("mimic-cxr-2.0.0-chexpert.csv is joined by study_id: Pneumonia",),
    ),
    "isic2019": Case(
        make=layouts.isic2019, rows=(84, 12, 24), target="MEL", group="lesion_id", wishes=Wishes(target="MEL"),
        said=("image of ISIC_2019_Training_GroundTruth.csv is read by name", "NV: each value goes with one value"),
    ),
    "a table of images and one of patients": Case(
        make=layouts.patient_table, rows=(84, 12, 24), target="diagnosis", group="patient_id",
        said=("patients.csv is joined by patient_id: sex, hospital",),
    ),
    "absolute paths": Case(make=layouts.absolute_paths, rows=(84, 12, 24)),
    "ham10000": Case(
        make=layouts.ham10000, rows=(84, 12, 24), target="dx", group="lesion_id",
        said=("image_id of HAM10000_metadata.csv is read by name",),
    ),
    "isic2020": Case(
        make=layouts.isic2020, rows=(84, 12, 24), target="target", group="patient_id",
        said=("patient_id: 6 row(s) have none", "benign_malignant: each value goes with one value of the target"),
    ),
    "fitzpatrick17k": Case(
        make=layouts.fitzpatrick17k, rows=(84, 12, 24), attribute="fitzpatrick_scale", said=("md5hash of",)
    ),
    "fairface": Case(
        make=layouts.fairface, rows=(79, 11, 30), target="age", attribute="gender", split="split",
        wishes=Wishes(target="age"),
    ),
    "wilds camelyon17": Case(
        make=layouts.camelyon, rows=(78, 12, 30), target="tumor", attribute="center", split="split", group="patient",
        wishes=Wishes(target="tumor"), said=("slide (association 1.00): center once more",),
    ),
    "kaggle images + train.csv": Case(
        make=layouts.kaggle, rows=(84, 12, 24), attribute="camera", said=("20 image(s) without a row in train.csv",)
    ),
    "hub imagefolder": Case(
        make=layouts.hub_folder, rows=(70, 10, 40), attribute="gender", split="split",
        said=("train trains, some of its rows validate, validation is audited",),
    ),
    "webdataset": Case(
        make=lambda folder: split_shards(folder, {"train-0000.tar": 60, "train-0001.tar": 40, "val-0000.tar": 30}),
        rows=(87, 13, 30), source="webdataset", target="cls", split="__split__",
        said=("train trains, some of its rows validate, val is audited",),
    ),
    "webdataset without splits": Case(
        make=lambda folder: split_shards(folder, {"0000.tar": 60, "0001.tar": 60}),
        rows=(84, 12, 24), source="webdataset", target="cls",
    ),
    "hub parquet shards": Case(make=layouts.typed_parts, rows=(157, 23, 60), source="table", split="split"),
    "split folders with a table each": Case(
        make=layouts.inner_tables, rows=(79, 11, 60), attribute="gender", split="split"
    ),
    "chest_xray: persons in names": Case(
        make=layouts.pneumonia, rows=(102, 15, 61), target="class", attribute="scanner", split="split", group="group",
        said=("of training and validation whose group is in a later split too (1 in two splits)",),
    ),
    "folders of patients": Case(
        make=layouts.patient_folders, rows=(84, 12, 24), target="diagnosis", attribute="scanner", group="group"
    ),
    "folders of patients with classes": Case(
        make=layouts.patients_of_classes, rows=(84, 12, 24), target="class", attribute="scanner", group="patient",
        said=("8000, 8013, 8026, …: folders of patients (or the like), no classes",),
    ),
    "backslashes and case": Case(make=layouts.backslashes, rows=(84, 12, 24), said=("whatever folder, suffix",)),
    "test set without labels": Case(
        make=layouts.unlabelled_test, rows=(63, 9, 18), target="class", attribute="camera",
        said=("20 image(s) in no class folder, left out: test/0.png",),
    ),
    "adult": Case(
        make=layouts.adult, rows=(420, 60, 120), source="table", target="income",
        said=("read as missing (data.missing): '?' in 'workclass'",),
    ),
    "german": Case(
        make=layouts.german, rows=(420, 60, 120), source="table", target="class", attribute="personal_status",
        wishes=Wishes(attributes=("personal_status",)), said=("target class: by its name",),
    ),
    "is_test": table("is_test", ("True", "False"), (105, 15, 120), "split is_test: by its name and values"),
    "is_train": table("is_train", ("1", "0"), (105, 15, 120)),
    "isTrain": table("isTrain", ("yes", "no"), (105, 15, 120)),
    "is_valid": table("is_valid", ("True", "False"), (105, 15, 120)),
    "valid may mean sound": table("valid", ("True", "False"), (168, 24, 48), "the split: valid", taken=False),
    "is_val and is_test": Case(
        make=layouts.flags, rows=(120, 60, 60), source="table", split="split", said=("from is_val, is_test",)
    ),
    "split 0-1-2": table("split", ("0", "1", "2"), (80, 80, 80)),
    "split 0-1": table("split", ("0", "1"), (105, 15, 120), "split split: by its name and values (0, 1)"),
    "partition 1-2-3": table("partition", ("1", "2", "3"), (168, 24, 48), "not read as the split", taken=False),
    "folds": table("fold", ("0", "1", "2", "3", "4"), (168, 24, 48), "not read as the split: fold", taken=False),
    "capitals": table("Split", ("Training", "Validation", "Testing"), (80, 80, 80)),
    "validate": table("data_split", ("train", "validate", "test"), (80, 80, 80)),
    "fer2013": table("Usage", ("Training", "PublicTest", "PrivateTest"), (70, 10, 80), "names no split: 'PublicTest'"),
    "another name": table("dataset", ("train", "test"), (105, 15, 120)),
    "whatever name": table("part_of", ("train", "test"), (105, 15, 120)),
    "iwildcam": table("split", ("train", "val", "test", "id_val"), (60, 60, 60), "names no split: 'id_val'"),
    "train, test and more": table("split", ("train", "test", "extra"), (70, 10, 80), "names no split: 'extra'"),
    "dev, test": table("set", ("dev", "test"), (105, 15, 120)),
    "train, valid": table("split", ("train", "valid"), (105, 15, 120)),
    "train.csv, valid.csv, test.csv": tables(("train.csv", "valid.csv", "test.csv"), (120, 120, 120)),
    "train.csv, test.csv": tables(("train.csv", "test.csv"), (105, 15, 120)),
    "x_train.csv, x_val.csv": tables(("x_train.csv", "x_val.csv"), (105, 15, 120)),
    "train/ dev/ test/": folders(("train", "dev", "test"), (60, 60, 60)),
    "dev/ test/": folders(("dev", "test"), (52, 8, 60)),
    "Training/ Testing/": folders(("Training", "Testing"), (52, 8, 60)),
    "train/ valid/": folders(("train", "valid"), (52, 8, 60)),
    "train/ validate/ test/": folders(("train", "validate", "test"), (60, 60, 60)),
    "seg_train/ seg_test/ seg_pred/": folders(("seg_train", "seg_test", "seg_pred"), (52, 8, 60)),
}  # fmt: skip


def recipe_of(found: Survey, source: Path, out: Path) -> Path:
    """The recipe that init writes, with its manifest, for a small network."""
    tabular = found.layout.source == "table"
    model = ModelChoice(name="mlp" if tabular else "digit_cnn", weights="none", input_size=None if tabular else 28)
    text, manifest = first_recipe(found, model, source=source, out=out)
    out.write_text(text, encoding="utf-8")
    if manifest is not None:
        write_needed_manifest(found, manifest)
    return out


@pytest.mark.parametrize("name", CASES)
def test_layouts(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = case.make(tmp_path)
    found = survey(path, case.wishes)
    told = "\n".join((*found.guesses, *found.notes))
    columns = found.columns
    assert (found.layout.source, columns.target, columns.split, columns.group) == (
        case.source, case.target, case.split, case.group,
    ), told  # fmt: skip
    assert found.chosen[0].name == case.attribute
    assert tuple(found.n_rows.values()) == case.rows, told
    for words in case.said:
        assert words in told, told
    # whatever was guessed of a split or a group is said
    assert case.split is None or any(
        word in told for word in (f"split {case.split}:", "split (split folder):", "split: from")
    )
    assert case.group is None or f"group {case.group}" in told
    # and what init writes loads to the same rows, with no group in two splits
    data = build_data(load_recipe(recipe_of(found, path, tmp_path / "recipe.yaml")), offline=True)
    splits = [getattr(data, split) for split in SPLITS]
    assert tuple(len(split.y) for split in splits) == case.rows
    if case.group is not None:
        groups = [set(split.group) for split in splits]
        assert len(groups[0] | groups[1] | groups[2]) == sum(map(len, groups))


@pytest.mark.parametrize(
    "name",
    ["Patient ID", "PatientID", "patientId", "patient_number", "SubjectID", "subject", "lesion_id", "identity", "PID",
     "person", "CaseID", "MRN", "client_id", "study_id", "user", "participant.no", "videoid"],
)  # fmt: skip
def test_names_of_groups(tmp_path: Path, name: str) -> None:
    found = survey(layouts.group_table(tmp_path, name), Wishes())
    assert found.columns.group == name
    assert f"group {name}: by its name" in found.guesses


@pytest.mark.parametrize("name", ["Patient Age", "study", "person_kind", "subjective", "x1"])
def test_names_that_are_no_groups(tmp_path: Path, name: str) -> None:
    rows = [["ab"[y], "fm"[c], k % 9] for k, (y, c) in enumerate(layouts.pairs(180))]
    found = survey(layouts.write(tmp_path / "t.csv", ["label", "sex", name], rows), Wishes())
    assert found.columns.group is None


def test_wider_groups_come_first_and_the_others_are_said(tmp_path: Path) -> None:
    rows = [["ab"[y], "fm"[c], f"s{k // 2}", f"p{k // 6}"] for k, (y, c) in enumerate(layouts.pairs(240))]
    found = survey(layouts.write(tmp_path / "t.csv", ["label", "sex", "study_id", "patient_id"], rows), Wishes())
    assert found.columns.group == "patient_id"
    assert "group patient_id: by its name; study_id may be groups too: --group" in found.guesses


def test_official_test_rows_never_train(tmp_path: Path) -> None:
    for values in (("train", "test"), ("train", "valid", "test"), ("dev", "test"), ("Training", "PublicTest")):
        path = layouts.split_column(tmp_path, "split", values)
        found = survey(path, Wishes())
        data = build_data(load_recipe(recipe_of(found, path, tmp_path / "recipe.yaml")), offline=True)
        official = np.array([line.rsplit(",", 1)[1] for line in path.read_text().split()[1:]])
        for split in (data.train, data.validation):
            rows = np.array([int(name.split()[1]) for name in split.row_names]) - 2
            assert not {value for value in official[rows] if "est" in value}


def test_a_recipe_without_groups_is_told_of_ids_in_two_splits(tmp_path: Path) -> None:
    path = layouts.group_table(tmp_path, "PatientID")
    out = recipe_of(survey(path, Wishes()), path, tmp_path / "recipe.yaml")
    assert not build_data(load_recipe(out), offline=True).notes
    without = build_data(load_recipe(out, ["data.columns.group=null"]), offline=True)
    assert any("ids in 'PatientID' (" in note and "name it in data.columns.group" in note for note in without.notes)
    named = layouts.chexpert(tmp_path)
    out = recipe_of(survey(named, Wishes(target="Pneumonia")), named, tmp_path / "named.yaml")
    drawn = build_data(load_recipe(out, ["data.columns.group=null", "data.columns.split=null"]), offline=True)
    assert any("ids in 'group' (" in note for note in drawn.notes)


def test_the_target_is_never_chosen_by_its_place(tmp_path: Path) -> None:
    rows = [["ab"[y], "fm"[c], "uv"[k % 2], "pq"[k // 2 % 2]] for k, (y, c) in enumerate(layouts.pairs(80))]
    path = layouts.write(tmp_path / "t.csv", ["one", "sex", "two", "three"], rows)
    with pytest.raises(
        DataError, match=r"nothing says which column is the target.*few classes: 'one', 'sex', 'two', 'three'"
    ):
        survey(path, Wishes())
    only = survey(layouts.write(tmp_path / "u.csv", ["one", "sex"], [row[:2] for row in rows]), Wishes())
    assert "target one: the only column of a few classes that has no other role" in only.guesses


def test_proxies_of_the_attribute_and_of_the_target_are_said(tmp_path: Path) -> None:
    found = survey(layouts.proxies(tmp_path), Wishes())
    (note,) = [note for note in found.notes if "sex once more" in note]
    assert note.startswith("person_kind (association 1.00)")
    assert "age (association 0.9" in note
    assert "title (association 0.9" in note
    assert " x " not in note
    again = "spelt otherwise or binned, among the inputs; data.features leaves it out where it names the others"
    assert note.endswith(f"sex once more, {again}")
    # what is the target value for value is no input, and the recipe says how it would be one
    said = "approved (association 1.00): the target once more, value for value, so no input; data.features names"
    assert any(note.startswith(said) for note in found.notes)
    assert found.uses["approved"] == "left out: the target once more"
    out = recipe_of(found, found.layout.table.path, tmp_path / "r.yaml")
    features = load_recipe(out).data.model_dump()["features"]
    inputs = {name for name, use in found.uses.items() if use.startswith("input: ")}
    assert set(features) == inputs
    assert inputs >= {"age", "title", "x"}
    same = survey(layouts.proxies(tmp_path), Wishes(attributes=("approved",)))
    assert any(
        note.startswith("approved and the target go together almost one to one (association 1.00)")
        for note in same.notes
    )


def test_a_table_whose_ids_name_images_is_what_the_user_says(tmp_path: Path) -> None:
    rows = [[f"p{k:03}", "ab"[y], "fm"[c], k / 7] for k, (y, c) in enumerate(layouts.pairs(80))]
    path = layouts.write(tmp_path / "t.csv", ["id", "label", "sex", "age"], rows)
    for row in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{row[0]}.png")
    images = survey(path, Wishes())
    assert images.layout.source == "manifest"
    said = "rows are taken for the images that id names; --source table takes their columns as inputs"
    assert said in images.notes
    table = survey(path, Wishes(source="table"))
    assert (table.layout.source, table.uses["age"]) == ("table", "input: number")
    assert not any("image" in note for note in table.notes)
    assert survey(path, Wishes(source="manifest")).layout.source == "manifest"
    with pytest.raises(DataError, match="is a table, and no manifest; leave --source manifest out"):
        survey(layouts.write(tmp_path / "u" / "t.csv", ["sex", "label", "age"], [r[:0:-1] for r in rows]),
               Wishes(source="manifest"))  # fmt: skip


def test_many_candidates_are_ranked_not_cut_by_order(tmp_path: Path) -> None:
    found = survey(layouts.many_candidates(tmp_path), Wishes())
    assert found.chosen[0].name == "last"
    assert len(found.candidates) == 70
    bits = [a.shared_bits for a in found.candidates]
    assert bits == sorted(bits, reverse=True)


def pictures(folder: Path, n: int = 120) -> list[list[object]]:
    """So many different images in a folder, and rows of them: path, label, sex, split."""
    rows: list[list[object]] = []
    for k, (y, c) in enumerate(layouts.pairs(n)):
        Image.new("RGB", (12, 8), (k, 90, 2 * k)).save(folder / f"{k}.png")
        rows.append([f"{k}.png", "xy"[y], "fm"[c], ("train", "test")[k // 2 % 2]])
    return rows


def test_repeated_images_and_contradicting_labels_are_said(tmp_path: Path) -> None:
    rows = pictures(tmp_path)
    rows += [rows[0], [rows[1][0], "x", "f", "train"], [*rows[2][:3], "train"]]
    found = survey(layouts.write(tmp_path / "m.csv", ["path", "label", "sex", "split"], rows), Wishes())
    assert "3 image(s) are named by several rows: 0.png, 1.png, 2.png" in found.notes
    assert "1 image(s) named by several rows have more than one value of label: 1.png" in found.notes
    assert "1 image(s) named by several rows have rows in more than one split: 2.png" in found.notes
    assert not any("the same under" in note for note in found.notes)
    # and so do training and audit, of a recipe that says nothing of it
    out = recipe_of(found, tmp_path / "m.csv", tmp_path / "recipe.yaml")
    notes = build_data(load_recipe(out), offline=True).notes
    assert any("1 image(s) are in more than one split: row 124 (2.png)" in note for note in notes)


def test_copies_under_other_names_are_said(tmp_path: Path) -> None:
    rows = pictures(tmp_path)
    for k, label in ((0, rows[0][1]), (2, "y")):
        (tmp_path / f"copy{k}.png").write_bytes((tmp_path / f"{k}.png").read_bytes())
        rows.append([f"copy{k}.png", label, "f", rows[k][3]])
    # of the same size, and another content
    data = bytearray((tmp_path / "4.png").read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.png").write_bytes(data)
    rows.append(["other.png", "x", "f", "test"])
    found = survey(layouts.write(tmp_path / "m.csv", ["path", "label", "sex", "split"], rows), Wishes())
    assert "2 image(s) are the same under several names: 0.png = copy0.png, 2.png = copy2.png" in found.notes
    assert "1 image(s) the same under several names have more than one value of label: 2.png = copy2.png" in found.notes
    assert not any("other.png" in note for note in found.notes)
    assert same_content([str(tmp_path / name) for name in ("0.png", "copy0.png", "2.png", "copy2.png")], most=2)[1] > 0


def test_links_are_followed_where_they_stay_below_a_folder(tmp_path: Path) -> None:
    # a hub's cache: snapshots of links to blobs, which have no suffix
    cache = tmp_path / "datasets--faces"
    (cache / "blobs").mkdir(parents=True)
    root = cache / "snapshots" / "abc"
    (root / "images").mkdir(parents=True)
    rows = pictures(cache / "blobs")
    for k, row in enumerate(rows):
        (cache / "blobs" / str(row[0])).rename(cache / "blobs" / f"blob{k}")
        (root / "images" / str(row[0])).symlink_to(f"../../../blobs/blob{k}")
        row[0] = f"images/{row[0]}"
    layouts.write(root / "metadata.csv", ["file_name", "label", "sex", "split"], rows)
    with pytest.raises(DataError, match="120 row.s. whose image is behind a link that leads out of .*--follow-links"):
        survey(root, Wishes())
    found = survey(root, Wishes(follow_links=cache))
    out = recipe_of(found, root, tmp_path / "recipe.yaml")
    assert "follow_links: datasets--faces" in out.read_text()
    data = build_data(load_recipe(out), offline=True)
    assert sum(map(len, (data.train, data.validation, data.audit))) == 120
    assert data.train.reader.read(data.train.rows[:2], None).shape[0] == 2
    with pytest.raises(DataError, match="120 row.s. have a path that leads out of .*or data.follow_links to one"):
        build_data(load_recipe(out, ["data.follow_links=null"]), offline=True)


def test_linked_class_folders_are_followed_where_they_may(tmp_path: Path) -> None:
    store = layouts.split_folders(tmp_path / "store", ("train", "test"))
    root = tmp_path / "set"
    root.mkdir()
    for part in ("train", "test"):
        (root / part).symlink_to(store / part)
    # a link to a folder around it would never end
    (store / "train" / "loop").symlink_to(store / "train")
    rows = [[name, "AB"["siteB" in name]] for name in find_images(store).images]
    sidecar = layouts.write(tmp_path / "a.csv", ["path", "scanner"], rows)
    with pytest.raises(DataError, match="no image but behind links: .*2 link.s. are not followed .test/, train/."):
        survey(root, Wishes(table=sidecar))
    found = survey(root, Wishes(table=sidecar, follow_links=tmp_path / "store"))
    assert (found.layout.source, sum(found.n_rows.values())) == ("imagefolder", 120)
    out = recipe_of(found, root, tmp_path / "recipe.yaml")
    data = build_data(load_recipe(out), offline=True)
    assert (len(data.train), len(data.audit)) == (found.n_rows["train"], 60)
    assert any("1 link(s) are not followed (train/loop/)" in note for note in data.notes)


def test_linked_folders_and_images_beside_a_table(tmp_path: Path) -> None:
    root = layouts.split_folders(tmp_path / "real", ("train", "test"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "train").symlink_to(root / "train")
    with pytest.raises(
        DataError, match="no image but behind links.*1 link.s. are not followed .train/.; data.follow_links"
    ):
        survey(tmp_path / "links", Wishes())
    # four pictures that have the ids of four rows do not make a table a manifest
    rows = [[k, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(layouts.pairs(120))]
    path = layouts.write(tmp_path / "t" / "t.csv", ["id", "label", "sex"], rows)
    for k in range(4):
        layouts.image(path.parent / f"{k}.png")
    assert survey(path, Wishes()).layout.source == "table"


def test_a_hundred_numbered_classes_are_classes(tmp_path: Path) -> None:
    rows = []
    for k in range(300):
        layouts.image(tmp_path / "n" / str(k % 30) / f"{k}.png")
        rows.append([f"{k % 30}/{k}.png", "AB"[k % 2]])
    layouts.write(tmp_path / "n" / "a.csv", ["path", "camera"], rows)
    found = survey(tmp_path / "n", Wishes())
    assert found.target_title == "the class folder"


def test_what_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_train2017\.json: COCO annotations.*one row per image"):
        survey(layouts.coco(tmp_path), Wishes())
    layouts.write(tmp_path / "two" / "a.csv", ["x"], [[1]])
    layouts.write(tmp_path / "two" / "b.csv", ["x"], [[1]])
    with pytest.raises(DataError, match=r"tables \(a\.csv, b\.csv\) that are no train and test; name one"):
        survey(tmp_path / "two", Wishes())
