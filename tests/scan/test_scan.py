"""Scans of drawn images: what is planted comes first, and where nothing is planted nothing is found."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from html_pages import check_page
from PIL import Image, ImageDraw, ImageFilter
from typer.testing import CliRunner

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.cli.main import app
from mibias_cli.data.sources.digits import load_digits
from mibias_cli.errors import DataError, RunError
from mibias_cli.progress import Silent
from mibias_cli.scan import scan as scan_module
from mibias_cli.scan.findings import Scan
from mibias_cli.scan.page import refuse_scan
from mibias_cli.scan.scan import scan
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

SIDE = 48
Plant = Callable[[Image.Image], tuple[Image.Image, dict[str, object]]]
PNG: dict[str, object] = {"format": "PNG"}


def draw(rng: np.random.Generator) -> Image.Image:
    """Some shapes on a plain ground, with noise."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(60, 180, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        (x, y), r = rng.integers(0, SIDE, 2), int(rng.integers(4, SIDE // 3))
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(
            [int(x) - r, int(y) - r, int(x) + r, int(y) + r], fill=colour
        )
    noisy = np.asarray(image) + rng.normal(0, 5, (SIDE, SIDE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def darker(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image.point(lambda v: v * 0.55), PNG


def blurred(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image.filter(ImageFilter.GaussianBlur(1.5)), PNG


def framed(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    ImageDraw.Draw(image).rectangle([0, 0, SIDE - 1, SIDE - 1], outline=(0, 0, 0), width=3)
    return image, PNG


def larger(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image.resize((SIDE + 16, SIDE + 16)), PNG


def coarse(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image, {"format": "JPEG", "quality": 40}


def fine(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image, {"format": "JPEG", "quality": 92}


def plain(image: Image.Image) -> tuple[Image.Image, dict[str, object]]:
    return image, PNG


def make(folder: Path, *, plant: Plant, other: Plant = plain, n: int = 120, agree: float = 0.9, seed: int = 0) -> Path:
    """Two classes of like images in class folders; in this share of each class the images are treated by its plant."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        treated = (rng.random() < agree) == bool(k % 2)
        image, options = (plant if treated else other)(draw(rng))
        path = folder / ("cat", "dog")[k % 2] / f"{k:03d}.img"
        path = path.with_suffix(".jpg" if options["format"] == "JPEG" else ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
    return folder


def found(path: Path) -> Scan:
    return scan(path, Wishes(), backbone=None, seed=0, progress=Silent()).found


@pytest.mark.parametrize(
    ("name", "plant", "other"),
    [
        ("brightness", darker, plain), ("blur", blurred, plain), ("border", framed, plain), ("size", larger, plain),
        ("jpeg_quality", coarse, fine),
    ],
)  # fmt: skip
def test_what_is_planted_comes_first(tmp_path: Path, name: str, plant: Plant, other: Plant) -> None:
    result = found(make(tmp_path, plant=plant, other=other))
    first = result.shortcuts[0]
    assert first.name == name
    # 9 of 10 agree: 1 − H(.1) = .531 bits, where the property itself can be read without error
    assert first.target_bits.lower < 0.55
    assert first.target_bits.upper > 0.4
    assert first.p_value <= result.level
    bits = [each.target_bits.estimate for each in result.shortcuts]
    assert bits == sorted(bits, reverse=True)


def test_where_nothing_is_planted_at_most_one_of_twenty_sets_flags_anything(tmp_path: Path) -> None:
    """The corrected level is .01: more than one of 20 has a chance of 1.7 % for seeds that nobody chose."""
    flagged = [
        bool(found(make(tmp_path / str(seed), plant=plain, n=60, seed=100 + seed)).shortcuts) for seed in range(20)
    ]
    assert sum(flagged) <= 1


def test_the_colour_of_coloured_digits_is_found(tmp_path: Path) -> None:
    data = load_digits()
    rows = np.arange(0, len(data.train), 3)
    images = (data.train.reader.read(data.train.rows[rows], None) * 255).byte().permute(0, 2, 3, 1).numpy()
    for k, (pixels, y) in enumerate(zip(images, data.train.y[rows], strict=True)):
        path = tmp_path / data.class_names[int(y)] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    shortcuts = found(tmp_path).shortcuts
    assert shortcuts[0].name in ("hue", "colourfulness", "brightness")
    assert "hue" in [each.name for each in shortcuts]
    assert shortcuts[0].target_bits.lower > 1.0


def test_folders_and_columns_are_tested_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,label,ward,taken"]
    for k in range(80):
        y, site = k % 2, ("north", "south")[(k % 2) ^ int(rng.random() < 0.1)]
        # one class was taken before the other
        taken = f"20{17 + 3 * y if rng.random() < 0.9 else 18}-0{rng.integers(1, 10)}-1{rng.integers(0, 10)}"
        lines.append(f"{site}/{k}.png,{'ab'[y]},{rng.integers(0, 3)},{taken}")
        (tmp_path / site).mkdir(exist_ok=True)
        draw(rng).save(tmp_path / site / f"{k}.png")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = found(tmp_path / "list.csv")
    assert {each.name for each in result.shortcuts} == {"source_folder", "taken"}
    assert "ward" in [each.name for each in result.others]


def test_columns_that_are_not_tested_are_named_with_why_as_init_names_them(tmp_path: Path) -> None:
    lines = ["label,code,note,fee,blank,same,seen,tags,fold"]
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    for k in range(80):
        note = " ".join(words[(k * j) % 8] for j in range(1, 9)) + f" {k}"
        fee = f"${k}.50" if k % 2 else f"{k}.5"
        seen = f"2020-01-{1 + k % 28:02d}"
        lines.append(f"{'ab'[k % 2]},{f'c-{k}x'},{note},{fee},,one,{seen},{k % 9}|{k % 7},{k % 5}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    result = found(path)
    (note,) = [each for each in result.notes if each.startswith("left out: ")]
    assert note == (
        "left out: code (a value of its own in each row), note (a value of its own in each row), "
        "fee (40 value(s) are no plain numbers), blank (empty), same (one value), tags (lists)"
    )
    tested = {each.name for each in (*result.shortcuts, *result.others)}
    assert tested == {"seen", "fold"}
    # the same words of the same columns
    uses = survey(path, Wishes(target="label", attributes=("fold",))).uses
    assert {name: uses[name] for name in ("code", "note", "blank")} == {
        "code": "left out: a value of its own in each row",
        "note": "left out: a value of its own in each row",
        "blank": "left out: empty",
    }


def test_a_split_column_is_named_as_such(tmp_path: Path) -> None:
    lines = [f"{'ab'[k % 2]},{k % 3},{'test' if k > 60 else 'train'}" for k in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["label,ward,split", *lines]))
    assert "left out: split (split)" in found(tmp_path / "t.csv").notes


def test_patients_are_shuffled_as_one(tmp_path: Path) -> None:
    """Ten images each of patients whose every image has the patient's own size: only patients can be counted."""
    rng = np.random.default_rng(3)
    lines = ["path,label,patient_id"]
    for p in range(24):
        side, y = 12 + int(rng.integers(0, 2)), p % 2
        for k in range(10):
            draw(rng).resize((side, side)).save(tmp_path / f"{p}_{k}.png")
            lines.append(f"{p}_{k}.png,{'ab'[y]},p{p}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    grouped = {each.name: each.p_value for each in (lambda r: (*r.shortcuts, *r.others))(found(tmp_path / "list.csv"))}
    assert found(tmp_path / "list.csv").group == "patient_id"
    assert grouped["size"] > 0.01


def test_a_bounded_sample_is_drawn_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "MOST_ROWS", 40)
    result = found(make(tmp_path, plant=plain, n=60))
    assert (result.n_rows, result.n_available) == (40, 60)


def test_an_image_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path, plant=larger, n=60)
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n")
    result = found(folder)
    assert result.shortcuts[0].name == "size"
    assert any("1 image(s) cannot be read" in note for note in result.notes)


def test_what_features_tell(tmp_path: Path) -> None:
    backbone = create_backbone("digit_cnn", input_size=SIDE)
    result = scan(make(tmp_path, plant=darker), Wishes(), backbone=backbone, seed=0, progress=Silent()).found
    told = result.shortcuts[0].feature_bits
    assert told is not None
    assert 0.3 < told.estimate <= 1.0


def test_features_need_images(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("label,age\n" + "\n".join(f"{'ab'[k % 2]},{k}.5" for k in range(60)))
    with pytest.raises(DataError, match="no images for --backbone"):
        scan(tmp_path / "table.csv", Wishes(), backbone=create_backbone("digit_cnn"), seed=0, progress=Silent())


def test_the_command_writes_json_a_page_and_columns_that_a_recipe_reads(tmp_path: Path) -> None:
    folder, out = make(tmp_path / "my data", plant=framed), tmp_path / "out"
    done = CliRunner().invoke(app, ["scan", str(folder), "--format", "json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    first = result["shortcuts"][0]
    assert first["name"] == "border"
    assert first["target_bits_interval"]["lower"] < first["target_bits"] < first["target_bits_interval"]["upper"]
    assert Scan.model_validate_json((out / "scan.json").read_text()).shortcuts[0].name == "border"
    page = (out / "scan.html").read_text()
    check_page(page)
    assert page.count("data:image/jpeg;base64,") == 12
    assert "http" not in page.replace("http://www.w3.org", "")
    # given again, it takes the place of its own
    assert CliRunner().invoke(app, ["scan", str(folder), "--out", str(out)]).exit_code == 0
    # the command that it names next is one that works
    proposed = next(line for line in done.stderr.splitlines() if line.startswith("next: mibias "))
    made = CliRunner().invoke(app, [*shlex.split(proposed)[2:], "--out", str(out / "recipe.yaml")])
    assert made.exit_code == 0, made.output
    assert first["attribute"] in (out / "recipe.yaml").read_text()


@pytest.mark.parametrize("name", ["attributes.csv", "scan.html", "scan.json"])
def test_a_file_of_the_users_own_is_not_written_over(tmp_path: Path, name: str) -> None:
    """The tutorial's own table of labels is called attributes.csv, and lies in the folder that is scanned."""
    folder = make(tmp_path / "data", plant=framed, n=20)
    mine = folder / name
    mine.write_text('{"labels": "mine"}')
    done = CliRunner().invoke(app, ["scan", str(folder), "--out", str(folder)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{name} would be written over, and may be your own; choose another folder with --out" in done.stderr
    assert mine.read_text() == '{"labels": "mine"}'


def test_a_scan_that_finds_nothing_leaves_no_columns_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for plant, has_columns in ((framed, True), (None, False), (framed, True)):
        folder = make(tmp_path / f"data{has_columns}", plant=plant or plain)
        done = CliRunner().invoke(app, ["scan", str(folder), "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert (out / "attributes.csv").exists() is has_columns


def test_labels_are_safe_from_a_scan_after_one_that_found_nothing_in_images(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text(json.dumps({"target": "y", "shortcuts": [{"kind": "column"}]}))
    refuse_scan(tmp_path)
    (tmp_path / "attributes.csv").write_text("mine")
    with pytest.raises(RunError, match="attributes.csv would be written over"):
        refuse_scan(tmp_path)
    (tmp_path / "scan.json").write_text(json.dumps({"target": "y", "shortcuts": [{"kind": "image"}]}))
    refuse_scan(tmp_path)
