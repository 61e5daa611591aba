"""Small data sets laid out as public ones are, made by code: folders, tables, splits and ids of patients."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

__all__ = [
    "absolute_paths",
    "adult",
    "backslashes",
    "camelyon",
    "chexpert",
    "coco",
    "fairface",
    "fitzpatrick17k",
    "flags",
    "german",
    "group_table",
    "ham10000",
    "hub_folder",
    "image",
    "inner_tables",
    "isic2019",
    "isic2020",
    "kaggle",
    "many_candidates",
    "mimic",
    "nih",
    "pairs",
    "patient_folders",
    "patient_table",
    "patients_of_classes",
    "people",
    "pneumonia",
    "proxies",
    "split_column",
    "split_folders",
    "split_tables",
    "typed_parts",
    "unlabelled_test",
    "write",
]  # fmt: skip

_BYTES: dict[str, bytes] = {}
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def image(path: Path) -> None:
    """A small grey image; its pixels say nothing."""
    kind = _KINDS[path.suffix.lower()]
    if kind not in _BYTES:
        buffer = io.BytesIO()
        Image.new("RGB", (12, 8), (90, 90, 90)).save(buffer, kind)
        _BYTES[kind] = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_BYTES[kind])


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def pairs(n: int, agree: float = 0.85, seed: int = 0) -> list[tuple[int, int]]:
    """Pairs (y, c) of which so many agree."""
    rng = np.random.default_rng(seed)
    return [(k % 2, k % 2 if rng.random() < agree else 1 - k % 2) for k in range(n)]


def people(n: int, each: int = 3) -> list[tuple[int, int, int]]:
    """Triples (patient, y, sex) of so many images of each patient, whose sex stays and whose y may change."""
    rng = np.random.default_rng(1)
    sexes = rng.integers(0, 2, n)
    return [
        (p, int(sexes[p] if rng.random() < 0.8 else 1 - sexes[p]), int(sexes[p])) for p in range(n) for _ in range(each)
    ]


def chexpert(folder: Path) -> Path:
    """train.csv and valid.csv, paths that start with the folder's own name, patients in the path, -1 for uncertain."""
    root = folder / "CheXpert-v1.0-small"
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "Pneumonia", "Edema"]
    rows: dict[str, list[list[object]]] = {"train": [], "valid": []}
    for k, (p, y, c) in enumerate(people(40)):
        part = "train" if p < 32 else "valid"
        name = f"{root.name}/{part}/patient{p:05d}/study{k % 3 + 1}/view1_frontal.jpg"
        image(folder / name)
        unsure = part == "train" and k % 9 == 0
        rows[part].append(
            [
                name,
                ("Female", "Male")[c],
                30 + p,
                "Frontal",
                "AP",
                "-1.0" if unsure else f"{y}.0",
                "" if k % 4 else "1.0",
            ]
        )
    for part, listed in rows.items():
        write(root / f"{part}.csv", header, listed)
    return root


def nih(folder: Path) -> Path:
    """ChestX-ray14: shards of images, lists of the official split, labels as A|B."""
    root = folder / "nih"
    rows: list[list[object]] = []
    lists: dict[str, list[str]] = {"train_val": [], "test": []}
    for k, (p, y, c) in enumerate(people(40)):
        name = f"{p:08d}_{k % 3:03d}.png"
        image(root / f"images_{k % 2 + 1:03d}" / "images" / name)
        finding = ("No Finding", "Effusion|Infiltration" if k % 5 == 0 else "Effusion")[y]
        rows.append([name, finding, k % 3, p, 40 + p % 30, "FM"[c], ("PA", "AP")[c]])
        lists["test" if p >= 30 else "train_val"].append(name)
    header = [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    ]
    write(root / "Data_Entry_2017.csv", header, rows)
    for part, names in lists.items():
        (root / f"{part}_list.txt").write_text("\n".join(names))
    return root


