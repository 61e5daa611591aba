"""`mibias init`: recipes that validate and dry-run, whatever the names in the data, and never over a file."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import lookalikes
import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from mibias_cli.backbone.bottleneck import width_of
from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.weights.model_folder import write_model_folder
from mibias_cli.cli.main import app
from mibias_cli.progress import Silent
from mibias_cli.recipe import shipped
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run import dry_run
from mibias_cli.survey import first_recipe
from mibias_cli.survey.model_choice import choose_model
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def photos(folder: Path, scanners: str = "AB", agreement: float = 0.8) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(140):
        y = k % 2
        c = y if rng.random() < agreement else 1 - y
        name = f"{('cat', 'dog')[y]}/{k}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lookalikes.draw_face(bool(y), 79 * c, 32, rng).save(folder / name)
        rows.append([name, scanners[c]])
    with (folder / "attributes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "scanner"], *rows])
    return folder


def takes_steps(recipe: Path) -> dict[str, int]:
    found = dry_run.dry_run(load_recipe(recipe, ["training.device=cpu"]), offline=True, progress=Silent())
    assert found["step_seconds"] > 0
    return dict(found["splits"])


def test_class_folders(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    out = tmp_path / "new" / "recipe.yaml"
    result = init(tmp_path / "photos", "--out", out, "--backbone", "test_resnet", "--weights", "none")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert takes_steps(out) == found["rows"]
    assert found["attributes"]["scanner"]["cells"]["cat"].keys() == {"A", "B"}
    text = out.read_text()
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n# photos: class folders of images")
    assert "guessed: attribute scanner: by its name" in text
    assert (out.parent / "recipe.schema.json").exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["recipe.schema.json", "recipe.yaml"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    out = tmp_path / "recipe.yaml"
    out.write_text("precious")
    result = init(tmp_path / "photos", "--out", out)
    assert result.exit_code == 2
    assert "recipe.yaml: exists already, and is never written over" in result.stderr
    assert out.read_text() == "precious"
    faces = lookalikes.face_folder(tmp_path / "faces", 60)
    (tmp_path / "f_manifest.csv").write_text("precious")
    result = init(faces, "--out", tmp_path / "f.yaml")
    assert result.exit_code == 2
    assert "f_manifest.csv: exists already" in result.stderr
    assert (tmp_path / "f_manifest.csv").read_text() == "precious"
    assert not (tmp_path / "f.yaml").exists()


def test_after_a_full_disk_the_same_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that was written before what goes with it would be refused as one that exists already."""
    photos(tmp_path / "photos")
    given = (tmp_path / "photos", "--out", tmp_path / "recipe.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "write_atomically", full)
        assert "No space left on device" in init(*given).stderr
        with pytest.raises(OSError, match="No space left"):
            shipped.copy_recipe("adult", tmp_path / "adult.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert init(*given).exit_code == 0


def full(path: Path, _: str, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_manifest_is_written_where_no_file_lists_the_rows(tmp_path: Path) -> None:
    faces = lookalikes.face_folder(tmp_path / "faces", 110)
    out = tmp_path / "f.yaml"
    result = init(faces, "--out", out, "--target", "sex", "--attribute", "age", "--attribute", "race",
                  "--backbone", "test_resnet", "--weights", "none", "--format", "text")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "  attribute   age: 8 classes, continuous" in result.stdout
    assert "  note: 1 malformed name(s), left out: 61_1_2017" in result.stdout
    recipe = load_recipe(out)
    assert {name: a.kind for name, a in recipe.data.attributes.items()} == {"age": "continuous", "race": "categorical"}
    assert sum(takes_steps(out).values()) == 110


def test_a_table_with_names_that_yaml_would_take_for_something_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [["yes" if k % 3 else "no", ("on", "off")[k % 2], f"{rng.normal():.3f}", k % 4] for k in range(120)]
    with (tmp_path / "t: able#1.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["y", "on: #sex", "null", "1e3"], *rows])
    out = tmp_path / "r.yaml"
    result = init(tmp_path / "t: able#1.csv", "--out", out, "--target", "y", "--attribute", "on: #sex")
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(out)
    assert (recipe.name, recipe.data.columns.target, list(recipe.data.attributes)) == ("t_able_1", "y", ["on: #sex"])
    assert takes_steps(out) == json.loads(result.stdout)["rows"]


def test_embeddings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "z.npz", features=rng.normal(size=(90, 6)).astype(np.float32))
    rows = [["xy"[k % 2], "fm"[k // 2 % 2], ("train", "val", "test")[k % 3]] for k in range(90)]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label", "sex", "split"], *rows])
    assert init(tmp_path / "z.npz", "--out", tmp_path / "r.yaml").exit_code == 0
    assert takes_steps(tmp_path / "r.yaml") == {"train": 30, "validation": 30, "audit": 30}
    # its few features end without ReLU, so that none can die
    assert load_recipe(tmp_path / "r.yaml").backbone.options["last"] == "linear"


@pytest.mark.parametrize("layout", ["waterbirds", "celeba", "split folders"])
def test_other_layouts_validate_and_load(tmp_path: Path, layout: str) -> None:
    if layout == "split folders":
        folder = tmp_path / "p"
        rows = []
        for part in ("train", "val"):
            with (photos(folder / part) / "attributes.csv").open(newline="") as file:
                rows += [[f"{part}/{path}", scanner] for path, scanner in list(csv.reader(file))[1:]]
            (folder / part / "attributes.csv").unlink()
        with (folder / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "scanner"], *rows])
    else:
        getattr(lookalikes, layout)(tmp_path)
        folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    out = tmp_path / "r.yaml"
    result = init(folder, "--out", out, "--backbone", "test_resnet", "--weights", "none")
    assert result.exit_code == 0, result.stderr
    assert takes_steps(out) == json.loads(result.stdout)["rows"]


@pytest.mark.parametrize(("agreement", "product"), [(0.7, 0.0), (0.97, 0.8), (1.0, 0.0)])
def test_a_strong_bias_has_its_say_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agreement: float, product: float
) -> None:
    """Not a weak one, and not one that never misleads: then nothing would be left to learn. Style has copies."""
    out = tmp_path / "r.yaml"
    monkeypatch.setattr("mibias_cli.survey.survey.shows_in_channels", lambda *given, **named: False)
    result = init(
        photos(tmp_path / "photos", agreement=agreement),
        *("--out", out, "--backbone", "test_resnet", "--weights", "none", "--attribute", "scanner"),
    )
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(out)
    assert recipe.debias.bias_product == product
    assert recipe.debias.weight == (0.03 if product else 1)
    assert recipe.original is not None
    assert recipe.original.start_debiasing_from == ("initial" if product else "original")
    assert ("scanner gives most targets away" in out.read_text()) == bool(product)
    takes_steps(out)


@pytest.mark.parametrize("agreement", [0.7, 1.0])
def test_images_that_show_the_attribute_in_their_channels_have_copies(tmp_path: Path, agreement: float) -> None:
    out = tmp_path / "r.yaml"
    result = init(
        photos(tmp_path / "photos", agreement=agreement),
        *("--out", out, "--backbone", "test_resnet", "--weights", "none", "--attribute", "scanner"),
    )
    assert result.exit_code == 0, result.stderr
    debias = load_recipe(out).debias
    assert debias.mix is not None
    assert (debias.mix.layer, debias.mix.copies, debias.weight, debias.bias_product) == ("conv1.0", True, "auto", 0)
    takes_steps(out)


@pytest.mark.parametrize("agreement", [0.6, 0.97])
def test_few_images_and_weights_train_the_last_stages(tmp_path: Path, agreement: float) -> None:
    weights, out = tmp_path / "weights.safetensors", tmp_path / "few.yaml"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    folder = photos(tmp_path / "photos", agreement=agreement)
    result = init(folder, "--backbone", "test_resnet", "--weights", weights, "--out", out)
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(out)
    # however weak the bias: a representation that nothing debiases was the alternative
    assert recipe.debias.bias_product == 1
    assert recipe.debias.weight == "auto"
    assert recipe.debias.mix is not None
    assert recipe.backbone.train == [recipe.debias.mix.layer, *recipe.backbone.train[1:]]
    # two classes are told apart along one dimension
    assert width_of(recipe.representation.bottleneck) == 1
    takes_steps(out)


def test_many_images_train_the_last_stages_for_fewer_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, few, many = tmp_path / "weights.safetensors", tmp_path / "few.yaml", tmp_path / "many.yaml"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    options = (photos(tmp_path / "photos"), "--backbone", "test_resnet", "--weights", weights, "--out")
    rows = json.loads(init(*options, few).stdout)["rows"]
    # what the last stage reads of an image of 160 pixels: 48 channels of 20 × 20
    kept = 4 * 48 * 20 * 20 * (sum(rows.values()) + 3 * rows["train"])
    monkeypatch.setattr(first_recipe, "_FEW_IMAGES", rows["train"])
    monkeypatch.setattr(first_recipe, "_MOST_KEPT", kept - 1)
    assert init(*options, many).exit_code == 0
    small, large = load_recipe(few), load_recipe(many)
    assert (small.training.epochs, large.training.epochs) == (8, 4)
    assert (small.backbone.cache, large.backbone.cache) == ("auto", "off")
    assert large.backbone.train == small.backbone.train
    assert large.debias == small.debias
    monkeypatch.setattr(first_recipe, "_MOST_KEPT", kept)
    init(*options, tmp_path / "kept.yaml")
    assert load_recipe(tmp_path / "kept.yaml").backbone.cache == "auto"


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_few_images_of_labels_or_numbers_train_the_last_stages(tmp_path: Path, kind: str) -> None:
    weights, out = tmp_path / "weights.safetensors", tmp_path / "few.yaml"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    folder = photos(tmp_path / "photos")
    rng = np.random.default_rng(0)
    with (folder / "attributes.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        found = ["|".join(np.array(["fur", "tail", "ball"])[rng.random(3) < 0.5]) or "tail" for _ in rows]
        y = found if kind == "multilabel" else [f"{v:.3f}" for v in rng.normal(size=len(rows))]
        csv.writer(file).writerows([["path", "scanner", "aim"], *([*row, v] for row, v in zip(rows, y, strict=True))])
    options = ("--target", "aim", "--attribute", "scanner", "--root", folder, "--out", out)
    result = init(tmp_path / "t.csv", *options, "--backbone", "test_resnet", "--weights", weights)
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(out)
    assert recipe.data.target_kind == kind
    takes_steps(out)
    assert recipe.backbone.train != "all"
    # each label is two classes, and a rare one stays rare; of numbers there is no product
    assert (recipe.debias.bias_product, recipe.debias.class_prior) == (1 if kind == "multilabel" else 0, "training")
    assert recipe.debias.weight == "auto"
    # a dimension for each score
    assert width_of(recipe.representation.bottleneck) == (3 if kind == "multilabel" else 1)


def test_an_attribute_that_settles_the_target_leaves_a_product_nothing_to_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it has more values than the target has classes; and whatever stands beside it."""
    monkeypatch.setattr("mibias_cli.survey.survey.shows_in_channels", lambda *given, **named: False)
    folder = photos(tmp_path / "photos", agreement=0.97)
    with (folder / "attributes.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    with (folder / "attributes.csv").open("w", newline="") as file:
        sites = [[*row, row[0].partition("/")[0] + str(k // 2 % 2)] for k, row in enumerate(rows)]
        csv.writer(file).writerows([[*header, "site"], *sites])
    common = (folder, "--backbone", "test_resnet", "--weights", "none", "--attribute")
    for k, (names, product) in enumerate({("site",): 0.0, ("scanner", "site"): 0.0, ("scanner",): 0.8}.items()):
        wanted = [part for name in names for part in ("--attribute", name)][1:]
        result = init(*common, *wanted, "--out", tmp_path / f"{k}.yaml")
        assert result.exit_code == 0, result.stderr
        assert load_recipe(tmp_path / f"{k}.yaml").debias.bias_product == product, names
    # nor is there one for the last stages of few images: there only copies in other styles show what misleads
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    init(folder, "--backbone", "test_resnet", "--weights", weights, "--attribute", "site", "--out", tmp_path / "w.yaml")
    recipe = load_recipe(tmp_path / "w.yaml")
    assert recipe.debias.bias_product == 0
    assert recipe.debias.weight == "auto"
    assert recipe.debias.mix is not None
    assert recipe.backbone.train == [recipe.debias.mix.layer, *recipe.backbone.train[1:]]
    assert "no sample itself shows a class with another value" in (tmp_path / "w.yaml").read_text()
    takes_steps(tmp_path / "w.yaml")


def test_the_model_suits_the_images(tmp_path: Path) -> None:
    small = survey(photos(tmp_path / "small"), Wishes())
    assert choose_model(small, backbone=None, weights="none").input_size == 32
    for path in (tmp_path / "small").rglob("*.png"):
        Image.new("RGB", (400, 300)).save(path)
    large = survey(tmp_path / "small", Wishes())
    chosen = choose_model(large, backbone=None, weights="pretrained")
    assert (chosen.name, chosen.weights, chosen.input_size) == ("resnet18", "pretrained", None)


@pytest.mark.parametrize(
    ("name", "size", "first", "mixes"),
    [
        ("vit_tiny_patch16_224", 160, "blocks.5", True),
        ("mobilenetv3_small_050", 160, "blocks.4", True),
        ("pit_ti_224", None, "transformers.2", False),  # weights for one size; blocks take two tensors
        ("crossvit_tiny_240", None, "blocks.1", False),  # runs at one size
    ],
)
def test_size_and_stages_suit_the_family(tmp_path: Path, name: str, size: int | None, first: str, mixes: bool) -> None:
    found = survey(photos(tmp_path / "photos"), Wishes())
    chosen = choose_model(found, backbone=name, weights="weights.safetensors")
    assert (chosen.input_size, chosen.last_stages[0], chosen.mixes) == (size, first, mixes)
    assert ("mix:" in first_recipe.first_recipe(found, chosen, source=tmp_path, out=tmp_path / "a.yaml")[0]) == mixes


def test_a_model_folder_trains_the_last_stages(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    backbone = create_backbone("test_resnet")
    (tmp_path / "model").mkdir()
    write_model_folder(backbone, backbone.module, tmp_path / "model")
    result = init(folder, "--backbone", f"local-dir:{tmp_path / 'model'}", "--out", tmp_path / "a.yaml")
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(tmp_path / "a.yaml")
    assert recipe.backbone.train == ["layer4"]
    assert recipe.backbone.freeze_batchnorm
    takes_steps(tmp_path / "a.yaml")


def test_weights_that_are_not_here_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mibias_cli.survey.model_choice.weights_to_fetch", lambda name: f"https://hub/{name}")
    photos(tmp_path / "photos")
    result = init(tmp_path / "photos", "--out", tmp_path / "a.yaml")
    assert load_recipe(tmp_path / "a.yaml").backbone.weights == "none"
    assert (
        "resnet18 starts from random weights: pretrained is better, and fetches https://hub/resnet18" in result.stderr
    )
    monkeypatch.setattr("mibias_cli.survey.model_choice.weights_to_fetch", lambda name: None)
    init(tmp_path / "photos", "--out", tmp_path / "b.yaml")
    assert load_recipe(tmp_path / "b.yaml").backbone.weights == "pretrained"


def test_what_is_wrong_ends_with_two(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    for arguments, message in (
        ([tmp_path / "nowhere"], "there is no such file or folder"),
        ([tmp_path / "photos", "--attribute", "scaner"], "did you mean 'scanner'"),
        ([tmp_path / "photos", "--backbone", "resnet81"], "backbone resnet81: unknown"),
        ([tmp_path / "photos", "--backbone", "resnet81", "--weights", "none"], "backbone resnet81: unknown"),
        ([tmp_path / "photos", "--weights", "pretraind"], "did you mean 'pretrained'"),
    ):
        result = init(*arguments, "--out", tmp_path / "a.yaml")
        assert message in result.stderr
        assert result.exit_code == 2
        assert not (tmp_path / "a.yaml").exists()


def test_before_had_the_same_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain training of as many epochs, from the weights that debiasing starts from."""
    monkeypatch.setattr("mibias_cli.survey.model_choice.weights_to_fetch", lambda name: None)
    init(photos(tmp_path / "photos"), "--out", tmp_path / "a.yaml")
    (tmp_path / "t.csv").write_text("y,sex,age\n" + "".join(f"{k % 2},{'fm'[k % 3 > 0]},{k % 7}\n" for k in range(120)))
    init(tmp_path / "t.csv", "--target", "y", "--attribute", "sex", "--out", tmp_path / "b.yaml")
    for recipe in (load_recipe(tmp_path / "a.yaml"), load_recipe(tmp_path / "b.yaml")):
        assert recipe.original is not None
        assert recipe.original.epochs == recipe.training.epochs
        assert recipe.original.start_debiasing_from == "initial"
