"""What would stop the audit or the export later is found by a dry run, and before a run's folder is claimed."""

from __future__ import annotations

import re
from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from PIL import Image
from told import Told

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.errors import BackboneError, DataError, EvaluationError, ExportError, MibiasError, RecipeError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow
from mibias_cli.run.before import checks
from mibias_cli.run.dry_run import dry_run

RECIPE = """
version: 1
name: t
data:
  source: manifest
  path: m.csv
  columns: { target: label, split: split }
  splits: { validation: val }
  attributes: { sex: {} }
backbone: { name: digit_cnn, options: { width: 4, hidden: 8, features: 8 }, input_size: 28 }
debias: { estimator: classifier, queue_batches: 2, critic: { steps: 1 } }
training: { epochs: 1, batch_size: 32 }
evaluation: { n_bootstrap: 100, n_permutations: 0, probes: [logistic] }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = []
    for k, (y, c) in enumerate(layouts.pairs(160)):
        Image.fromarray(np.full((28, 28, 3), k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
        rows.append([f"{k}.png", "xy"[y], "fm"[c], ("train", "train", "val", "test")[k // 2 % 4]])
    layouts.write(tmp_path / "m.csv", ["path", "label", "sex", "split"], rows)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path / "r.yaml"


def change(recipe: Path, column: int, value: str, where: str = "test") -> None:
    """Another value in a column of the rows of one split."""
    file = recipe.with_name("m.csv")
    rows = [line.split(",") for line in file.read_text().splitlines()]
    for row in rows:
        row[column] = value if row[3] == where else row[column]
    file.write_text("\n".join(",".join(row) for row in rows))


def assert_both_refuse(recipe: Recipe, error: type[MibiasError], words: str, tmp_path: Path) -> None:
    """A dry run and a run say the same, and the run has written nothing."""
    with pytest.raises(error, match=words):
        dry_run(recipe, offline=True, progress=Silent())
    with pytest.raises(error, match=words):
        workflow.train(recipe, out=tmp_path / "run", offline=True)
    assert not (tmp_path / "run").exists()


def test_a_sound_recipe_passes(recipe: Path) -> None:
    found = dry_run(load_recipe(recipe), offline=True, progress=Silent(), check_files=True)
    assert found["splits"] == {"train": 80, "validation": 40, "audit": 40}


def test_attributes_that_do_not_vary_where_they_are_audited(recipe: Path, tmp_path: Path) -> None:
    change(recipe, 2, "f")
    assert_both_refuse(load_recipe(recipe), EvaluationError, "audited split holds one class only", tmp_path)
    change(recipe, 2, "")
    assert_both_refuse(load_recipe(recipe), EvaluationError, "audited split holds no class at all", tmp_path)


def test_too_few_audited_rows(recipe: Path, tmp_path: Path) -> None:
    file = recipe.with_name("m.csv")
    lines = file.read_text().splitlines()
    kept = [line for k, line in enumerate(lines) if not line.endswith("test") or k <= 40]
    file.write_text("\n".join(kept))
    assert_both_refuse(load_recipe(recipe), EvaluationError, "audited split: 10 samples are too few, 20", tmp_path)
    # enough of them, and too few whose attribute is known
    file.write_text("\n".join(lines))
    change(recipe, 2, "")
    text = file.read_text().replace("7.png,y,,test", "7.png,y,m,test").replace("6.png,x,,test", "6.png,x,f,test")
    file.write_text(text)
    assert_both_refuse(load_recipe(recipe), EvaluationError, "probes would be .* samples, 10 are needed", tmp_path)


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ("evaluation.layers=[conv9]", BackboneError, "evaluation.layers: the backbone has no module 'conv9'"),
        ("representation.layers=[conv9]", BackboneError, "representation.layers: the backbone has no module"),
        ("training.select.metric=validation/acuracy", MibiasError, "acuracy"),
        ("data.root=nowhere", DataError, "nowhere: no such folder; set data.root"),
        ("evaluation.fidelity_columns=[age]", DataError, "no column 'age'"),
    ],
)
def test_names_of_nothing(recipe: Path, tmp_path: Path, setting: str, error: type[MibiasError], words: str) -> None:
    assert_both_refuse(load_recipe(recipe, [setting]), error, words, tmp_path)


def test_crossings_of_no_attribute_are_found_by_validate(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"crossings.*the data have no attribute 'sx', did you mean 'sex'"):
        load_recipe(recipe, ["evaluation.crossings=[[sex,sx]]"])


def test_images_that_cannot_be_read(recipe: Path, tmp_path: Path) -> None:
    # 6 and 7 are audited, 2 trains
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:60])
    assert_both_refuse(
        load_recipe(recipe), DataError, "1 image.s. cannot be read, of 40 of the audited.*7.png", tmp_path
    )
    (tmp_path / "7.png").write_bytes((tmp_path / "6.png").read_bytes())
    (tmp_path / "2.png").write_text("no image")
    with pytest.raises(DataError, match="1 image.s. cannot be read, of all images: .*2.png"):
        dry_run(load_recipe(recipe), offline=True, progress=Silent(), check_files=True)


def test_bad_images_are_skipped_counted_and_listed(recipe: Path, tmp_path: Path) -> None:
    for k in (0, 7):
        (tmp_path / f"{k}.png").write_text("no image")
    (tmp_path / "8.png").unlink()
    skips = load_recipe(recipe, ["data.on_bad_sample=skip"])
    told = Told()
    found = dry_run(skips, offline=True, progress=told, check_files=True)
    assert found["splits"] == {"train": 78, "validation": 40, "audit": 39}
    (note,) = [note for note in told.notes if "on_bad_sample" in note]
    assert "3 image(s) left out, which cannot be read (data.on_bad_sample: skip): row 2 (0.png), row 9 (7.png)" in note


def test_weights_that_fit_in_part_are_said(recipe: Path, tmp_path: Path) -> None:
    module = create_backbone("digit_cnn", options={"width": 4, "hidden": 8, "features": 8}, input_size=28).module
    state = {name: tensor for name, tensor in module.state_dict().items() if "conv1" not in name}
    torch.save(state, tmp_path / "w.pth")
    told = Told()
    dry_run(load_recipe(recipe, [f"backbone.weights={tmp_path / 'w.pth'}"]), offline=True, progress=told)
    assert any("missing: conv1" in warning for warning in told.warnings), told.warnings


def test_formats_without_their_packages(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ONNX_PACKAGES", ("no_such_package",))
    loaded = load_recipe(recipe, ["export.formats=[safetensors,onnx]"])
    assert_both_refuse(loaded, ExportError, "export.formats: onnx needs no_such_package", tmp_path)


def test_attributes_without_two_values_in_training_leave_nothing_to_take_out(recipe: Path, tmp_path: Path) -> None:
    change(recipe, 2, "f", where="train")
    words = r"debias: no two values in training rows: sex \(known in 80 of 80\).* debias.estimator: none"
    assert_both_refuse(load_recipe(recipe), MibiasError, words, tmp_path)
    assert_both_refuse(load_recipe(recipe, ["debias.weight=0.5", "debias.balance=none"]), MibiasError, words, tmp_path)
    dry_run(load_recipe(recipe, ["debias.estimator=none"]), offline=True, progress=Silent())


@pytest.mark.parametrize("method", ["group_dro", "dfr"])
def test_a_class_of_which_no_row_s_attribute_is_known_would_never_be_learned(
    recipe: Path, tmp_path: Path, method: str
) -> None:
    file = recipe.with_name("m.csv")
    file.write_text(re.sub(r",y,[fm],train", ",y,,train", file.read_text()))
    words = f"method: {method} trains on rows whose sex is known, 40 of 80, and none of them is of class y"
    assert_both_refuse(load_recipe(recipe, [f"method={method}"]), MibiasError, words, tmp_path)
    dry_run(load_recipe(recipe, ["method=badd"]), offline=True, progress=Silent())


def test_what_cannot_be_erased_is_said_before_training(recipe: Path, tmp_path: Path) -> None:
    change(recipe, 2, "m", where="train")
    file = recipe.with_name("m.csv")
    file.write_text(re.sub(r",m,train", ",f,train", file.read_text(), count=30))
    words = "transport: a class of the attributes has 30 training rows, and 40 are needed"
    assert_both_refuse(load_recipe(recipe, ["debias.erase=transport"]), MibiasError, words, tmp_path)


def test_units_that_cannot_be_recycled(recipe: Path, tmp_path: Path) -> None:
    given = ["debias.recycle_every_steps=5", "representation.layers=[output]"]
    words = r"debias.recycle_every_steps: no penalised layer can be recycled \(pool1, pool2 can"
    assert_both_refuse(load_recipe(recipe, given), MibiasError, words, tmp_path)


def test_a_penalty_on_what_does_not_train_would_change_nothing(recipe: Path, tmp_path: Path) -> None:
    words = "representation.layers: nothing that trains comes before features, so .* backbone.train: all.*bottleneck"
    assert_both_refuse(load_recipe(recipe, ["backbone.train=none"]), BackboneError, words, tmp_path)
    early = ["backbone.train=[fc1]", "representation.layers=[conv1]"]
    words = "nothing that trains comes before conv1"
    assert_both_refuse(load_recipe(recipe, early), BackboneError, words, tmp_path)
    # what the head says does change, and an eraser changes features that do not train
    for fitting in ("representation.layers=[output]", "debias.erase=leace", "debias.weight=0", "debias.estimator=none"):
        dry_run(load_recipe(recipe, ["backbone.train=none", fitting]), offline=True, progress=Silent())


@pytest.mark.parametrize("method", ["mi", "contrastive"])
def test_a_model_of_which_nothing_trains(recipe: Path, tmp_path: Path, method: str) -> None:
    network = "backbone={name: test_resnet, input_size: 32, train: none}"
    given = [network, "data.columns.target=null", "training.augment=true", f"method={method}"]
    words = "backbone.train: nothing of the extractor trains, nor is there"
    assert_both_refuse(load_recipe(recipe, given), BackboneError, words, tmp_path)


def test_one_sample_by_itself_has_no_variance(recipe: Path, tmp_path: Path) -> None:
    """At 32 × 32 pixels the last maps of this network have one pixel."""
    given = ["backbone={name: test_resnet, input_size: 32}", "training.batch_size=1"]
    words = "training.batch_size: 1 leaves one sample by itself, .*freeze_batchnorm: true"
    assert_both_refuse(load_recipe(recipe, given), BackboneError, words, tmp_path)
    dry_run(load_recipe(recipe, [*given, "backbone.freeze_batchnorm=true"]), offline=True, progress=Silent())
