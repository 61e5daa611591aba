"""UCI's Adult and German credit as the tables that a recipe reads: one CSV with a header and a column `split`.

python benchmarks/uci.py adult FOLDER data/adult/adult.csv

FOLDER holds the files as UCI gives them: adult.data and adult.test, or german.data, each with or without .gz and with
or without a header row. Adult's test part stays the test part, a tenth of the training part is for validation. German
has no parts of its own, so that a recipe splits it by fractions; its ninth column, which mixes sex with marital status,
becomes `sex` alone.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["WRITERS", "write_adult", "write_german"]

_ADULT_HEADER = (
    "age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,sex,capital-gain,"
    "capital-loss,hours-per-week,native-country,income"
)
_GERMAN_HEADER = (
    "checking,months,history,purpose,amount,savings,employment,rate,sex,guarantors,residence,property,age,"
    "other-plans,housing,credits,job,dependants,telephone,foreign,credit"
)
ADULT, GERMAN = _ADULT_HEADER.split(","), _GERMAN_HEADER.split(",")
WOMEN = ("A92", "A95")
VALIDATION_SHARE = 10


def write_adult(folder: Path, out: Path) -> None:
    """Both parts of Adult in one table; a full stop after the labels of the test part goes."""
    rows = []
    for part in ("adult.data", "adult.test"):
        found = [row for row in _read(folder, part, ",") if len(row) == len(ADULT) and row != ADULT]
        names = np.full(len(found), "test" if part == "adult.test" else "train", dtype=object)
        if part == "adult.data":
            names[np.random.default_rng(0).permutation(len(found))[: len(found) // VALIDATION_SHARE]] = "validation"
        rows += [[*row[:-1], row[-1].rstrip("."), name] for row, name in zip(found, names, strict=True)]
    _write(out, [*ADULT, "split"], rows)


def write_german(folder: Path, out: Path) -> None:
    """German credit with names, sex in words, and the target as good or bad."""
    rows = [row for row in _read(folder, "german.data", None) if len(row) == len(GERMAN) and row != GERMAN]
    sex, credit = GERMAN.index("sex"), GERMAN.index("credit")
    for row in rows:
        row[sex] = "female" if row[sex] in WOMEN else "male"
        row[credit] = {"1": "good", "2": "bad"}[row[credit]]
    _write(out, GERMAN, rows)


def _read(folder: Path, name: str, delimiter: str | None) -> list[list[str]]:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), None)
    if path is None:
        raise SystemExit(f"{folder}: has no {name} and no {name}.gz; get it from https://archive.ics.uci.edu")
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    return [[cell.strip() for cell in line.split(delimiter)] for line in text.splitlines() if line.strip()]


def _write(out: Path, header: list[str], rows: list[list[str]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f, lineterminator="\n").writerows([header, *rows])


WRITERS: dict[str, Callable[[Path, Path], None]] = {"adult": write_adult, "german": write_german}
"""By name of the dataset: (folder with UCI's files, table to write)."""


def main() -> None:
    """Convert one dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=list(WRITERS))
    parser.add_argument("folder", type=Path, help="folder with UCI's files")
    parser.add_argument("out", type=Path, help="CSV to write")
    arguments = parser.parse_args()
    WRITERS[arguments.dataset](arguments.folder, arguments.out)


if __name__ == "__main__":
    main()
