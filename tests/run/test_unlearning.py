"""A model that unlearns rows, beside one that never saw them: labels that only memorising fits, and who is told."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from small_runs import trained

from mibias_cli.cli.output import report_rows
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import audit
from mibias_cli.run.assemble import assemble
from mibias_cli.run.methods.forgotten_rows import audited_rows
from mibias_cli.run.workflow import TrainedRun

RECIPE = """
version: 1
data: {{source: table, path: {path}, columns: {{target: y, split: split, forget: gone}}, attributes: {{sex: {{}}}}}}
backbone: {{name: mlp, options: {{hidden: [128], features: 32}}}}
original: {{epochs: 60}}
training: {{epochs: {epochs}, batch_size: 64, device: cpu, learning_rate: 3e-3, optimizer: adam}}
method: {method}
evaluation: {{probes: [logistic], n_bootstrap: 200, n_permutations: 0, random_control: false}}
"""


def write_rows(file: Path) -> None:
    """600 training rows, in which 60 of the target's class 1 with sex m are to be forgotten: their label is wrong."""
    g = np.random.default_rng(0)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([*(f"x{k}" for k in range(20)), "y", "sex", "split", "gone"])
        for split, n in (("train", 600), ("validation", 100), ("test", 800)):
            y = g.integers(2, size=n)
            c = np.where(g.random(n) < 0.6, y, 1 - y)
            x = g.standard_normal((n, 20))
            x[:, 0] += 1.5 * (2 * y - 1)
            x[:, 1] += 1.5 * (2 * c - 1)
            gone = np.zeros(n, dtype=bool)
            if split == "train":
                gone[np.flatnonzero((y == 1) & (c == 1))[:60]] = True
            labels = np.where(gone, 1 - y, y)
            for k in range(n):
                writer.writerow([*x[k].round(4), labels[k], "fm"[c[k]], split, "yes" if gone[k] else ""])


def run(folder: Path, method: str, epochs: int) -> TrainedRun:
    return trained(recipe(folder, method, epochs), folder / method)


def recipe(folder: Path, method: str, epochs: int) -> Recipe:
    return parse_recipe(RECIPE.format(path=folder / "t.csv", method=method, epochs=epochs), path="r.yaml")


def test_wrong_labels_are_forgotten_as_by_a_model_that_never_saw_them(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.csv")
    done, anew = run(tmp_path, "miu", 10), run(tmp_path, "retrain", 60)
    found, truth = done.report.forgetting, anew.report.forgetting
    assert found is not None
    assert truth is not None
    assert (found.n_forgotten, found.n_retained, found.n_compared) == (60, 540, 60)
    # the original is the same in both runs: it has memorised the wrong labels, at the cost of what it says of others
    assert found.before == truth.before
    assert found.before is not None
    assert found.before.forgotten_accuracy > 0.95
    # whoever never saw them contradicts them, and so does the unlearned model
    assert truth.after.forgotten_accuracy < 0.2
    assert found.after.forgotten_accuracy < 0.2
    # what was not to be forgotten is known as before, and audited rows are predicted as well as by the truth
    assert found.after.retained_accuracy > 0.98
    assert found.after.audit_accuracy > found.before.audit_accuracy + 0.04
    assert abs(found.after.audit_accuracy - truth.after.audit_accuracy) < 0.03

    # rows to forget take no part in what an audit fits anew
    assert done.report.samples.train == 540
    texts = [(done.folder / "report" / name).read_text() for name in ("leakage.md", "leakage.html")]
    assert all("Accuracy on 60 forgotten rows" in text for text in texts)
    (said,) = (text for text in done.report.verdict.summary if "to be forgotten" in text)
    right = f"{100 * found.after.forgotten_accuracy:.1f}"
    assert f"Of 60 training rows that were to be forgotten the trained head is right on {right}" in said
    rows = {title: cells for title, *cells in report_rows(done.report)}
    shares = (found.before.forgotten_accuracy, found.after.forgotten_accuracy)
    assert rows["trained head: accuracy on 60 forgotten rows"] == [f"{100 * share:.1f} %" for share in shares]


def test_the_random_control_is_not_scaled_by_forgotten_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "t.csv")
    parts = assemble(recipe(tmp_path, "retrain", 1), offline=True)
    read: list[np.ndarray] = []
    monkeypatch.setattr(audit, "fit_input_scale", lambda *_, rows, **__: read.append(rows))
    rows = audited_rows(parts)
    assert parts.data.train.forget is not None
    assert parts.data.train.forget[rows["train"]].any()
    audit._random_features(parts.new_model(), parts.backbone, parts, rows)
    assert len(read[0])
    assert not parts.data.train.forget[read[0]].any()
