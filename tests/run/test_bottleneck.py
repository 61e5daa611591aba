"""Whole runs with an MLP bottleneck: standardised once, trained with its own weight decay, exported, audited again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import best, same, stop_at_step, tiny, train_alone, trained
from told import Told

from mibias_cli.backbone.embed import embed
from mibias_cli.errors import RecipeError
from mibias_cli.export.load import load_export, load_extractor
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble, load_run_model
from mibias_cli.run.dry_run import dry_run
from mibias_cli.run_folder import RunFolder

HEAD = "version: 1\nname: a\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"
QUICK = ("evaluation.max_samples=300", "evaluation.n_permutations=0", "evaluation.n_bootstrap=100")
SHAPE = (
    *QUICK,
    "representation={layers: [features], bottleneck: {width: 5, hidden: [12], input_dropout: 0.1}}",
    "training.head_weight_decay=10",
    "training.learning_rate=0.002",
    "training.interpolation=0.8",
    "training.epochs=2",
    "original.start_debiasing_from=initial",
)
LINEAR = (
    *QUICK,
    "backbone={name: test_resnet, train: none, channels: 3, input_size: 32}",
    "representation={layers: [features], bottleneck: {width: 5, hidden: []}}",
    "data.size=32",
    "original=null",
    "training.epochs=1",
    "debias.estimator=closed_form",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bottleneck") / "run"
    trained(tiny(*SHAPE), out)
    return out


def test_features_are_standardised_by_the_training_split_before_the_first_step(run: Path) -> None:
    recipe = workflow.load_run_recipe(run)
    parts = assemble(recipe, offline=True)
    pooled = embed(parts.new_model().extractor, parts.data.train, batch_size=256).backbone_features
    state, first = best(run), load_file(run / "checkpoints" / "original.safetensors")
    # of eight untrained ReLU units some say nothing
    alive = pooled.std(axis=0) > 0
    assert alive.any()
    for name, wanted in (("mean", pooled.mean(axis=0)), ("scale", pooled.std(axis=0))):
        key = f"extractor.bottleneck.standard.{name}"
        np.testing.assert_allclose(state[key][alive], wanted[alive], rtol=1e-3)
        # the original's and the debiased one's, which starts afresh
        assert torch.equal(state[key], first[key])
    assert not torch.equal(state["extractor.bottleneck.fc1.weight"], first["extractor.bottleneck.fc1.weight"])


def test_it_is_exported_and_loads_as_it_was_audited(run: Path, tmp_path: Path) -> None:
    parts = assemble(workflow.load_run_recipe(run), offline=True)
    model = load_run_model(parts, RunFolder(run).best)
    wanted = embed(model.extractor, parts.data.audit, batch_size=256).features
    loaded = load_export(run / "export")
    assert np.array_equal(embed(loaded.extractor, parts.data.audit, batch_size=256).features, wanted)
    assert wanted.shape[1] == load_extractor(run).n_features == 5
    again = workflow.evaluate(run / "export", recipe=parts.recipe, out=tmp_path / "a", offline=True).report.to_dict()
    first = json.loads((run / "report" / "leakage.json").read_text())
    found, known = (r["attributes"]["colour"]["after"]["leakage_bits"] for r in (again, first))
    assert found == pytest.approx(known)


def test_killed_and_resumed_is_as_never_killed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at_step(monkeypatch, 22)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny(*SHAPE), tmp_path / "run")
    monkeypatch.undo()
    train_alone(tiny(*SHAPE), tmp_path / "none", resume=tmp_path / "run")
    assert same(best(run), best(tmp_path / "run"))


def test_the_terminal_says_what_the_backbone_alone_gives(run: Path, tmp_path: Path) -> None:
    told = Told()
    workflow.export(run, out=tmp_path / "mlp", progress=told)
    assert len(told.warnings) == 1
    assert "The backbone alone is not debiased" in told.warnings[0]
    linear, told = train_alone(tiny(*LINEAR), tmp_path / "linear"), Told()
    folder = workflow.export(linear, progress=told)
    assert any("timm alone gives the debiased features (5 wide)" in text for text in told.notes)
    # that it was not audited, and nothing of the backbone
    assert len(told.warnings) == 1
    assert "has no leakage.json" in told.warnings[0]
    assert load_export(folder).info.folded


def test_a_dry_run_counts_what_trains() -> None:
    """Of a frozen backbone only bottleneck and head: (96 + 1) · 5 and (5 + 1) · 10."""
    found = dry_run(tiny(*LINEAR), offline=True, progress=Silent())
    assert found["n_trainable"] == 97 * 5 + 6 * 10


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"representation": "{bottleneck: {width: 0}}"}, "representation.bottleneck.width: must be greater than 0"),
        ({"representation": "{bottleneck: {widht: 3}}"}, "representation.bottleneck.widht: unknown key, did you mean"),
        ({"representation": "{bottleneck: wide}"}, "representation.bottleneck: must be a whole number, not 'wide'"),
        ({"representation": "{bottleneck: {dropout: 1}}"}, "representation.bottleneck.dropout: must be less than 1"),
        (
            {"training": "{optimizer: adam, head_weight_decay: 1}"},
            "training.head_weight_decay: .* set training.optimiz",
        ),
        (
            {"training": "{interpolation: 0.5, average_decay: 0.9}"},
            "training.interpolation: exports other weights than training.average_decay; leave one",
        ),
    ],
)
def test_faults_have_their_place_and_are_said_once(more: dict[str, Any], message: str) -> None:
    lines = "\n".join(f"{key}: {value}" for key, value in more.items())
    text = f"{HEAD}{lines}\n"
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(text, path="r.yaml")
    assert str(caught.value).count("r.yaml:") == 1


@pytest.mark.parametrize("written", ["{}", "8", "null", "{width: 3, hidden: [], input_dropout: 0.2}"])
def test_a_recipe_survives_writing(written: str) -> None:
    recipe = parse_recipe(f"{HEAD}representation: {{bottleneck: {written}}}\n", path="r.yaml")
    assert parse_recipe(dump_recipe(recipe), path="r.yaml") == recipe
