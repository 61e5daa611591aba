"""The fairness benchmark on drawn files in UCI's layout: conversion, every method's row, and going on where it was."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import pytest
from uci_lookalikes import RAW

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
COLUMNS = (
    "method,setting,seed,accuracy,balanced_accuracy,demographic_parity_difference,equal_opportunity_difference,"
    "equalized_odds_difference,probe_accuracy,chance_accuracy,seconds"
)


@pytest.fixture(autouse=True)
def _beside_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def _run(program: str, *arguments: str | Path) -> None:
    """As from a shell, but in this process: one of its own would import torch anew each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / program), run_name="__main__")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def test_ucis_files_become_tables(tmp_path: Path) -> None:
    for name, write in RAW.items():
        write(tmp_path)
        _run("uci.py", name, tmp_path, tmp_path / f"{name}.csv")
    adult, german = _read(tmp_path / "adult.csv"), _read(tmp_path / "german.csv")
    sizes = {part: sum(row["split"] == part for row in adult) for part in ("train", "validation", "test")}
    assert sizes == {"train": 360, "validation": 40, "test": 300}
    assert {row["income"] for row in adult} == {"<=50K", ">50K"}
    assert [row["sex"] for row in german[:5]] == ["male", "female", "male", "male", "female"]
    assert {row["credit"] for row in german} == {"good", "bad"}


def test_a_header_row_is_no_row(tmp_path: Path) -> None:
    RAW["adult"](tmp_path)
    _run("uci.py", "adult", tmp_path, tmp_path / "a.csv")
    header = ",".join(list(_read(tmp_path / "a.csv")[0])[:-1])
    text = (tmp_path / "adult.data").read_text()
    (tmp_path / "adult.data").write_text(f"{header}\n{text}")
    _run("uci.py", "adult", tmp_path, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_a_row_per_method_and_setting_and_none_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RAW["adult"](tmp_path)
    out = tmp_path / "out.csv"
    arguments = ["--dataset", "adult", "--data", tmp_path, "--seeds", "1", "--probe-rows", "120", "--out", out]
    methods = [
        "plain",
        "mibias",
        "paper",
        "logistic",
        "leace_logistic",
        "exponentiated_gradient",
        "fairlearn_adversarial",
    ]
    settings = ["--settings", "default", "0.05", "1"]
    _run("fairness.py", *arguments, "--methods", *methods, *settings)
    shown = capsys.readouterr().out
    first = out.read_text()
    assert first.splitlines()[0] == COLUMNS
    rows = _read(out)
    assert [row["method"] for row in rows] == methods
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in COLUMNS.split(",")[3:-1]), row
    assert "| mibias | default |" in shown
    _run("fairness.py", *arguments, "--methods", *methods, *settings)
    assert out.read_text() == first


def test_later_seeds_run_the_setting_that_the_rule_chose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RAW["adult"](tmp_path)
    out = tmp_path / "out.csv"
    arguments = ["--on", "adult", "--data", tmp_path, "--out", out, "--methods", "plain", "dfr"]
    _run("methods.py", *arguments, "--seeds", "2")
    assert "| dfr |" in capsys.readouterr().out
    rows = _read(out)
    runs = [(row["method"], row["seed"]) for row in rows]
    assert runs == [("plain", "0"), ("dfr", "0"), ("dfr", "0"), ("plain", "1"), ("dfr", "1")]
    first = out.read_text()
    _run("methods.py", *arguments, "--seeds", "2")
    assert out.read_text() == first
