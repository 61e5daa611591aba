"""Small files in the layout in which UCI gives Adult and German credit, drawn by the tests, and tables made of them."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path

import numpy as np

__all__ = ["RAW", "adult_table", "german_table"]

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _adult_rows(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        man = rng.random() < 0.66
        hours = int(rng.normal(44 if man else 36, 9))
        rich = rng.random() < 1 / (1 + np.exp(-(hours - 44) / 4))
        income = ">50K" if rich else "<=50K"
        rows.append(
            f"{rng.integers(18, 80)}, Private, {rng.integers(10**4, 10**6)}, Bachelors, {rng.integers(1, 16)}, "
            f"Never-married, Sales, {'Husband' if man and rng.random() < 0.6 else 'Own-child'}, White, "
            f"{'Male' if man else 'Female'}, {int(rng.random() < 0.1) * 5000}, 0, {hours}, ?, {income}"
        )
    return rows


def _write_adult(folder: Path) -> None:
    """As UCI gives it: no header, a first line that is no row and full stops in the test part, blank last lines."""
    (folder / "adult.data").write_text("\n".join(_adult_rows(400, 0)) + "\n\n")
    test = "|1x3 Cross validator\n" + "".join(f"{row}.\n" for row in _adult_rows(300, 1)) + "\n"
    (folder / "adult.test.gz").write_bytes(gzip.compress(test.encode()))


def _write_german(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(300):
        risk = rng.random() < 0.3
        cells = ["A11", 6 + int(30 * risk), "A34", "A43", 1000 + 10 * k, "A65", "A75", 4, f"A9{1 + k % 5}", "A101", 4]
        cells += ["A121", 20 + k % 50, "A143", "A152", 2, "A173", 1, "A192", "A201", 1 + int(risk)]
        rows.append(" ".join(map(str, cells)))
    (folder / "german.data").write_text("\n".join(rows) + "\n")


RAW = {"adult": _write_adult, "german": _write_german}
"""By name of the dataset: what draws UCI's files in a folder."""


def adult_table(folder: Path) -> list[str]:
    """Adult as a table; the overrides that name it."""
    return _table("adult", folder)


def german_table(folder: Path) -> list[str]:
    """German credit as a table; the overrides that name it."""
    return _table("german", folder)


def _table(name: str, folder: Path) -> list[str]:
    RAW[name](folder)
    path = folder / f"{name}.csv"
    runpy.run_path(str(BENCHMARKS / "uci.py"))["WRITERS"][name](folder, path)
    return [f"data.path={path}"]
