"""Runs on kept outputs of frozen stages: the figures of a run on images, without reading any in its epochs."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import best, metrics, same, trained

from mibias_cli.data.files.images import ImageReader
from mibias_cli.data.sources.colour import ColouredReader
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.training.loop import StageTrainer

DIGITS = """
version: 1
name: frozen
data: {source: digits, variance: 0.05}
backbone: {name: test_resnet, input_size: 32, train: none}
representation: {bottleneck: 8}
original: {epochs: 1}
debias: {weight: 0.5, queue_batches: 4, critic: {steps: 1, hidden: [16]}, budget_bits: 0.5, budget: {max_samples: 300}}
training: {epochs: 3, batch_size: 160, log_every_steps: 2, device: cpu}
evaluation: {probes: [logistic], n_bootstrap: 50, max_samples: 400}
"""


def recipe(*overrides: str, text: str = DIGITS) -> Recipe:
    return parse_recipe(text, path="frozen.yaml", overrides=overrides)


def figures(run: Path) -> dict[str, Any]:
    report = json.loads((run / "report" / "leakage.json").read_text())
    # what says when and by which recipe it was made
    for key in ("created", "recipe_sha256"):
        del report["provenance"][key]
    return report


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def of_cache(self) -> list[str]:
        return [text for text in self.notes if text.startswith("backbone.cache")]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images are read, and how many of them while a stage trains (two entries: all, in stages)."""
    counts = [0, 0]
    training = False

    def counting(kind: type) -> None:
        real = kind.read

        def read(self: Any, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
            counts[0] += len(rows)
            counts[1] += len(rows) * training
            return real(self, rows, epoch)

        monkeypatch.setattr(kind, "read", read)

    fit = StageTrainer.fit

    def fitting(self: StageTrainer, *arguments: Any) -> None:
        nonlocal training
        training = True
        try:
            fit(self, *arguments)
        finally:
            training = False

    counting(ImageReader)
    counting(ColouredReader)
    monkeypatch.setattr(StageTrainer, "fit", fitting)
    return counts


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param((), id="all frozen"),
        pytest.param(("debias.balance_by=draws", "debias.budget_bits=null", "original=null"), id="drawn rows"),
        pytest.param(
            ("backbone.train=[layer4]", "representation.layers=[features, layer4]", "representation.pool=mean"),
            id="last stage trains",
        ),
        pytest.param(
            ("backbone.name=test_vit", "backbone.input_size=160", "backbone.train=[blocks.5, norm]", "original=null",
             "training.epochs=1", "debias.budget_bits=null"), id="last block of a transformer",
        ),
        pytest.param(("backbone.name=digit_cnn", "backbone.input_size=28", "debias.erase=leace"), id="digit_cnn"),
    ],
)  # fmt: skip
def test_a_run_with_the_cache_is_one_without_it_to_the_bit(
    tmp_path: Path, reads: list[int], overrides: tuple[str, ...]
) -> None:
    if "debias.erase=leace" in overrides:
        pytest.importorskip("concept_erasure")
    told = Told()
    trained(recipe("backbone.cache=off", *overrides), tmp_path / "off")
    assert reads[1] > 0
    reads[:] = [0, 0]
    trained(recipe(*overrides), tmp_path / "on", progress=told)
    assert reads[1] == 0, "no image is read in the epochs"
    assert any("MB; they are kept in" in text for text in told.of_cache())
    assert metrics(tmp_path / "on") == metrics(tmp_path / "off")
    assert same(best(tmp_path / "on"), best(tmp_path / "off"))
    assert figures(tmp_path / "on") == figures(tmp_path / "off")