def ham10000(folder: Path) -> Path:
    """Two folders of images; image_id without suffix; several images of a lesion."""
    root = folder / "ham"
    rows = []
    for k, (p, y, c) in enumerate(people(40)):
        image(root / f"HAM10000_images_part_{k % 2 + 1}" / f"ISIC_{k:07d}.jpg")
        rows.append(
            [
                f"HAM_{p:07d}",
                f"ISIC_{k:07d}",
                ("nv", "mel")[y],
                "histo",
                30 + p % 40,
                ("female", "male")[c],
                ("back", "face")[k % 2],
            ]
        )
    write(
        root / "HAM10000_metadata.csv", ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"], rows
    )
    return root


def isic2020(folder: Path) -> Path:
    """jpeg/train, train.csv with image_name without suffix, patient_id that some rows lack, and target."""
    root = folder / "isic2020"
    rows = []
    for k, (p, y, c) in enumerate(people(40)):
        image(root / "jpeg" / "train" / f"ISIC_{k:07d}.jpg")
        rows.append(
            [
                f"ISIC_{k:07d}",
                "" if k % 20 == 7 else f"IP_{p:07d}",
                ("female", "male")[c],
                30 + p % 40,
                ("benign", "malignant")[y],
                y,
            ]
        )
    write(root / "train.csv", ["image_name", "patient_id", "sex", "age_approx", "benign_malignant", "target"], rows)
    write(root / "test.csv", ["image_name", "patient_id", "sex", "age_approx"], [["ISIC_9999999", "IP_1", "male", 40]])
    return root


def fitzpatrick17k(folder: Path) -> Path:
    """md5hash without suffix, three columns of labels, the scale of the skin."""
    root = folder / "fitzpatrick17k"
    rows = []
    for k, (y, c) in enumerate(pairs(120)):
        name = f"{k * 7919:032x}"
        image(root / "images" / f"{name}.jpg")
        rows.append(
            [
                name,
                c * 4 + 1,
                ("acne", "melanoma")[y],
                ("inflammatory", "malignant")[y],
                ("non-neoplastic", "malignant")[y],
            ]
        )
    write(
        root / "fitzpatrick17k.csv",
        ["md5hash", "fitzpatrick_scale", "label", "nine_partition_label", "three_partition_label"],
        rows,
    )
    return root


