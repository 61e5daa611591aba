"""Classes, labels and numbers that audited rows never show are told before a run, and in the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from layouts import write
from told import Told

from mibias_cli.recipe.load import load_recipe
from mibias_cli.report.training import as_sentence
from mibias_cli.run import workflow
from mibias_cli.run.dry_run import dry_run

RECIPE = """
version: 1
data:
  source: table
  path: t.csv
  columns: { target: TARGET, split: split }
  attributes: { sex: }
backbone: { name: mlp, options: { hidden: [4], features: 2 } }
debias: { estimator: closed_form }
training: { epochs: 1, batch_size: 128, device: cpu }
evaluation: { n_bootstrap: 100, n_permutations: 0, probes: [logistic], random_control: false }
"""
HEADER = ["x", "kind", "lab", "lab2", "score", "sex", "split"]


def recipe_of(folder: Path, target: str, audited: str) -> Path:
    """400 rows, of which 80 are audited, with the kinds `audited` alone; their label is 0 and their score 3."""
    rows = []
    for k in range(400):
        split = "test" if k % 5 == 0 else "validation" if k % 5 == 1 else "train"
        kind = audited[k // 5 % len(audited)] if split == "test" else "abc"[k // 5 % 3]
        lab, score = (0, 3) if split == "test" else (k // 5 % 2, k % 17)
        rows.append([k % 7, kind, lab, k // 10 % 2, score, "fm"[k // 5 % 4 // 2], split])
    write(folder / "t.csv", HEADER, rows)
    (folder / "r.yaml").write_text(RECIPE.replace("TARGET", target))
    return folder / "r.yaml"


@pytest.mark.parametrize(
    ("target", "audited", "fault"),
    [
        ("kind", "ab", "target: 1 of 3 classes are in no audited row: 'c' (78 training rows); no figure speaks"),
        ("kind", "b", "target: all 80 audited rows are 'b', none is 'a' (81 training rows), 'c' (78 training"),
        ("[lab, lab2]", "abc", "target: 'lab' has one value in all 80 audited rows, so that accuracy says nothing"),
        ("[score, x]", "abc", "target: 'score' has one value in all 80 audited rows, so that R² says nothing of it"),
        ("kind", "abc", ""),
    ],
)
def test_what_audited_rows_never_show_is_told(tmp_path: Path, target: str, audited: str, fault: str) -> None:
    told = Told()
    dry_run(load_recipe(recipe_of(tmp_path, target, audited)), offline=True, progress=told)
    assert [text for text in told.warnings if text.startswith("target: ")] == [
        text for text in told.warnings if fault and text.startswith(fault)
    ]
    assert bool(fault) == any(text.startswith("target: ") for text in told.warnings)


def test_a_run_and_its_report_say_so(tmp_path: Path) -> None:
    recipe, told = load_recipe(recipe_of(tmp_path, "kind", "ab")), Told()
    report = workflow.train(recipe, out=tmp_path / "run", offline=True, progress=told).report
    (said,) = [text for text in told.warnings if text.startswith("target: ")]
    assert said in report.data_warnings
    assert as_sentence(said) in report.warnings
