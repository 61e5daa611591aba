"""Folders, manifests, tables and embeddings as they are found: layout, roles, cells, bits, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import lookalikes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import write
from PIL import Image
from safetensors.numpy import save_file
from scipy.stats import chi2_contingency
from shard_files import picture, write_tar

from mibias_cli.cli.commands.init import survey_lines
from mibias_cli.errors import BackboneError, DataError
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.build import build_data
from mibias_cli.survey.first_recipe import first_recipe
from mibias_cli.survey.model_choice import choose_model
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import Survey, survey

GUESS = Wishes()


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)


def pairs(n: int, agree: float = 0.9, seed: int = 0) -> list[tuple[int, int]]:
    """Pairs (y, c) of which so many agree."""
    rng = np.random.default_rng(seed)
    return [(k % 2, k % 2 if rng.random() < agree else 1 - k % 2) for k in range(n)]


def class_folders(root: Path, n: int = 60, prefix: str = "") -> list[tuple[str, str]]:
    """Images at root/<prefix>cat|dog/…, and (path, scanner) of each."""
    rows = []
    for k, (y, c) in enumerate(pairs(n)):
        name = f"{prefix}{('cat', 'dog')[y]}/{k:03d}.png"
        image(root / name)
        rows.append((name, "AB"[c]))
    return rows


def by_name(found: Survey) -> dict[str, float]:
    return {a.name: a.shared_bits for a in (*found.chosen, *found.candidates)}


def test_class_folders_with_a_sidecar(tmp_path: Path) -> None:
    rows = class_folders(tmp_path / "photos")
    sidecar = write(tmp_path / "photos" / "attributes.csv", ["image", "scanner"], rows)
    found = survey(tmp_path / "photos", GUESS)
    assert (found.layout.source, found.layout.file, found.must_write) == ("imagefolder", sidecar, False)
    assert found.layout.path == "image"
    assert found.class_names == ("cat", "dog")
    assert [a.name for a in found.chosen] == ["scanner"]
    assert sum(found.n_rows.values()) == 60
    assert found.image_sizes == ((20, 10),) * 3


def test_cells_and_bits_are_those_of_training(tmp_path: Path) -> None:
    counts = {("a", "f"): 30, ("a", "m"): 10, ("b", "f"): 10, ("b", "m"): 30}
    rows = [(y, c, "train") for (y, c), n in counts.items() for _ in range(n)]
    rows += [("a", "m", "test"), ("b", "f", "test"), ("a", "f", "val")] * 20
    path = write(tmp_path / "t.csv", ["label", "sex", "split"], rows)
    (attribute,) = survey(path, GUESS).chosen
    assert attribute.cells.tolist() == [[30, 10], [10, 30]]
    h = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert attribute.shared_bits == pytest.approx(1 - h - 1 / (2 * 80 * np.log(2)))  # Miller-Madow for one free cell
    assert attribute.entropy_bits == pytest.approx(1.0)


def test_split_folders(tmp_path: Path) -> None:
    rows = [r for part in ("train", "val", "test") for r in class_folders(tmp_path / "p", 40, f"{part}/")]
    write(tmp_path / "p.csv", ["path", "scanner"], rows)  # beside the folder
    found = survey(tmp_path / "p", GUESS)
    assert found.layout.source == "imagefolder"
    assert found.n_rows == {"train": 40, "validation": 40, "audit": 40}
    assert (found.splits.train, found.splits.validation, found.splits.audit) == ("train", "val", "test")


def test_images_without_a_row_are_kept_with_the_attribute_missing(tmp_path: Path) -> None:
    rows = class_folders(tmp_path / "p")
    write(tmp_path / "p" / "a.csv", ["path", "scanner"], [*rows[3:], ("cat/nowhere.png", "A")])
    found = survey(tmp_path / "p", GUESS)
    assert (found.layout.source, found.must_write, found.columns.target) == ("manifest", True, "class")
    assert found.chosen[0].n_missing == 3
    assert "3 image(s) without a row in a.csv: cat/000.png, cat/002.png, dog/001.png" in found.notes
    assert "1 row(s) of a.csv name no image" in found.notes


@pytest.mark.parametrize("form", ["p/{}", "{name}"])
def test_paths_in_other_forms_are_joined_and_written_anew(tmp_path: Path, form: str) -> None:
    rows = class_folders(tmp_path / "p")
    written = [(form.format(path, name=Path(path).name), c) for path, c in rows]
    write(tmp_path / "a.csv", ["file", "scanner"], written[::-1])
    found = survey(tmp_path / "p", GUESS)
    assert found.must_write
    table = found.layout.table.columns
    assert dict(zip(table["path"], table["scanner"], strict=True)) == dict(rows)


def test_names_and_inner_folders_may_tell_of_the_source(tmp_path: Path) -> None:
    for k, (y, c) in enumerate(pairs(60)):
        image(tmp_path / "names" / "xy"[y] / f"{('siteA', 'siteB')[c]}_{k}.png")
        image(tmp_path / "inner" / "xy"[y] / ("in", "out")[c] / f"{k}.png")
    assert [a.name for a in survey(tmp_path / "names", GUESS).chosen] == ["name_prefix"]
    assert [a.name for a in survey(tmp_path / "inner", GUESS).chosen] == ["subfolder"]


@pytest.mark.parametrize(
    "wishes",
    [Wishes(target="subfolder"), Wishes(target="subfolder", attributes=("class",))],
)
def test_class_folders_may_be_the_bias_and_are_named_as_the_manifest_names_them(tmp_path: Path, wishes: Wishes) -> None:
    for k, (y, c) in enumerate(pairs(60)):
        image(tmp_path / "p" / "xy"[y] / ("in", "out")[c] / f"{k}.png")
    found = survey(tmp_path / "p", wishes)
    assert (found.columns.target, [a.name for a in found.chosen]) == ("subfolder", ["class"])
    # what is written looks into the images by these names
    assert choose_model(found, backbone=None, weights=None)
    assert set(found.uses) <= set(found.layout.table.columns)
    with pytest.raises(DataError, match=r"--attribute .class folder.: is the target by the layout; name another one"):
        survey(tmp_path / "p", Wishes(attributes=("class",)))


def test_the_same_things_by_two_scanners_are_in_one_split(tmp_path: Path) -> None:
    for k in range(60):
        for c in ("in", "out"):
            image(tmp_path / "p" / c / "xy"[k % 2] / f"{k}.png")
    found = survey(tmp_path / "p", Wishes(target="subfolder"))
    assert any(
        text.startswith("group group: one name in several folders is taken for one thing") for text in found.guesses
    )
    assert found.columns.group == "group"


def test_class_folders_that_say_nothing_else(tmp_path: Path) -> None:
    class_folders(tmp_path / "p")
    with pytest.raises(DataError, match=r"nothing says which column is the bias attribute.*--table FILE"):
        survey(tmp_path / "p", GUESS)


def test_waterbirds_celeba_and_faces(tmp_path: Path) -> None:
    lookalikes.waterbirds(tmp_path)
    lookalikes.celeba(tmp_path)
    lookalikes.face_folder(tmp_path / "faces", 100)
    birds = survey(tmp_path / "waterbird_complete95_forest2water2", GUESS)
    assert (birds.columns.target, birds.chosen[0].name, birds.must_write) == ("y", "place", False)
    assert birds.n_rows == {"train": 60, "validation": 30, "audit": 30}
    hair = survey(tmp_path / "celebA", GUESS)
    assert (hair.columns.target, hair.chosen[0].name, hair.must_write) == ("Blond_Hair", "Male", True)
    assert hair.n_rows == {"train": 72, "validation": 18, "audit": 30}
    faces = survey(tmp_path / "faces", Wishes(target="age_bin", attributes=("sex", "race")))
    assert [a.name for a in faces.chosen] == ["sex", "race"]
    assert faces.notes[0].startswith("1 malformed name(s), left out: 61_1_2017")


def test_hugging_face_imagefolders(tmp_path: Path) -> None:
    records = []
    for k, (y, c) in enumerate(pairs(40)):
        for part in ("train", "test"):
            image(tmp_path / "hf" / part / f"{k}.png")
        records.append({"file_name": f"{k}.png", "label": "xy"[y], "gender": "fm"[c], "boxes": [1, 2]})
    for part in ("train", "test"):
        text = "\n".join(json.dumps(record) for record in records)
        (tmp_path / "hf" / part / "metadata.jsonl").write_text(text)
    found = survey(tmp_path / "hf", GUESS)
    assert (found.columns.target, found.columns.split, found.chosen[0].name) == ("label", "split", "gender")
    assert found.must_write
    assert "boxes" not in found.layout.table.columns
    assert sum(found.n_rows.values()) == 80
    rows = [[r["file_name"], r["label"], r["gender"]] for r in records]
    write(tmp_path / "hf" / "train" / "metadata.csv", ["file_name", "label", "gender"], rows)
    found = survey(tmp_path / "hf" / "train", GUESS)
    assert (found.layout.path, found.must_write) == ("file_name", False)


def test_a_manifest(tmp_path: Path) -> None:
    rows = []
    for k, (y, c) in enumerate(pairs(60)):
        image(tmp_path / "img" / f"{k}.jpg")
        rows.append([f"{k}.jpg", "xy"[y], "fm"[c], "xy"[y].upper()])
    rows += [["gone.jpg", "x", "f", "X"], ["0.jpg", "", "f", "X"], ["1.jpg", "rare", "f", "R"]]
    path = write(tmp_path / "m.csv", ["image_path", "diagnosis", "sex", "finding_name"], rows)
    found = survey(path, GUESS)
    assert found.layout.root == tmp_path / "img"
    assert found.must_write  # without the rows that cannot be used
    assert sum(found.n_rows.values()) == 60
    reasons = [note for note in found.notes if "left out" in note]
    assert reasons == [
        "1 row(s) without a value of 'diagnosis', left out: row 63",
        f"1 row(s) whose image is not below {tmp_path / 'img'}, left out: row 62 (gone.jpg)",
        "1 row(s) of classes with fewer than 5 rows, left out: row 64 (rare)",
    ]
    assert [a.name for a in found.chosen] == ["sex"]
    assert "finding_name: each value goes with one value of the target" in found.notes


def test_images_that_are_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", ["path", "label", "sex"], [["a.jpg", "x", "f"], ["b.jpg", "y", "m"]])
    with pytest.raises(DataError, match=r"no image that 'path' names.*row 2: a\.jpg.*--root DIR"):
        survey(path, GUESS)


def test_a_guessed_group_that_is_none_is_given_up_and_one_that_was_named_is_not(tmp_path: Path) -> None:
    rows = [("xy"[y], "fm"[c], f"p{k % 30}", ("train", "test")[k // 30 % 2]) for k, (y, c) in enumerate(pairs(120))]
    path = write(tmp_path / "t.csv", ["label", "sex", "patient", "split"], rows)
    found = survey(path, GUESS)
    assert found.columns.group is None
    assert any(note.startswith("patient is no group: 30 group(s)") for note in found.notes)
    named = survey(path, Wishes(group="patient"))
    assert (named.columns.group, named.columns.split) == ("patient", None)
    assert any(note.startswith("split is not used as the split: 30 group(s)") for note in named.notes)
    with pytest.raises(DataError, match="are in more than one split"):
        survey(path, Wishes(group="patient", split="split"))


def test_a_table_needs_a_name_for_the_attribute_unless_a_column_has_one(tmp_path: Path) -> None:
    rows = [("xy"[y], "fm"[c], k % 7, k / 3) for k, (y, c) in enumerate(pairs(100))]
    path = write(tmp_path / "t.csv", ["income", "sex", "level", "pay"], rows)
    found = survey(path, GUESS)
    assert (found.layout.source, found.columns.target, found.must_write) == ("table", "income", False)
    assert by_name(found)["sex"] > 0.4
    assert {a.name: a.kind for a in found.candidates} == {"level": "categorical", "pay": "continuous"}
    path = write(tmp_path / "u.csv", ["income", "kind", "level", "pay"], rows)
    with pytest.raises(DataError, match=r"name it with --attribute COLUMN; columns.*kind \(0\.\d+ bits\), "):
        survey(path, GUESS)
    assert survey(path, Wishes(attributes=("kind",))).chosen[0].name == "kind"


def test_likelier_names_come_first_whatever_the_bits(tmp_path: Path) -> None:
    rows = [("xy"[y], "fm"[k // 2 % 2], 20 + 30 * c + k % 15) for k, (y, c) in enumerate(pairs(200))]
    path = write(tmp_path / "t.csv", ["income", "sex", "age"], rows)
    found = survey(path, GUESS)
    assert by_name(found)["age"] > by_name(found)["sex"]
    assert [a.name for a in found.chosen] == ["sex"]


def test_targets_of_many_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{rng.normal():.4f}", "fm"[k % 2], k % 15) for k in range(400)]
    path = write(tmp_path / "t.csv", ["score", "sex", "digit"], rows)
    assert survey(path, Wishes(target="score")).columns.target_kind == "regression"
    assert survey(path, Wishes(target="digit")).columns.target_kind == "classes"  # 0 to 14, many of each


@pytest.mark.parametrize("form", ["npz", "npy", "safetensors", "parquet"])
def test_stored_embeddings(tmp_path: Path, form: str) -> None:
    labels = [("xy"[y], "fm"[c]) for y, c in pairs(80)]
    z = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    path = tmp_path / f"emb.{form}"
    key = {"npz": "embeddings", "npy": "features", "safetensors": "z"}.get(form)
    if form != "parquet":
        if form == "npz":
            np.savez(path, other=np.zeros((80, 2)), embeddings=z)
        elif form == "npy":
            np.save(path, z)
        else:
            save_file({"z": z, "other": np.zeros(80)}, path)
        with pytest.raises(DataError, match="80 embeddings of 12 numbers, but no table of 80 rows"):
            survey(path, GUESS)
        write(tmp_path / "labels.csv", ["label", "sex"], labels)
    else:
        columns = {f"f_{k}": z[:, k] for k in range(12)}
        pq.write_table(pa.table({**columns, "label": [y for y, _ in labels], "sex": [c for _, c in labels]}), path)
    found = survey(path, GUESS)
    assert (found.layout.source, found.must_write) == ("embeddings", False)
    assert (found.layout.key, found.layout.prefix) == (key, None if key else "f_")
    assert found.chosen[0].name == "sex"


def test_embeddings_whose_rows_lack_a_target_are_refused_as_nothing_can_be_left_out(tmp_path: Path) -> None:
    labels = ["xy"[y] if k != 6 else None for k, (y, _) in enumerate(pairs(80))]
    columns = {f"f_{k}": column for k, column in enumerate(np.random.default_rng(0).normal(size=(12, 80)))}
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({**columns, "label": labels, "sex": ["fm"[c] for _, c in pairs(80)]}), path)
    with pytest.raises(DataError) as caught:
        survey(path, GUESS)
    assert (
        str(caught.value) == f"{path}: 1 row(s) without a value of 'label': row 7; take these rows and embeddings out"
    )


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_shards_of_embeddings_are_a_folder_beside_a_table(tmp_path: Path, form: str) -> None:
    z = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    folder = tmp_path / "z"
    folder.mkdir()
    for k, part in enumerate(np.split(z, [30, 79])):
        path = folder / f"part-{k:05d}-of-00003.{form}"
        if form == "npy":
            np.save(path, part)
        else:
            pq.write_table(pa.table({f"z_{j}": part[:, j] for j in range(12)}), path)
    (folder / f".part-00001-of-00003.{form}.0123abcd.partial").touch()
    with pytest.raises(DataError, match="80 embeddings of 12 numbers, but no table of 80 rows beside them"):
        survey(folder, GUESS)
    labels = write(tmp_path / "labels.csv", ["label", "sex"], [("xy"[y], "fm"[c]) for y, c in pairs(80)])
    found = survey(folder, GUESS)
    assert (found.layout.source, found.layout.features, found.layout.file) == ("embeddings", folder, labels)
    assert (found.layout.key, found.layout.prefix) == (("features", None) if form == "npy" else (None, "z_"))
    assert (sum(found.n_rows.values()), found.must_write, found.chosen[0].name) == (80, False, "sex")
    (folder / f"part-00002-of-00003.{form}").unlink()
    with pytest.raises(DataError, match=rf"1 of 3 shards are not there: part-00002-of-00003.{form}"):
        survey(folder, GUESS)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(target="lable"), "--target: no column 'lable', did you mean 'label'"),
        (Wishes(attributes=("sexe",)), "--attribute sexe: no column 'sexe', did you mean 'sex'"),
        (Wishes(attributes=("note",)), "--attribute note: 'same' in all 28 training rows, so nothing"),
        (Wishes(split="sex"), "--split sex: it holds 'f', 'm'; it should name train and test"),
    ],
)
def test_wishes_that_cannot_be_met(tmp_path: Path, wishes: Wishes, message: str) -> None:
    rows = [("xy"[y], "fm"[c], "same") for y, c in pairs(40)]
    path = write(tmp_path / "t.csv", ["label", "sex", "note"], rows)
    with pytest.raises(DataError) as caught:
        survey(path, wishes)
    assert message in str(caught.value)


def test_what_is_nothing_of_the_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        survey(tmp_path / "nowhere", GUESS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image below it"):
        survey(tmp_path / "empty", GUESS)
    image(tmp_path / "flat" / "a.png")
    with pytest.raises(DataError, match=r"1 images \(a\.png\), but nothing says what is on them"):
        survey(tmp_path / "flat", GUESS)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(root=Path("x")), "is a table, which --root says nothing about"),
        (Wishes(follow_links=Path("x")), "--follow-links says nothing about"),
        (Wishes(table=Path("x.csv")), "--table says nothing about"),
        (Wishes(target="y", group="y"), "--target y: is --group as well"),
    ],
)
def test_wishes_that_the_data_cannot_meet_are_refused(wishes: Wishes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,y,sex\n" + "".join(f"{k / 7},{k % 5},{'ny'[k % 2]},{'fm'[k // 2 % 2]}\n" for k in range(60)))
    with pytest.raises(DataError, match=said.replace("?", r"\?")):
        survey(path, wishes)


@pytest.mark.parametrize("wished", [{"backbone": "resnet18"}, {"weights": "pretrained"}])
def test_a_table_has_no_pretrained_model(wished: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,y,sex\n" + "".join(f"{k / 7},{k % 5},{'ny'[k % 2]},{'fm'[k // 2 % 2]}\n" for k in range(60)))
    found = survey(path, Wishes(target="y", attributes=("sex",)))
    with pytest.raises(BackboneError, match="leave --backbone and --weights out"):
        choose_model(found, **{"backbone": None, "weights": None, **wished})


@pytest.mark.parametrize(
    ("agree", "n", "how"),
    [(0.9, 400, None), (0.7, 400, None), (0.5, 20_000, "hardly go together"), (0.65, 60, "no more than by chance")],
)
def test_an_attribute_that_the_target_tells_nothing_of_is_said_to_be_no_bias(
    tmp_path: Path, agree: float, n: int, how: str | None
) -> None:
    """By scipy's own test of the cells that are shown."""
    rows = [[0.1 * (k % 7), "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(n, agree, seed=3))]
    write(tmp_path / "t.csv", ["x", "label", "sex"], rows)
    found = survey(tmp_path / "t.csv", Wishes(target="label", attributes=("sex",)))
    (sex,) = found.chosen
    told = [note for note in found.notes if note.startswith("sex and the target")]
    if how is None:
        assert not told
        return
    p = chi2_contingency(sex.cells, correction=False).pvalue
    assert [how in note for note in told] == [True]
    assert f"{max(sex.shared_bits, 0):.3f} of " in told[0]
    assert f"p = {p:.2g} (χ² test of {sex.cells.sum():,} rows)" in told[0]
    assert "there may be no bias to remove" in told[0]


@pytest.mark.parametrize(
    ("held", "said"),
    [("", "blank in all 160 training rows"), ("f", "'f' in all 160 training rows")],
)
def test_an_attribute_that_does_not_vary_in_training_is_said(tmp_path: Path, held: str, said: str) -> None:
    """Another is chosen by its name, and that `sex` was not is said; where it was asked for it is an error."""
    rows = [
        [
            0.1 * (k % 7),
            "ab"[y],
            held if k < 200 else "fm"[k % 2],
            "uvw"[c + k % 2],
            ("train", "val", "test")[(k >= 160) + (k >= 200)],
        ]
        for k, (y, c) in enumerate(pairs(300))
    ]
    path = write(tmp_path / "t.csv", ["x", "label", "sex", "age_band", "split"], rows)
    found = survey(path, Wishes(target="label"))
    assert [a.name for a in found.chosen] == ["age_band"]
    assert f"no attribute, as it does not vary in training: sex ({said})" in found.notes
    with pytest.raises(DataError) as caught:
        survey(path, Wishes(target="label", attributes=("sex",)))
    assert f"{path}: --attribute sex: {said}, so nothing shows what it changes" in str(caught.value)
    assert "name another column, or by --split rows for training that differ" in str(caught.value)
    # where no other is meant by its name, the error says why that one was not taken
    other = write(tmp_path / "u.csv", ["x", "label", "sex", "split"], [[*row[:3], row[4]] for row in rows])
    with pytest.raises(DataError, match="nothing says which column is the bias attribute.*sex.*training rows"):
        survey(other, Wishes(target="label"))


def test_a_table_says_each_thing_once_and_takes_no_dates_for_groups(tmp_path: Path) -> None:
    """The target's copy is no candidate; dates that come back are nobody's; by chance no bits are below none."""
    g = np.random.default_rng(5)
    days = [f"2021-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(400)]
    rows = [
        [0.1 * (k % 7), "ab"[y], y, "fm"[c], "uvwxyz"[g.integers(0, 6)], days[k], f"k{k % 40}"]
        for k, (y, c) in enumerate(pairs(400))
    ]
    path = write(tmp_path / "t.csv", ["x", "label", "label code", "sex", "city", "seen on", "sold by"], rows)
    found = survey(path, Wishes(target="label"))
    assert sum("label code" in note for note in found.notes) == 1
    groups = [note for note in found.notes if "--group" in note]
    assert [note.split("--group ")[1] for note in groups] == ["'sold by'"]
    text, _ = first_recipe(
        found, choose_model(found, backbone=None, weights=None), source=path, out=tmp_path / "r.yaml"
    )
    lines = [*survey_lines(found), *text.splitlines()]
    candidates = [line for line in lines if "attributes too" in line or "# the target tells" in line]
    assert len(candidates) > 1
    assert not any("label code" in line or "-0.0" in line for line in candidates)
    assert by_name(found)["city"] < 0


def test_of_samples_with_several_images_one_is_read(tmp_path: Path) -> None:
    members = [
        member
        for k, (y, c) in enumerate(pairs(120))
        for member in (
            (f"{k:03}.left.png", picture(k)), (f"{k:03}.right.png", picture(255 - k)),
            (f"{k:03}.cls", b"ab"[y : y + 1]), (f"{k:03}.json", json.dumps({"sex": "fm"[c]}).encode()),
        )
    ]  # fmt: skip
    path, out = write_tar(tmp_path / "shards" / "0.tar", members), tmp_path / "r.yaml"
    with pytest.raises(DataError, match=r"data\.image: left\.png \(mibias init --image left\.png\)"):
        survey(path, Wishes())
    for place in (path, path.parent):
        found = survey(place, Wishes(image="right.png"))
        text, _ = first_recipe(found, choose_model(found, backbone=None, weights="none"), source=place, out=out)
        read = build_data(parse_recipe(text, path=str(out)), offline=True).train
        assert len(read) == found.n_rows["train"] == 84
        assert all(name.endswith(".right.png") for name in read.row_names)
    write(tmp_path / "t.csv", ["x", "label", "sex"], [[k, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(60))])
    with pytest.raises(DataError, match="is a table, which --image says nothing about"):
        survey(tmp_path / "t.csv", Wishes(attributes=("sex",), image="png"))


@pytest.mark.parametrize("form", ["columns", "lists"])
def test_a_table_of_parquet_embeddings_must_be_in_their_order(tmp_path: Path, form: str) -> None:
    z = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    ids = [f"im{k}" for k in range(80)]
    features = {f"z_{j}": z[:, j] for j in range(12)} if form == "columns" else {"z": z.tolist()}
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({**features, "id": ids}), path)
    rows = [(name, "xy"[y], "fm"[c]) for name, (y, c) in zip(ids, pairs(80), strict=True)]
    header = ["id", "label", "sex"]
    found = survey(path, Wishes(table=write(tmp_path / "t.csv", header, rows)))
    assert (found.layout.source, found.layout.features) == ("embeddings", path)
    with pytest.raises(DataError, match="80 row.s. are not in the order of e.parquet, whose 'id' are ids of 'id'"):
        survey(path, Wishes(table=write(tmp_path / "t.csv", header, rows[::-1])))
    with pytest.raises(DataError, match=r"has 80 embeddings, .*t\.csv has 79 rows"):
        survey(path, Wishes(table=write(tmp_path / "t.csv", header, rows[:79])))


def test_a_table_of_few_rows_has_a_critic_of_few_random_features(tmp_path: Path) -> None:
    for n, few in ((300, True), (4000, False)):
        rows = [[k, "ab"[y], "fm"[c]] for k, (y, c) in enumerate(pairs(n))]
        path = write(tmp_path / f"t{n}.csv", ["x", "label", "sex"], [[k % 7, y, c] for k, y, c in rows])
        found = survey(path, Wishes(attributes=("sex",)))
        out = tmp_path / f"{n}.yaml"
        text, _ = first_recipe(found, choose_model(found, backbone=None, weights=None), source=path, out=out)
        assert parse_recipe(text, path=str(out)).debias.critic.n_random_features == (64 if few else 512)
