"""Whole runs on every kind of target, on drawn tables and embeddings: several labels, numbers, and none."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_runs import metrics

from mibias_cli.backbone.embed import embed
from mibias_cli.export.load import load_export
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.schema_file import load_schema
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble, load_run_model
from mibias_cli.run.dry_run import dry_run

TARGETS = {
    "regression": ("data.columns.target=age", "data.target_kind=regression"),
    "multilabel": ("data.columns.target=[tall, old]",),
    "none": ("data.columns.target=null",),
}
RECIPE = """
version: 1
name: tiny
data:
  source: table
  path: t.csv
  features: [u0, u1, u2, u3]
  attributes: {sex: {}, site: {}}
backbone: {name: mlp, options: {hidden: [16], features: 8}}
debias: {weight: 0.5, queue_batches: 4, critic: {steps: 2, hidden: [16]}}
training: {epochs: 2, batch_size: 64, log_every_steps: 2}
evaluation: {probes: [logistic], n_bootstrap: 100, n_permutations: 19}
"""


def draw(folder: Path, n: int = 900) -> dict[str, np.ndarray]:
    """Four inputs, the first two of which tell of sex and site; one row in ten does not say its sex."""
    g = np.random.default_rng(0)
    sex, site = g.integers(0, 2, n), g.integers(0, 3, n)
    u = g.normal(size=(n, 4))
    u[:, 0] += 1.5 * (2 * sex - 1)
    u[:, 1] += 1.5 * (site - 1)
    age = 40 + 10 * (u[:, 2] + 0.5 * u[:, 0] + 0.3 * g.normal(size=n))
    columns: dict[str, np.ndarray] = {f"u{k}": u[:, k] for k in range(4)}
    columns |= {"age": age, "tall": (u[:, 2] > 0).astype(int), "old": (u[:, 3] + 0.5 * sex > 0.3).astype(int)}
    columns["sex"] = np.where(g.random(n) < 0.1, "", np.array(["f", "m"])[sex])
    columns["site"] = np.array(["a", "b", "c"])[site]
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return columns


def recipe(folder: Path, kind: str, *overrides: str) -> Recipe:
    return parse_recipe(RECIPE, path=str(folder / "r.yaml"), overrides=[*TARGETS[kind], *overrides])


def train(given: Recipe, out: Path, **options: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"resume": None, "overwrite": False, "offline": True, "progress": Silent()} | options
    return workflow.train(given, out=out, **arguments).report.to_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    draw(folder)
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> Mapping[str, Path]:
    for kind in TARGETS:
        train(recipe(folder, kind), folder / kind)
    return {kind: folder / kind for kind in TARGETS}


def report_of(run: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "report" / "leakage.json").read_text())
    return report


def features_of(folder: Path, run: Path, kind: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The data, and the debiased features of training and audited samples, cut at ten standard deviations."""
    parts = assemble(recipe(folder, kind), offline=True)
    model = load_run_model(parts, run / "checkpoints" / "best.safetensors")
    splits = (parts.data.train, parts.data.audit)
    z = {s.name: embed(model.extractor, s, batch_size=64).features.astype(np.float64) for s in splits}
    mean, far = z["train"].mean(axis=0), 10 * z["train"].std(axis=0)
    return parts.data, {name: np.clip(features, mean - far, mean + far) for name, features in z.items()}


@pytest.mark.parametrize("kind", TARGETS)
def test_every_kind_of_target_is_trained_audited_and_reported(runs: Mapping[str, Path], kind: str) -> None:
    run = runs[kind]
    report = report_of(run)
    jsonschema.validate(report, load_schema())
    for sort in ("html", "md"):
        text = (run / "report" / f"leakage.{sort}").read_text()
        assert re.search(r"\b(None|nan)\b", text) is None
    conditional = report["attributes"]["site"]["after"]["conditional_leakage_bits"]
    assert (conditional is None) == (kind == "none")
    assert 0 < report["similarity"]["original_r2"] <= 1
    if kind == "none":
        assert report["task"] == {"loaded": None, "before": None, "after": None, "change": None}
        assert "There is no task" in report["verdict"]["text"]
    else:
        assert report["task"]["after"]["kind"] == kind
    checked = [r for r in metrics(run) if r["kind"] == "validation"]
    named = {
        "regression": {"validation/r2", "validation/mae", "validation/rmse", "validation/weighted_rmse"},
        "multilabel": {"validation/accuracy", "validation/exact_match", "validation/weighted_accuracy"},
        "none": {"validation/loss"},
    }[kind]
    assert named <= set(checked[-1])
    assert "validation/sex/leakage_bits" in checked[-1]


