"""CelebA's files in any order and either format; whatever does not join is counted and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mibias_cli.datasets.celeba import read_celeba
from mibias_cli.errors import DataError

IDS = [f"{k:06d}.jpg" for k in range(1, 7)]
BLOND = [1, -1, -1, 1, -1, 1]
MALE = [-1, -1, 1, 1, -1, -1]
PART = [0, 0, 0, 1, 2, 2]


def celeba(folder: Path, *, order: list[int] | None = None, images: list[str] | None = None) -> Path:
    """CelebA in Kaggle's form; the partition's rows in another order."""
    root = folder / "img_align_celeba"
    root.mkdir(parents=True)
    for name in images if images is not None else IDS:
        (root / name).write_bytes(b"")
    lines = [f"{i},{b},{m}" for i, b, m in zip(IDS, BLOND, MALE, strict=True)]
    (folder / "list_attr_celeba.csv").write_text("\n".join(["image_id,Blond_Hair,Male", *lines]) + "\n")
    rows = [f"{IDS[k]},{PART[k]}" for k in order or range(6)]
    (folder / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *rows]) + "\n")
    return folder


EXPECTED = {
    "path": [f"img_align_celeba/{i}" for i in IDS],
    "Blond_Hair": ["yes", "no", "no", "yes", "no", "yes"],
    "Male": ["no", "no", "yes", "yes", "no", "no"],
    "split": ["train", "train", "train", "validation", "test", "test"],
}


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 0, 4, 1, 2]])
def test_rows_are_joined_by_id_not_by_order(tmp_path: Path, order: list[int]) -> None:
    columns, notes = read_celeba(celeba(tmp_path, order=order), ["Blond_Hair", "Male"])
    assert columns == EXPECTED
    assert notes == []


def test_the_original_text_files_and_identities(tmp_path: Path) -> None:
    (tmp_path / "Anno").mkdir()
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Img" / "img_align_celeba").mkdir(parents=True)
    for name in IDS:
        (tmp_path / "Img" / "img_align_celeba" / name).write_bytes(b"")
    lines = [f"{i}  {b} {m}" for i, b, m in zip(IDS, BLOND, MALE, strict=True)]
    (tmp_path / "Anno" / "list_attr_celeba.txt").write_text("\n".join(["6", "Blond_Hair Male", *lines]) + "\n")
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("".join(f"{IDS[k]} {PART[k]}\n" for k in range(6)))
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("".join(f"{IDS[k]} {100 + k}\n" for k in (3, 1, 0, 2, 5, 4)))
    columns, notes = read_celeba(tmp_path)
    identity = [str(100 + k) for k in range(6)]
    paths = [f"Img/img_align_celeba/{i}" for i in IDS]
    assert columns == {**EXPECTED, "path": paths, "identity": identity}
    assert list(columns)[-1] == "split"
    assert notes == []


def test_what_does_not_join_is_left_out_and_told(tmp_path: Path) -> None:
    celeba(tmp_path, order=[0, 1, 2, 4, 5], images=IDS[1:])
    with (tmp_path / "list_eval_partition.csv").open("a") as file:
        file.write("000009.jpg,0\n")
    columns, notes = read_celeba(tmp_path, ["Male"])
    assert columns["path"] == [f"img_align_celeba/{IDS[k]}" for k in (1, 2, 4, 5)]
    assert notes == [
        "1 image(s) have no partition, left out: 000004.jpg",
        f"1 image(s) have no file in {tmp_path}/img_align_celeba, left out: 000001.jpg",
        "1 image(s) of list_eval_partition.csv have no attributes: 000009.jpg",
    ]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no list_attr_celeba\.csv and no list_eval_partition\.csv and no img_align"):
        read_celeba(tmp_path)
    celeba(tmp_path)
    with pytest.raises(DataError, match="no column 'Blond_Hiar', did you mean 'Blond_Hair'"):
        read_celeba(tmp_path, ["Blond_Hiar"])
    attributes = tmp_path / "list_attr_celeba.csv"
    text = attributes.read_text()
    attributes.write_text(text.replace("000002.jpg,-1,-1", "000002.jpg,-1,2"))
    with pytest.raises(DataError, match=r"1 value\(s\) of 'Male' are none of -1, 0, 1: row 3 \('2'\)"):
        read_celeba(tmp_path)
    attributes.write_text(text.replace("000002", "000001"))
    with pytest.raises(DataError, match=r"1 value\(s\) of 'image_id' occur more than once: 000001\.jpg"):
        read_celeba(tmp_path)