def fairface(folder: Path) -> Path:
    """train/ and val/ with a table each; service_test is no split."""
    root = folder / "fairface"
    for part, n in (("train", 90), ("val", 30)):
        rows = []
        for k, (y, c) in enumerate(pairs(n, seed=n)):
            name = f"{part}/{k + 1}.jpg"
            image(root / name)
            rows.append(
                [name, ("20-29", "50-59")[y], ("Female", "Male")[c], ("Black", "White")[k // 2 % 2], k % 3 == 0]
            )
        write(root / f"fairface_label_{part}.csv", ["file", "age", "gender", "race", "service_test"], rows)
    return root


def camelyon(folder: Path) -> Path:
    """WILDS: an index column without a name, patients, split 0 and 1."""
    root = folder / "camelyon17_v1.0"
    rows = []
    for k, (p, y, c) in enumerate(people(40)):
        name = f"patches/patient_{p:03d}_node_1/patch_patient_{p:03d}_node_1_x_{k}_y_0.png"
        image(root / name)
        rows.append([k, f"{p:03d}", 1, k, 0, y, c * 10, c * 2, int(p >= 30), name])
    write(
        root / "metadata.csv",
        ["", "patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split", "path"],
        rows,
    )
    return root


def split_column(folder: Path, name: str, values: Sequence[str], n: int = 240) -> Path:
    """A table with a column of that name, whose values stand for train, …, in equal parts."""
    rows = [
        [("a", "b")[y], "fm"[c], round(k * 0.37 % 5, 3), values[k // 2 % len(values)]]
        for k, (y, c) in enumerate(pairs(n))
    ]
    return write(folder / "t.csv", ["label", "sex", "x", name], rows)


def split_tables(folder: Path, names: Sequence[str]) -> Path:
    """Several tables of the same columns, a file for each split."""
    for i, name in enumerate(names):
        rows = [[("a", "b")[y], "fm"[c], round((k + i) * 0.37 % 5, 3)] for k, (y, c) in enumerate(pairs(120, seed=i))]
        write(folder / "parts" / name, ["label", "sex", "x"], rows)
    return folder / "parts"


def kaggle(folder: Path) -> Path:
    """images/, train.csv with ids, test.csv without the target, and a sample submission."""
    root = folder / "kaggle"
    rows = []
    for k, (y, c) in enumerate(pairs(120)):
        image(root / "images" / f"Train_{k}.jpg")
        rows.append([f"Train_{k}", ("healthy", "rust")[y], ("sony", "canon")[c]])
    write(root / "train.csv", ["image_id", "label", "camera"], rows)
    for k in range(20):
        image(root / "images" / f"Test_{k}.jpg")
    write(root / "test.csv", ["image_id", "camera"], [[f"Test_{k}", "sony"] for k in range(20)])
    write(root / "sample_submission.csv", ["image_id", "label"], [[f"Test_{k}", "rust"] for k in range(20)])
    return root


def hub_folder(folder: Path) -> Path:
    """Hugging Face's imagefolder with metadata.csv in each split folder."""
    root = folder / "hub"
    for part, n in (("train", 80), ("validation", 40)):
        rows = []
        for k, (y, c) in enumerate(pairs(n, seed=n)):
            image(root / part / f"{k}.png")
            rows.append([f"{k}.png", "xy"[y], "fm"[c]])
        write(root / part / "metadata.csv", ["file_name", "label", "gender"], rows)
    return root


def split_folders(folder: Path, names: Sequence[str]) -> Path:
    """Split folders of class folders, the scanner in the file's name."""
    root = folder / "folders"
    for i, name in enumerate(names):
        for k, (y, c) in enumerate(pairs(60, seed=i)):
            image(root / name / ("cat", "dog")[y] / f"{('siteA', 'siteB')[c]}_{k}.png")
    return root


def pneumonia(folder: Path) -> Path:
    """Kaggle's chest X-rays: split folders of class folders, persons in the names of files, some in two splits."""
    root = folder / "chest_xray"
    rows = []
    for k, (p, y, c) in enumerate(people(60)):
        part = "test" if p >= 40 or (p == 3 and k % 3 == 0) else "train"
        name = f"{part}/{('NORMAL', 'PNEUMONIA')[y]}/person{p}_{('bacteria', 'virus')[c]}_{k}.jpeg"
        image(root / name)
        rows.append([name, "AB"[c]])
    write(folder / "xray.csv", ["path", "scanner"], rows)
    return root


def patient_folders(folder: Path) -> Path:
    """Folders of patients, and a table that says what is on the images."""
    root = folder / "patients"
    rows = []
    for k, (p, y, c) in enumerate(people(40)):
        image(root / "data" / f"patient_{p:03d}" / f"scan_{k}.png")
        rows.append([f"patient_{p:03d}/scan_{k}.png", ("well", "ill")[y], ("A", "B")[c]])
    write(root / "labels.csv", ["image", "diagnosis", "scanner"], rows)
    return root


def patients_of_classes(folder: Path) -> Path:
    """Folders of patients that hold folders of classes, as in IDC: 8863/0/8863_idx5_x51_y1251_class0.png."""
    root = folder / "idc"
    rows = []
    for k, (p, y, c) in enumerate(people(40)):
        name = f"{8000 + 13 * p}/{y}/{8000 + 13 * p}_idx5_x{k}_y1_class{y}.png"
        image(root / name)
        rows.append([name, "AB"[c]])
    write(folder / "idc.csv", ["path", "scanner"], rows)
    return root


def backslashes(folder: Path) -> Path:
    """A manifest that Windows wrote."""
    rows = []
    for k, (y, c) in enumerate(pairs(120)):
        image(folder / "win" / ("a", "b")[y] / f"{k}.PNG")
        rows.append([f"{('a', 'b')[y]}\\{k}.png", ("a", "b")[y], "fm"[c]])
    return write(folder / "win" / "list.csv", ["file", "label", "sex"], rows)


def coco(folder: Path) -> Path:
    root = folder / "coco"
    for k in range(20):
        image(root / "train2017" / f"{k:012d}.jpg")
    (root / "annotations").mkdir()
    content: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


def mimic(folder: Path) -> Path:
    """Images by patient and study; three tables that share keys; the official split in one of them."""
    root = folder / "mimic-cxr-jpg"
    meta, split, labels = [], [], []
    for k, (p, y, c) in enumerate(people(40)):
        subject, study, dicom = 10000000 + p, 50000000 + k, f"{k * 7919:08x}-{k:08x}"
        image(root / "files" / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg")
        meta.append([dicom, subject, study, ("AP", "PA")[c], 2500 + k])
        split.append([dicom, study, subject, "train" if p < 26 else "validate" if p < 32 else "test"])
        labels.append([subject, study, f"{y}.0"])
    write(root / "mimic-cxr-2.0.0-metadata.csv", ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows"], meta)
    write(root / "mimic-cxr-2.0.0-split.csv", ["dicom_id", "study_id", "subject_id", "split"], split)
    write(root / "mimic-cxr-2.0.0-chexpert.csv", ["subject_id", "study_id", "Pneumonia"], labels)
    return root


def isic2019(folder: Path) -> Path:
    """Two tables by `image` without suffix: a column of 0.0 and 1.0 for each diagnosis, and who was photographed."""
    root = folder / "isic2019"
    truth, people_of = [], []
    for k, (p, y, c) in enumerate(people(40)):
        image(root / "ISIC_2019_Training_Input" / f"ISIC_{k:07d}.jpg")
        truth.append([f"ISIC_{k:07d}", f"{y}.0", f"{1 - y}.0"])
        people_of.append(
            [f"ISIC_{k:07d}", 30 + p % 40, ("torso", "head")[k % 2], f"BCN_{p:07d}", ("female", "male")[c]]
        )
    write(root / "ISIC_2019_Training_GroundTruth.csv", ["image", "MEL", "NV"], truth)
    header = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    write(root / "ISIC_2019_Training_Metadata.csv", header, people_of)
    return root


def absolute_paths(folder: Path) -> Path:
    """A manifest with absolute paths, as scripts write them on their own machine."""
    rows = []
    for k, (y, c) in enumerate(pairs(120)):
        image(folder / "abs" / f"{k}.png")
        rows.append([str((folder / "abs" / f"{k}.png").absolute()), ("a", "b")[y], "fm"[c]])
    return write(folder / "abs" / "list.csv", ["filepath", "label", "sex"], rows)


def patient_table(folder: Path) -> Path:
    """A table of images, and one of patients that is joined by their id."""
    root = folder / "twotables"
    rows, of_patients = [], {}
    for k, (p, y, c) in enumerate(people(40)):
        image(root / "images" / f"scan{k}.png")
        rows.append([f"images/scan{k}.png", f"P{p:03d}", ("well", "ill")[y]])
        of_patients[p] = [f"P{p:03d}", ("F", "M")[c], ("A", "B", "C")[p % 3]]
    write(root / "images.csv", ["file", "patient_id", "diagnosis"], rows)
    write(root / "patients.csv", ["patient_id", "sex", "hospital"], list(of_patients.values()))
    return root


def group_table(folder: Path, name: str, header: Sequence[str] = ("label", "sex", "x")) -> Path:
    """A table with three rows of each person, whose ids stand in a column of that name."""
    rows = [["ab"[y], "fm"[c], round(k * 0.37 % 5, 3), f"id{p}"] for k, (p, y, c) in enumerate(people(60))]
    return write(folder / "g.csv", [*header, name], rows)


def proxies(folder: Path) -> Path:
    """A table with the attribute spelt otherwise, in noise, and binned; and a column that renames the target."""
    rng = np.random.default_rng(0)
    rows = []
    for y, c in pairs(600):
        age = int(20 + 30 * c + rng.integers(0, 30))
        title = ("Ms", "Mr")[c if rng.random() < 0.99 else 1 - c]
        rows.append(
            [("low", "high")[y], "fm"[c], ("woman", "man")[c], title, age, round(rng.normal(), 3), ("no", "yes")[y]]
        )
    return write(folder / "proxies.csv", ["income", "sex", "person_kind", "title", "age", "x", "approved"], rows)


def many_candidates(folder: Path) -> Path:
    """A manifest with more than sixty columns of classes, of which the last goes with the target."""
    rng = np.random.default_rng(0)
    rows = []
    for k, (y, c) in enumerate(pairs(120)):
        image(folder / "many" / f"{k}.png")
        rows.append([f"{k}.png", "xy"[y], *(int(v) for v in rng.integers(0, 2, 70)), c])
    return write(folder / "many" / "m.csv", ["path", "label", *(f"q{k}" for k in range(70)), "last"], rows)


def typed_parts(folder: Path) -> Path:
    """Parquet files of one data set, a file or several for each split, as the hub stores them."""
    data = folder / "hubtable" / "data"
    data.mkdir(parents=True)
    for name, n in (("train-00000-of-00002", 90), ("train-00001-of-00002", 90), ("test-00000-of-00001", 60)):
        columns = {
            "label": ["ab"[y] for y, _ in pairs(n)],
            "sex": ["fm"[c] for _, c in pairs(n)],
            "x": np.arange(n) * 0.1,
        }
        pq.write_table(pa.table(columns), data / f"{name}.parquet")
    return data.parent


def flags(folder: Path) -> Path:
    """A table with two columns of yes and no: is_val and is_test."""
    rows = []
    for k, (y, c) in enumerate(pairs(240)):
        part = k // 2 % 4
        rows.append(["ab"[y], "fm"[c], round(k * 0.37 % 5, 3), part == 2, part == 3])
    return write(folder / "t.csv", ["label", "sex", "x", "is_val", "is_test"], rows)


def inner_tables(folder: Path) -> Path:
    """train/ and test/, each with images and a table of its own, of the same names."""
    root = folder / "inner"
    for part, n in (("train", 90), ("test", 60)):
        rows = []
        for k, (y, c) in enumerate(pairs(n, seed=n)):
            image(root / part / "images" / f"{k}.png")
            rows.append([f"{k}.png", "xy"[y], "fm"[c]])
        write(root / part / "labels.csv", ["image", "label", "gender"], rows)
    return root


def unlabelled_test(folder: Path) -> Path:
    """Class folders below train/, and a test set without labels, as in Kaggle's competitions."""
    root = folder / "cats"
    rows = []
    for k, (y, c) in enumerate(pairs(90)):
        name = f"train/{('cat', 'dog')[y]}/{k}.png"
        image(root / name)
        rows.append([name, "AB"[c]])
    for k in range(20):
        image(root / "test" / f"{k}.png")
    write(root / "cameras.csv", ["path", "camera"], rows)
    return root


def adult(folder: Path) -> Path:
    """Adult: `?` for missing values, education in words and in numbers, income in its last column."""
    rng = np.random.default_rng(0)
    rows = []
    for y, c in pairs(600, agree=0.7):
        years = int(rng.integers(8, 14))
        work = ("Private", "State-gov", "?")[int(rng.integers(0, 3))]
        rows.append(
            [int(rng.integers(18, 80)), work, f"level {years}", years, ("Female", "Male")[c], ("<=50K", ">50K")[y]]
        )
    return write(folder / "adult.csv", ["age", "workclass", "education", "education-num", "sex", "income"], rows)


def german(folder: Path) -> Path:
    """German credit: codes A11, A12, …, classes 1 and 2, sex within the personal status."""
    rng = np.random.default_rng(0)
    rows = []
    for y, c in pairs(600, agree=0.7):
        status = ("A92", "A93")[c]
        rows.append([f"A1{rng.integers(1, 5)}", int(rng.integers(4, 60)), status, int(rng.integers(19, 75)), y + 1])
    return write(folder / "german.csv", ["status", "duration", "personal_status", "age", "class"], rows)
