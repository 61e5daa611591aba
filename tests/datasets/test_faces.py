"""File names that say who is on a face."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mibias_cli.datasets.faces import FaceName, looks_like_faces, parse_face_name, read_face_names
from mibias_cli.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0_0_0_1.jpg", FaceName(age=0, sex="male", race="white")),
        ("116_1_4_20170112213500903.jpg.chip.jpg", FaceName(age=116, sex="female", race="other")),
        ("55_0_0_20170116232725357jpg.chip.jpg", FaceName(age=55, sex="male", race="white")),  # as UTKFace has it
    ],
)
def test_names(name: str, expected: FaceName) -> None:
    assert parse_face_name(name) == expected


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "3 parts"),  # no race, as in UTKFace
        ("53__0_20170116184028385.jpg", "the sex is ''"),
        ("121_0_0_1.jpg", "the age is '121'"),
        ("-1_0_0_1.jpg", "the age is '-1'"),
        ("²_0_0_1.jpg", "the age is '²'"),
        ("20_2_0_1.jpg", "the sex is '2'"),
        ("20_1_5_1.jpg", "the race is '5'"),
        ("20_1_4_x.jpg", "the date is 'x'"),
        ("20_1_4_.jpg", "the date is ''"),
        ("cat.jpg", "1 part where"),
        ("1_2_3_4_5.jpg", "5 parts where"),
    ],
)
def test_malformed_names(name: str, fault: str) -> None:
    found = parse_face_name(name)
    assert isinstance(found, str)
    assert fault in found


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)


def test_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "part1/30_1_2_1.jpg", "7_0_0_1.png", "7_0_1.jpg", ".hidden/8_0_0_1.jpg")
    (tmp_path / "8_0_0_1.txt").write_text("no image")
    people = read_face_names(tmp_path)
    assert people.path == ["7_0_0_1.png", "part1/30_1_2_1.jpg"]
    assert people.age.tolist() == [7, 30]
    assert people.female.tolist() == [False, True]
    assert people.others == {"race": ["white", "asian"]}
    assert people.faults == ("7_0_1.jpg (3 parts where age_sex_race_date has 4)",)


def test_folders_without_faces(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_face_names(tmp_path / "nowhere")
    touch(tmp_path, "cat.png", "dog.png")
    with pytest.raises(DataError, match=r"none of 2 images is named age_sex_race_date.*cat\.png"):
        read_face_names(tmp_path)


def test_whether_a_folder_looks_like_faces() -> None:
    faces = [f"{k % 90}_0_0_1.jpg" for k in range(1000)]
    assert looks_like_faces(faces)
    assert looks_like_faces([*faces, "odd.jpg"])
    assert not looks_like_faces([f"IMG_{k}.jpg" for k in range(1000)])
