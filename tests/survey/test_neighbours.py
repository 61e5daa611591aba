"""Neighbours of the public layouts: lists written otherwise, names of images, masks, and files beside each other."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import image, pairs, write
from PIL import Image

from mibias_cli.data.shards.feature_parts import open_stored
from mibias_cli.errors import DataError
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.build import build_data
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey
from mibias_cli.survey.tables.matching import match_images

GUESS = Wishes()
N = 60


def listed(folder: Path, value: Callable[[int], object], name: str = "labels") -> Path:
    """A manifest of images, with what each row holds in a column of that name."""
    rows = []
    for k, (_, c) in enumerate(pairs(N)):
        image(folder / "m" / f"{k}.png")
        rows.append([f"{k}.png", value(k), "fm"[c]])
    return write(folder / "m" / "list.csv", ["image", name, "sex"], rows)


@pytest.mark.parametrize(
    ("cells", "kind", "names"),
    [
        (("A", "A;B", "B;C", "C"), "multilabel", {"A", "B", "C"}),
        (("A", "A, B", "B, C", "C"), "multilabel", {"A", "B", "C"}),
        (("['A']", "['A', 'B']", "['B', \"C\"]", "[]"), "multilabel", {"A", "B", "C"}),
        (("['A' 'B']", "['B']", "['C']", "['A']"), "multilabel", {"A", "B", "C"}),
        # text with commas, and words of one class within another
        (("Paris, France", "Lyon, France", "Rome", "Milan"), "classes", None),
        (("tumor, benign", "tumor, malignant", "normal", "cyst"), "classes", None),
        (("no tumor", "tumor", "cyst", "other"), "classes", None),
    ],
)
def test_a_target_of_lists_by_any_writing(
    tmp_path: Path, cells: Sequence[str], kind: str, names: set[str] | None
) -> None:
    found = survey(listed(tmp_path, lambda k: cells[k % len(cells)]), GUESS)
    assert found.columns.target_kind == kind
    if names is None:
        assert set(found.class_names) == set(cells)
    else:
        assert {item for name in found.class_names for item in name.split(" + ")} - {"no label"} == names
        assert any("cells are lists" in note for note in found.notes)


@pytest.mark.parametrize("cells", [("A", "A|B", "B|C", ""), ("A", "A|B", "B|C", "C")])
def test_an_empty_list_may_mean_no_label(tmp_path: Path, cells: Sequence[str]) -> None:
    path = listed(tmp_path, lambda k: cells[k % 4])
    found = survey(path, GUESS)
    told = [note for note in found.notes if "empty cells" in note]
    assert bool(told) == ("" in cells)
    if not told:
        return
    assert told[0].endswith(f"name {path} as data.path and say so by data.values: {{ labels: {{ (missing): [] }} }}")
    # what it says can be done
    text = f"""
version: 1
data:
  source: manifest
  path: {path}
  columns: {{ path: image, target: labels }}
  target_kind: multilabel
  splits: {{ fractions: [0.5, 0.25, 0.25] }}
  attributes: {{ sex: {{}} }}
  values: {{ labels: {{ (missing): [] }} }}
