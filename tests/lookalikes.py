"""Small data sets in the forms in which well-known ones are distributed, drawn by the tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mibias_cli.datasets.manifests import PeopleColumns, make_celeba, make_faces, make_imdb

__all__ = ["celeba", "draw_face", "face_folder", "imdb", "utkface", "waterbirds"]


def draw_face(female: bool, age: int, size: int, rng: np.random.Generator) -> Image.Image:
    """A disc for women and a square for men, of random size and place; the ground greys with age."""
    old = min(age, 80) / 80
    ground = np.array([230, 140, 60]) * (1 - old) + np.array([110, 120, 160]) * old
    noise = rng.normal(0, 12, (size, size, 3))
    image = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    side, grey = int(rng.integers(size // 3, size // 2)), int(rng.integers(20, 236))
    left, top = (int(v) for v in rng.integers(2, size - side - 2, size=2))
    pen = ImageDraw.Draw(image)
    (pen.ellipse if female else pen.rectangle)((left, top, left + side, top + side), fill=(grey, grey, grey))
    return image


def face_folder(folder: Path, n: int, size: int = 32, seed: int = 0) -> Path:
    """A folder of n faces named age_sex_race_date, as UTKFace has them, and a malformed one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for k in range(n):
        age, female = int(rng.integers(1, 80)), bool(rng.random() < 0.5)
        name = f"{age}_{int(female)}_{rng.integers(0, 5)}_2017{k:013d}.jpg.chip.jpg"
        draw_face(female, age, size, rng).save(folder / name)
    Image.new("RGB", (size, size)).save(folder / "61_1_20170109150557335.jpg.chip.jpg")
    return folder


def utkface(folder: Path) -> list[str]:
    """Faces and their EB1; returns what a recipe must be told to find them."""
    images = face_folder(folder / "UTKFace", 400)
    make_faces(images, folder / "faces")
    return [f"data.path={folder / 'faces' / 'eb1.csv'}", f"data.root={images}"]


def imdb(folder: Path) -> list[str]:
    """The same faces as a manifest in which each person has several images."""
    images = face_folder(folder / "imdb_crop", 400)
    with (folder / "imdb.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "age", "sex", "name"])
        for k, path in enumerate(sorted(images.glob("*_*_*_*.jpg"))):
            age, sex, _, _ = path.name.split("_")
            writer.writerow([path.name, age, ("male", "female")[int(sex)], k // 2])
    make_imdb(folder / "imdb.csv", folder / "imdb", root=images, columns=PeopleColumns(identity="name"))
    group = "data.columns={target: sex, split: split, group: identity}"
    return [f"data.path={folder / 'imdb' / 'eb1.csv'}", f"data.root={images}", group]


def waterbirds(folder: Path) -> list[str]:
    """group_DRO's layout: metadata.csv beside folders of images."""
    root = folder / "waterbird_complete95_forest2water2"
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for k in range(120):
        y, split = k % 2, 0 if k < 60 else 1 if k < 90 else 2
        place = y if rng.random() < (0.9 if split == 0 else 0.5) else 1 - y
        name = f"{k % 5:03d}.Bird/Bird_{k:04d}.jpg"
        (root / name).parent.mkdir(exist_ok=True)
        draw_face(bool(y), 79 * place, 32, rng).save(root / name)
        rows.append([k + 1, name, y, split, place, "/o/ocean/1.jpg"])
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
        writer.writerows(rows)
    return [f"data.path={root / 'metadata.csv'}"]


def celeba(folder: Path, n: int = 120) -> list[str]:
    """Kaggle's layout; the partition is in another order than the attributes."""
    root = folder / "celebA"
    (root / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    attributes, partition = [], []
    for k in range(n):
        blond = bool(k % 2)
        male = bool(rng.random() < (0.1 if blond else 0.6))
        draw_face(blond, 79 * male, 32, rng).save(root / "img_align_celeba" / f"{k:06d}.jpg")
        attributes.append([f"{k:06d}.jpg", 2 * blond - 1, 2 * male - 1, int(rng.choice([-1, 1]))])
        partition.append([f"{k:06d}.jpg", 0 if k < 0.6 * n else 1 if k < 0.75 * n else 2])
    for name, header, rows in (
        ("list_attr_celeba.csv", ["image_id", "Blond_Hair", "Male", "Young"], attributes),
        ("list_eval_partition.csv", ["image_id", "partition"], partition[::-1]),
    ):
        with (root / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    make_celeba(root, root, attributes=["Blond_Hair", "Male"])
    return [f"data.path={root / 'celeba.csv'}"]