def test_figures_of_numbers_are_ridge_regressions_by_hand(folder: Path, runs: Mapping[str, Path]) -> None:
    found = report_of(runs["regression"])["task"]["after"]
    data, z = features_of(folder, runs["regression"], "regression")
    y = {s.name: data.target.in_units(s.y)[:, 0] for s in (data.train, data.audit)}
    predicted = make_pipeline(StandardScaler(), Ridge()).fit(z["train"], y["train"]).predict(z["audit"])
    assert found["r2"] == pytest.approx(r2_score(y["audit"], predicted), abs=1e-6)
    assert found["mae"] == pytest.approx(mean_absolute_error(y["audit"], predicted), rel=1e-6)
    own = data.audit.c["site"][:, 0] == 0
    row = next(row for row in found["group_errors"] if (row["attribute"], row["c"]) == ("site", "a"))
    assert row["n"] == own.sum()
    assert row["mae"] == pytest.approx(mean_absolute_error(y["audit"][own], predicted[own]), rel=1e-6)


def test_figures_of_labels_are_logistic_regressions_by_hand(folder: Path, runs: Mapping[str, Path]) -> None:
    found = report_of(runs["multilabel"])["task"]["after"]
    data, z = features_of(folder, runs["multilabel"], "multilabel")
    right = []
    for k, name in enumerate(("tall", "old")):
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(z["train"], data.train.y[:, k])
        probability, y = head.predict_proba(z["audit"])[:, 1], data.audit.y[:, k]
        right.append((probability > 0.5) == y)
        assert found["labels"][name]["auroc"] == pytest.approx(roc_auc_score(y, probability), abs=1e-4)
        assert found["labels"][name]["accuracy"] == pytest.approx(right[-1].mean(), abs=0.01)
    assert found["accuracy"] == pytest.approx(np.mean(right), abs=0.01)
    assert found["exact_match"] == pytest.approx(np.logical_and(*right).mean(), abs=0.01)


@pytest.mark.parametrize("kind", TARGETS)
def test_an_export_has_the_head_that_its_target_needs(folder: Path, runs: Mapping[str, Path], kind: str) -> None:
    exported = load_export(runs[kind] / "export")
    assert exported.info.target_kind == (None if kind == "none" else kind)
    data, z = features_of(folder, runs[kind], kind)
    card = (runs[kind] / "export" / "README.md").read_text()
    if exported.head is None:
        assert kind == "none"
        assert "stayed close to the original's" in card
        return
    outputs = exported.head(torch.from_numpy(z["audit"]).float())
    assert outputs.shape == data.audit.y.shape
    report = report_of(runs[kind])
    if kind == "regression":
        numbers = exported.head.in_units(outputs).detach().numpy()
        assert report["task"]["after"]["head_r2"] == pytest.approx(
            r2_score(data.target.in_units(data.audit.y), numbers), abs=1e-4
        )
        assert "1 number) is in" in card
    else:
        assert report["task"]["after"]["head_accuracy"] == pytest.approx(
            ((outputs > 0).numpy() == data.audit.y).mean(), abs=1e-4
        )
        assert "labels tall, old" in card


def test_an_export_without_a_head_is_audited_again(folder: Path, runs: Mapping[str, Path], tmp_path: Path) -> None:
    again = workflow.evaluate(
        str(runs["none"] / "export"), recipe=recipe(folder, "none"), out=tmp_path / "again", offline=True,
        progress=Silent(),
    ).report.to_dict()  # fmt: skip
    jsonschema.validate(again, load_schema())
    assert again["task"] == {"loaded": None, "before": None, "after": None, "change": None}
    assert again["similarity"]["original_r2"] is None
    known = report_of(runs["none"])["attributes"]["site"]["after"]["leakage_bits"]["estimate"]
    assert again["attributes"]["site"]["after"]["leakage_bits"]["estimate"] == pytest.approx(known, abs=1e-4)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_dry_run_counts_cells_of_strata(folder: Path, kind: str) -> None:
    found = dry_run(recipe(folder, kind), offline=True, progress=Silent())
    rows = found["cells"]["train"]["site"]
    assert len(rows) == {"regression": 5, "multilabel": 4, "none": 1}[kind]
    assert sum(sum(row.values()) for row in rows.values()) == found["splits"]["train"]


class Stopped(Exception):
    """Raised in the midst of training, as a kill would come."""


class StopsAt(Silent):
    def __init__(self, step: int) -> None:
        self._step = step

    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        if metrics is not None and done == self._step:
            raise Stopped


def test_distillation_resumes_to_the_same_weights(folder: Path, runs: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(recipe(folder, "none", "training.checkpoint_every_steps=3"), tmp_path / "cut", progress=StopsAt(14))
    resumed = tmp_path / "cut"
    train(workflow.load_run_recipe(resumed), resumed, resume=resumed)
    whole = load_file(runs["none"] / "checkpoints" / "best.safetensors")
    found = load_file(resumed / "checkpoints" / "best.safetensors")
    assert whole.keys() == found.keys()
    assert all(torch.equal(whole[key], found[key]) for key in whole)
