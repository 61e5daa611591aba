"""`mibias data …`: what is written, counted and refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mibias_cli.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(300):
        name = f"{rng.integers(1, 90)}_{rng.integers(0, 2)}_{rng.integers(0, 5)}_2017{k:06d}.jpg"
        Image.new("RGB", (4, 4)).save(folder / name)
    for k in range(7):
        Image.new("RGB", (4, 4)).save(folder / f"{20 + k}_1_2017.jpg")
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_faces(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("data", "faces", faces, "--out", out)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found["files"]) == {str(out / "eb1.csv"), str(out / "eb2.csv")}
    assert list(found["files"][str(out / "eb1.csv")]) == ["train", "validation", "other_extreme", "balanced"]
    assert set(found["files"][str(out / "eb1.csv")]["train"]) == {"female 0-29", "male 40+"}
    for file, splits in found["files"].items():
        rows = read(Path(file))
        assert {s: sum(cells.values()) for s, cells in splits.items()} == Counter(row["split"] for row in rows)
        assert all((faces / row["path"]).is_file() for row in rows)
    assert "7 malformed name(s), left out: 20_1_2017.jpg (3 parts" in result.stderr
    assert "24_1_2017.jpg (3 parts where age_sex_race_date has 4) and 2 more" in result.stderr
    assert not list(out.glob(".*"))


def test_younger_people_are_left_out_counted_and_said(faces: Path, tmp_path: Path) -> None:
    ages = [int(path.name.partition("_")[0]) for path in faces.iterdir() if path.name.count("_") == 3]
    result = run("data", "faces", faces, "--out", tmp_path, "--min-age", 18)
    assert result.exit_code == 0, result.stderr
    assert f"{sum(age < 18 for age in ages)} image(s) of people younger than 18 left out" in result.stderr
    written = [int(row["age"]) for name in ("eb1", "eb2") for row in read(tmp_path / f"{name}.csv")]
    assert 18 <= min(written) < 30
    result = run("data", "faces", faces, "--out", tmp_path / "none", "--min-age", 95)
    assert result.exit_code == 2
    assert "--min-age 95: nobody is as old; the oldest is" in result.stderr


def test_faces_are_never_written_over_unless_wanted(faces: Path, tmp_path: Path) -> None:
    run("data", "faces", faces, "--out", tmp_path)
    before = (tmp_path / "eb1.csv").read_bytes()
    (tmp_path / "eb2.csv").unlink()
    result = run("data", "faces", faces, "--out", tmp_path, "--seed", 1)
    assert result.exit_code == 2
    assert f"{tmp_path / 'eb1.csv'}: exists already" in result.stderr
    assert not (tmp_path / "eb2.csv").exists()
    assert run("data", "faces", faces, "--out", tmp_path, "--overwrite").exit_code == 0
    assert (tmp_path / "eb1.csv").read_bytes() == before


def test_age_bins(faces: Path, tmp_path: Path) -> None:
    assert run("data", "faces", faces, "--out", tmp_path, "--age-bins", "0,30,50,120").exit_code == 0
    assert {row["age_bin"] for row in read(tmp_path / "eb1.csv")} == {"0-29", "30-49", "50+"}
    result = run("data", "faces", faces, "--out", tmp_path, "--age-bins", "0,x")
    assert result.exit_code == 2
    assert "no list of whole numbers" in result.stderr


def test_imdb(faces: Path, tmp_path: Path) -> None:
    with (tmp_path / "imdb.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "age", "gender", "name"])
        for k, path in enumerate(sorted(faces.glob("*_*_*_*.jpg"))):
            age, sex, _, _ = path.stem.split("_")
            writer.writerow([path.name, age, 1 - int(sex), k % 150])
        writer.writerow(["nowhere.jpg", 20, 1, 3])
    options = ["--path-column", "file", "--sex-column", "gender", "--identity-column", "name", "--female", "0"]
    result = run(
        "data", "imdb", tmp_path / "imdb.csv", "--out", tmp_path, "--root", faces, *options, "--format", "text"
    )
    assert result.exit_code == 0, result.stderr
    assert "1 unusable row(s), left out: row 302 (no file nowhere.jpg)" in result.stderr
    assert "  train " in result.stdout
    for row in read(tmp_path / "eb2.csv"):
        assert row["sex"] == ("female" if row["path"].split("_")[1] == "1" else "male")
        assert row["identity"]


def test_celeba_and_waterbirds(tmp_path: Path) -> None:
    images = tmp_path / "img_align_celeba"
    images.mkdir()
    for k in range(4):
        (images / f"{k}.jpg").write_bytes(b"")
    (tmp_path / "list_attr_celeba.csv").write_text(
        "image_id,Blond_Hair,Male,Young\n" + "".join(f"{k}.jpg,{1 - 2 * (k % 2)},-1,1\n" for k in range(4))
    )
    (tmp_path / "list_eval_partition.csv").write_text("image_id,partition\n3.jpg,2\n2.jpg,1\n1.jpg,0\n0.jpg,0\n")
    (tmp_path / "metadata.csv").write_text(
        "img_id,img_filename,y,split,place,place_filename\n1,img_align_celeba/1.jpg,0,0,1,x\n"
    )
    result = run("data", "celeba", tmp_path, "--out", tmp_path)
    assert json.loads(result.stdout)["files"] == {
        str(tmp_path / "celeba.csv"): {
            "train": {"no no": 1, "yes no": 1}, "validation": {"yes no": 1}, "test": {"no no": 1}
        }
    }  # fmt: skip
    assert list(read(tmp_path / "celeba.csv")[0]) == ["path", "Blond_Hair", "Male", "split"]
    assert run("data", "celeba", tmp_path, "--out", tmp_path / "all", "--column", "all").exit_code == 0
    assert list(read(tmp_path / "all" / "celeba.csv")[0]) == ["path", "Blond_Hair", "Male", "Young", "split"]
    assert run("data", "waterbirds", tmp_path, "--out", tmp_path).exit_code == 0
    assert read(tmp_path / "waterbirds.csv") == [
        {"path": "img_align_celeba/1.jpg", "bird": "landbird", "place": "water", "split": "train"}
    ]


def test_errors_end_with_two(tmp_path: Path) -> None:
    for command in ("faces", "celeba", "waterbirds", "imdb"):
        result = run("data", command, tmp_path / "nowhere", "--out", tmp_path)
        assert result.exit_code == 2
        assert "nowhere" in result.stderr
        assert "internal error" not in result.stderr