backbone: {{ name: test_resnet, input_size: 32 }}
"""
    data = build_data(parse_recipe(text, path="r.yaml"), offline=True)
    y = np.concatenate([split.y for split in (data.train, data.validation, data.audit)])
    assert len(y) == N
    assert (y.sum(axis=1) == 0).sum() == N // 4


@pytest.mark.parametrize("both", ["scab rust", "scab/rust", "scab + rust"])
def test_a_list_with_blanks_is_said(tmp_path: Path, both: str) -> None:
    found = survey(listed(tmp_path, lambda k: ("scab", "rust", both)[k % 3]), GUESS)
    assert found.columns.target_kind == "classes"
    assert any(f"{both!r} may be a list of other classes" in note for note in found.notes)


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("7", "a/0007.png"),
        ("0007", "a/7.PNG"),
        ("Größe.png", unicodedata.normalize("NFD", "a/Größe.png")),
        ("/a/b/c/d/e/f/g/x/1.png", "x/1.png"),
        ("C:\\Users\\ann\\x\\1.png", "x/1.png"),
        ("https://host/x/1.png", "x/1.png"),
        ("https://host/x/scan%201.png", "x/scan 1.png"),
        ("x/scan 1.png", "x/scan%201.png"),
    ],
)
def test_names_of_images_from_elsewhere(value: str, file: str) -> None:
    assert match_images(np.array([value], dtype=object), [file, "y/other.png"]).images == [file]


def test_an_image_is_named_by_what_is_written_first(tmp_path: Path) -> None:
    """07 and 7 are images of their own where both are there."""
    found = match_images(np.array(["7.png", "07.png"], dtype=object), ["7.png", "07.png"])
    assert found.images == ["7.png", "07.png"]


def test_ids_that_several_images_have_are_an_error(tmp_path: Path) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / "x" / f"{k}.png")
        image(tmp_path / "masks" / f"{k}.png")
        rows.append([k, "ab"[y], "fm"[c]])
    with pytest.raises(DataError, match="'image_id' holds names alone, and several images"):
        survey(write(tmp_path / "list.csv", ["image_id", "label", "sex"], rows), GUESS)


@pytest.mark.parametrize(("folders", "read"), [(("full", "small"), None), (("images", "masks"), "images")])
def test_folders_that_hold_the_same_names(tmp_path: Path, folders: tuple[str, str], read: str | None) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        for folder in folders:
            image(tmp_path / folder / f"{k}.png")
        rows.append([f"{k}.png", "ab"[y], "fm"[c]])
    path = write(tmp_path / "list.csv", ["image", "label", "sex"], rows)
    if read is not None:
        assert survey(path, GUESS).layout.root == tmp_path / read
        return
    with pytest.raises(DataError, match="'image' holds names that images in several folders have: full, small"):
        survey(path, GUESS)
    assert survey(path, Wishes(root=tmp_path / "small")).layout.root == tmp_path / "small"


def test_images_that_no_column_names_are_said(tmp_path: Path) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / f"scan_{k}.png")
        rows.append([f"P{k}", "ab"[y], "fm"[c], k % 7])
    found = survey(write(tmp_path / "list.csv", ["patient_id", "label", "sex", "x"], rows), GUESS)
    assert found.layout.source == "table"
    assert any("60 images" in note and "are named by no column" in note for note in found.notes)


def test_masks_beside_images_are_left_out(tmp_path: Path) -> None:
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / "busi" / ("benign", "malignant")[y] / f"{'AB'[c]}_{k}.png")
        image(tmp_path / "busi" / ("benign", "malignant")[y] / f"{'AB'[c]}_{k}_mask{'_1' if k % 2 else ''}.png")
    found = survey(tmp_path / "busi", GUESS)
    assert sum(found.n_rows.values()) == N
    assert any("60 row(s) that are masks of other images" in note for note in found.notes)


def test_images_within_parquet_are_an_error(tmp_path: Path) -> None:
    for part in ("train", "test"):
        columns = {"image": [{"bytes": b"\x89PNG", "path": "a.png"}] * N, "label": [0, 1] * 30, "sex": ["f"] * N}
        pq.write_table(pa.table(columns), tmp_path / f"{part}-00000-of-00001.parquet")
    with pytest.raises(DataError, match="'image' .*images within a table, as hubs store them"):
        survey(tmp_path, GUESS)


@pytest.mark.parametrize("values", [("tr", "va", "te"), ("0.0", "1.0", "2.0"), ("TRAIN", "Val", "Test")])
def test_official_splits_by_other_words(tmp_path: Path, values: Sequence[str]) -> None:
    found = survey(layouts.split_column(tmp_path, "split", values), GUESS)
    assert found.columns.split == "split"
    assert list(found.n_rows.values()) == [80, 80, 80]


def test_each_column_is_said(tmp_path: Path) -> None:
    rows = [
        [k, f"U{k}", f"2020-01-{k % 28 + 1:02d}", "ab"[y], "fm"[c], k * 0.37 % 5, f"c{k % 4}"]
        for k, (y, c) in enumerate(pairs(N))
    ]
    header = ["", "user", "visit", "label", "sex", "x", "city"]
    found = survey(write(tmp_path / "t.csv", header, rows), GUESS)
    assert found.uses == {
        "": "left out: row numbers",
        "user": "left out: a value of its own in each row",
        "visit": "left out: dates or times",
        "label": "target",
        "sex": "attribute",
        "x": "input: number",
        "city": "input: categories",
    }
    # row numbers are no bias either
    assert "" not in {a.name for a in found.candidates}


def test_an_attribute_with_a_unit_is_named(tmp_path: Path) -> None:
    path = listed(tmp_path, lambda k: f"{20 + k:03d}Y", name="age")
    with pytest.raises(DataError, match="60 of 60 value.s. of 'age' are no plain numbers.*'020Y'"):
        survey(path, Wishes(target="sex", attributes=("age",)))


def test_which_array_is_read_and_rows_that_were_shuffled(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    np.savez(tmp_path / "z.npz", image=z, text=z[:, :3])
    rows = [[(7 * k) % N, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))]
    write(tmp_path / "labels.csv", ["", "label", "sex"], rows)
    notes = survey(tmp_path / "z.npz", GUESS).notes
    assert any("'image' is read; data.key takes another array: text (60, 3)" in note for note in notes)
    assert any("'' counts the rows in another order than theirs" in note for note in notes)


def test_images_of_one_name_in_two_split_folders(tmp_path: Path) -> None:
    for part, n in (("train", 40), ("test", 20)):
        rows = [[f"{k}.png", "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(n))]
        write(tmp_path / f"{part}.csv", ["image", "label", "sex"], rows)
        for k in range(n):
            image(tmp_path / part / f"{k}.png")
    found = survey(tmp_path, GUESS)
    assert (found.n_rows["train"] + found.n_rows["validation"], found.n_rows["audit"]) == (40, 20)
    table = found.layout.table
    assert [str(v).partition("/")[0] for v in table.columns["image"]] == list(table.columns["split"])


@pytest.mark.parametrize(
    "name", ["ptid", "PATNR", "Pat. ID", "Patienten-ID", "RID", "wsi", "StudyInstanceUID", "mouse_id", "PatientGUID"]
)
def test_groups_by_further_names(tmp_path: Path, name: str) -> None:
    rows = [[0.1 * k, f"P{k // 3}", "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(90))]
    found = survey(write(tmp_path / "t.csv", ["x", name, "label", "sex"], rows), GUESS)
    assert found.columns.group == name
    assert found.uses[name] == "group"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("source_id", lambda k: k // 3, True),
        ("block", lambda k: f"B{k // 3}", True),
        ("score", lambda k: k // 3, False),
        ("city", lambda k: "abcdefghijklmnopqrstuvwxyz"[k // 4], False),
    ],
)
def test_codes_that_may_be_groups_are_said(
    tmp_path: Path, name: str, value: Callable[[int], object], said: bool
) -> None:
    rows = [[0.1 * k, value(k), "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(90))]
    found = survey(write(tmp_path / "t.csv", ["x", name, "label", "sex"], rows), GUESS)
    assert any(f"{name}: 30 codes, each in 3 rows on average" in note for note in found.notes) == said


def test_one_group_of_all_that_are_unknown_is_said(tmp_path: Path) -> None:
    rows = [[0.1 * k, "unknown" if k % 2 else f"P{k // 4}", "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(120))]
    found = survey(write(tmp_path / "t.csv", ["x", "patient_id", "label", "sex"], rows), GUESS)
    assert any("'unknown' in 'patient_id' has 60 of 120 rows, which are one group" in note for note in found.notes)


def test_ids_of_patients_at_the_beginning_of_names_are_no_attribute(tmp_path: Path) -> None:
    for k, (y, _) in enumerate(pairs(N)):
        image(tmp_path / "ab"[y] / f"P{k // 4:03d}-slice{k % 4}.png")
    with pytest.raises(DataError, match="nothing says which column is the bias attribute.*mibias scan"):
        survey(tmp_path, GUESS)


@pytest.mark.parametrize(
    ("tested", "said"),
    [
        (("chat", "chien"), "the rows to audit have other values .*: 'chat', 'chien', not 'Cat', 'Dog'"),
        (("cat", "dog"), "spelt otherwise in training: 'cat' is 'Cat' there"),
        # one of them alone would leave the audit without it
        (("Cat", "dog"), "spelt otherwise in training: 'dog' is 'Dog' there"),
    ],
)
def test_classes_that_are_spelt_otherwise_in_the_test_folder(
    tmp_path: Path, tested: tuple[str, str], said: str
) -> None:
    for k, (y, c) in enumerate(pairs(N)):
        names = tested if k % 4 < 2 else ("Cat", "Dog")
        image(tmp_path / ("train" if k % 4 > 1 else "test") / names[y] / f"s{c}_{k}.png")
    with pytest.raises(DataError, match=said):
        survey(tmp_path, GUESS)


@pytest.mark.parametrize(("folders", "target"), [(("images", "masks"), "label"), (("mask", "no_mask"), None)])
def test_folders_of_masks_are_no_classes(tmp_path: Path, folders: tuple[str, str], target: str | None) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        for folder in folders:
            image(tmp_path / folder / f"{folder}{k}.png")
            rows.append([f"{folder}/{folder}{k}.png", "ab"[y], "fm"[c]])
    write(tmp_path / "labels.csv", ["file", "label", "sex"], rows)
    assert survey(tmp_path, GUESS).target_title == (target or "the class folder")


def test_other_columns_of_images_are_said(tmp_path: Path) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / f"{k}.png")
        # a text longer than any file's name names none
        rows.append([f"{k}.png" if k else "x" * 300 + ".png", f"thumbs/{k}.jfif", "ab"[y], "fm"[c]])
    found = survey(write(tmp_path / "list.csv", ["image", "thumb", "label", "sex"], rows), GUESS)
    assert sum(found.n_rows.values()) == N - 1
    assert "thumb: may name images too; image is read (data.columns.path)" in found.notes


@pytest.mark.parametrize("blocks", [True, False])
def test_merged_cells_are_said(tmp_path: Path, blocks: bool) -> None:
    """A patient and a sex in the first row of each block of rows; or in rows here and there."""
    rng = np.random.default_rng(0)
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        filled = k == 0 or (k % 3 == 0 if blocks else rng.random() < 0.4)
        rows.append([f"P{k}" if filled else "", "fm"[c] if filled else "", k / 7, "ab"[y]])
    notes = survey(write(tmp_path / "t.csv", ["patient", "sex", "x", "label"], rows), GUESS).notes
    said = "patient (20 of 60 rows), sex (20 of 60 rows): filled in some rows, and empty in those that follow"
    assert any(note.startswith(said) for note in notes) == blocks
    assert any("merged cells" in note for note in notes) == blocks


def test_numbers_beside_columns_of_one_name_are_said(tmp_path: Path) -> None:
    """Answers q1 to q12 look like an embedding in Parquet, and are the inputs of a table with an age."""
    columns: dict[str, object] = {f"q{k}": [(j * k) % 5 for j in range(N)] for k in range(1, 13)}
    columns |= {"age": [20 + k % 40 for k in range(N)], "label": [y for y, _ in pairs(N)]}
    pq.write_table(pa.table(columns | {"sex": ["fm"[c] for _, c in pairs(N)]}), tmp_path / "t.parquet")
    found = survey(tmp_path / "t.parquet", GUESS)
    assert found.layout.source == "embeddings"
    assert "age: numbers beside the q… columns, no inputs; --source table takes all of them" in found.notes
    as_table = survey(tmp_path / "t.parquet", Wishes(source="table"))
    assert (as_table.layout.source, as_table.uses["age"]) == ("table", "input: number")


def test_a_table_without_an_input_is_said(tmp_path: Path) -> None:
    rows = [["ab"[y], "fm"[c]] for y, c in pairs(N)]
    found = survey(write(tmp_path / "t.csv", ["label", "sex"], rows), GUESS)
    assert any(note.startswith("no column is left as an input, which training refuses") for note in found.notes)


def test_tables_that_contradict_each_other_are_said(tmp_path: Path) -> None:
    for k in range(N):
        image(tmp_path / "images" / f"{k}.png")
    for name, labels in (("labels.csv", "ab"), ("labels_old.csv", "ba")):
        rows = [[f"{k}.png", labels[y] if k < 40 else "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))]
        write(tmp_path / name, ["image", "label", "sex"], rows)
    found = survey(tmp_path, GUESS)
    said = "labels_old.csv has other values of label for 40 images; those of labels.csv are read"
    assert any(said in note for note in found.notes)


def test_the_manifest_of_another_recipe_is_no_table_of_these_images(tmp_path: Path) -> None:
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / "dogs" / "ab"[y] / f"s{c}_{k}.png")
    rows = [[f"{'ab'[y]}/s{c}_{k}.png", "xy"[k % 2], "fm"[k // 2 % 2]] for k, (y, c) in enumerate(pairs(N))]
    write(tmp_path / "cats_manifest.csv", ["path", "label", "sex"], rows)
    assert survey(tmp_path / "dogs", GUESS).chosen[0].name == "sex"
    # written beside a recipe, it lists the images that the recipe is for
    (tmp_path / "cats.yaml").write_text("version: 1\n")
    assert survey(tmp_path / "dogs", GUESS).chosen[0].name == "name_prefix"


def test_parts_of_a_table_and_folders_of_embeddings(tmp_path: Path) -> None:
    rows = [[0.1 * k, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(N))]
    for k in range(3):
        write(tmp_path / "parts" / f"part-{k:05d}.csv", ["x", "label", "sex"], rows)
    with pytest.raises(DataError, match="3 tables that may be parts of one by their names"):
        survey(tmp_path / "parts", GUESS)
    notes = survey(tmp_path / "parts" / "part-00001.csv", GUESS).notes
    assert any(note.startswith("part-00000.csv, part-00002.csv beside part-00001.csv may be") for note in notes)
    # as hubs have them: below data, and with images in them
    (tmp_path / "hub").mkdir()
    (tmp_path / "parts").rename(tmp_path / "hub" / "data")
    with pytest.raises(DataError, match="3 tables that may be parts of one by their names"):
        survey(tmp_path / "hub", GUESS)
    picture = pa.array([{"bytes": b"", "path": "a.png"}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    for k in range(2):
        pq.write_table(pa.table({"image": picture, "label": ["a"]}), tmp_path / f"train-{k:05d}-of-00002.parquet")
    with pytest.raises(DataError, match="are read after `mibias data shards`"):
        survey(tmp_path, GUESS)
    write(tmp_path / "z" / "labels.csv", ["label", "sex"], [row[1:] for row in rows])
    np.save(tmp_path / "z" / "z.npy", np.zeros((N, 8), dtype=np.float32))
    with pytest.raises(DataError, match=r"name the file of embeddings: z\.npy"):
        survey(tmp_path / "z", GUESS)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("{}", "{}_aug1", "{}_flip_rot90"), True),
        (("{} - Copy", "{}"), True),
        (("{}_jpg.rf.0123456789abcdef", "{}_jpg.rf.fedcba9876543210"), True),
        (("{}_left", "{}_right"), False),
        (("{}_aug1",), False),
    ],
)
def test_changed_copies_in_two_splits_are_said(tmp_path: Path, names: Sequence[str], said: bool) -> None:
    for k, (y, c) in enumerate(pairs(N)):
        for name in names:
            image(tmp_path / "ab"[y] / f"s{c}_{name.format(k)}.png")
    how = "60 image(s) are there with changed copies by their names"
    notes = survey(tmp_path, GUESS).notes
    assert any(note.startswith(how) for note in notes) == said
    across = "there with changed copies by their names have rows in more than one split"
    assert any(across in note for note in notes) == said


def test_a_table_of_any_name_beside_embeddings(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(N, 12)))
    rows = [["xy"[y], "fm"[c]] for y, c in pairs(N)]
    write(tmp_path / "of_others.csv", ["label", "sex"], rows[1:])
    # embeddings of another model are no labels
    pq.write_table(pa.table({f"f_{k}": np.arange(N) / 7 for k in range(12)}), tmp_path / "other.parquet")
    own = write(tmp_path / "people.csv", ["label", "sex"], rows)
    assert survey(tmp_path / "z.npy", GUESS).layout.file == own
    write(tmp_path / "people2.csv", ["label", "sex"], rows)
    with pytest.raises(DataError, match=rf"several tables of {N} rows beside them \(people\.csv, people2\.csv\)"):
        survey(tmp_path / "z.npy", GUESS)


def test_arrays_beside_tables_are_said(tmp_path: Path) -> None:
    rows = [[k / 7, "xy"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(2 * N))]
    for part, some in (("train", rows[:N]), ("test", rows[N:])):
        write(tmp_path / f"{part}.csv", ["v", "label", "sex"], some)
        np.save(tmp_path / f"{part}_z.npy", np.zeros((N, 12)))
    np.save(tmp_path / "losses.npy", np.zeros(N))
    said = "arrays of as many rows as a table are not read: test_z.npy, train_z.npy; if they are"
    for path in (tmp_path, tmp_path / "train.csv"):
        assert any(note.startswith(said) for note in survey(path, GUESS).notes)


def in_classes(folder: Path, save: Callable[[Path, int], None], suffix: str) -> Path:
    """Images in two class folders, with the attribute in their names."""
    for k, (y, c) in enumerate(pairs(N)):
        path = folder / "ab"[y] / f"{'fm'[c]}_{k}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, k)
    return folder


def test_images_of_several_numbers_of_channels_are_said(tmp_path: Path) -> None:
    def save(path: Path, k: int, channels: Sequence[int]) -> None:
        np.save(path, np.zeros((8, 6, channels[k % len(channels)]), np.uint8))

    mixed = survey(in_classes(tmp_path / "d", lambda path, k: save(path, k, (5, 5, 3, 1)), ".npy"), GUESS)
    (note,) = [note for note in mixed.notes if "as many channels" in note]
    assert "1 in 15 (" in note
    assert "3 in 15 (" in note
    assert "5 in 30 (" in note
    for channels in ((3, 1), (5,)):
        alike = survey(in_classes(tmp_path / "d", lambda path, k, n=channels: save(path, k, n), ".npy"), GUESS)
        assert not any("as many channels" in note for note in alike.notes)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_images_of_several_frames_are_said(tmp_path: Path, suffix: str) -> None:
    def save(path: Path, k: int) -> None:
        frames = [Image.new("RGB", (12, 8), (40 * j, k, 9)) for j in range(1 + k % 2)]
        frames[0].save(path, save_all=True, append_images=frames[1:])

    found = survey(in_classes(tmp_path / "d", save, suffix), GUESS)
    assert any(
        f"{N // 2} of {N} images looked at have several frames, of which the first is read" in x for x in found.notes
    )


def test_pairs_of_photographs_are_images(tmp_path: Path) -> None:
    def save(path: Path, k: int) -> None:
        frames = [Image.new("RGB", (12, 8), (40 * j, k, 9)) for j in range(2)]
        frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])

    assert sum(survey(in_classes(tmp_path / "d", save, ".mpo"), GUESS).n_rows.values()) == N


def test_images_of_kinds_that_are_not_read_are_said(tmp_path: Path) -> None:
    folder = in_classes(tmp_path / "d", lambda path, k: image(path), ".png")
    for k, name in enumerate(("a/x.dcm", "b/y.HEIC", "b/z.heic", "a/v.nii.gz", "a/Thumbs.db", "a/notes.txt")):
        (folder / name).write_bytes(bytes(k))
    said = "files of kinds that are not read are passed over (2 .heic, 1 .dcm, 1 .gz); convert them"
    (note,) = [note for note in survey(folder, GUESS).notes if "kinds that are not read" in note]
    assert note == f"{folder}: {said} to PNG"


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_a_row_without_a_name_keeps_its_place(tmp_path: Path, ending: str) -> None:
    labels = {}
    for part in ("train", "test"):
        rows = []
        for k, (y, c) in enumerate(pairs(N)):
            image(tmp_path / part / f"{k}.png")
            rows.append({"file_name": f"{k}.png" if k != 3 else None, "label": "ab"[y], "sex": "fm"[c], "tags": [k]})
            labels |= {f"{part}/{k}.png": ("ab"[y], "fm"[c])} if k != 3 else {}
        if ending == ".jsonl":
            (tmp_path / part / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
        else:
            names = list(rows[0])[:3]
            write(tmp_path / part / "metadata.csv", names, [[row[name] or "" for name in names] for row in rows])
    found = survey(tmp_path, GUESS)
    columns = found.layout.table.columns
    read = zip(columns["file_name"], columns["label"], columns["sex"], strict=True)
    assert {path: (y, c) for path, y, c in read} == labels
    assert any(note.startswith("not read, for want of one value per row: tags") for note in found.notes) == (
        ending == ".jsonl"
    )


def test_a_table_of_few_of_the_images_is_said(tmp_path: Path) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / "ab"[y] / f"{'st'[c]}_{k}.png")
        rows.append([f"{'ab'[y]}/{'st'[c]}_{k}.png", "fm"[c]])
    table = write(tmp_path / "sexes.csv", ["file", "sex"], rows[::3])
    said = f"sexes.csv lists 20 of 60 images, fewer than most, and is not read: --table {table} reads it"
    assert said in survey(tmp_path, GUESS).notes
    assert survey(tmp_path, Wishes(table=table)).chosen[0].name == "sex"


@pytest.mark.parametrize("differs", [True, False])
def test_a_label_beside_class_folders_that_says_otherwise(tmp_path: Path, differs: bool) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(N)):
        image(tmp_path / "ab"[y] / f"{k}.png")
        rows.append([f"{'ab'[y]}/{k}.png", 1 - y if differs and k % 5 == 0 else y, "fm"[c]])
    write(tmp_path / "labels.csv", ["file", "label", "sex"], rows)
    said = "label may be the target by its name, and differs from the class folder: --target label takes it"
    assert (said in survey(tmp_path, GUESS).notes) == differs


@pytest.mark.parametrize(("factors", "said"), [((8, 8), True), ((130, 8), True), ((130, 130), False)])
def test_images_that_are_nearly_black_are_said(tmp_path: Path, factors: Sequence[int], said: bool) -> None:
    """12 bits in 16 are a sixteenth of their range, in all images or in those of one class."""

    def save(path: Path, k: int) -> None:
        Image.fromarray((np.arange(480).reshape(20, 24) * factors[k % 2] + k).astype(np.uint16)).save(path)

    notes = survey(in_classes(tmp_path / "d", save, ".png"), GUESS).notes
    assert any("a model sees them nearly black" in note for note in notes) == said


def test_embeddings_in_columns_called_by_numbers(tmp_path: Path) -> None:
    """As pandas writes an array to Parquet."""
    z = np.arange(N * 12, dtype=np.float32).reshape(N, 12)
    pq.write_table(pa.table({str(k): z[:, k] for k in range(12)}), tmp_path / "z.parquet")
    write(tmp_path / "labels.csv", ["label", "sex"], [["ab"[y], "fm"[c]] for y, c in pairs(N)])
    found = survey(tmp_path / "z.parquet", GUESS)
    assert (found.layout.source, found.layout.prefix) == ("embeddings", "")
    features = open_stored(tmp_path / "z.parquet", key="features", prefix="")
    assert np.array_equal(features.take(np.arange(N)), z)
