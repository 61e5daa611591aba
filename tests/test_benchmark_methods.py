"""Every method of the image benchmarks is a recipe that holds, whatever becomes of the shipped recipe."""

from __future__ import annotations

import importlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mibias_cli.recipe.load import parse_recipe
from mibias_cli.survey import survey

ROOT = Path(__file__).parents[1]
RECIPES = {"colored_mnist": "colored_mnist.yaml", "taste": "quickstart.yaml"}
RIVALS = {
    "plain", "grey", "reweight", "hsic", "lntl", "vclub", "cross_sample", "paper", "paper_10", "released", "penalty",
}  # fmt: skip


@pytest.mark.parametrize("module", RECIPES)
def test_methods_are_recipes_and_rivals_have_nothing_of_ours(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    path = ROOT / "recipes" / RECIPES[module]
    methods = importlib.import_module(module).METHODS
    assert {"mibias", "plain", "paper"} <= set(methods)
    for name, overrides in methods.items():
        recipe = parse_recipe(path.read_text(), path=str(path), overrides=overrides)
        if name in RIVALS:
            assert recipe.debias.bias_product == 0, name
            assert recipe.training.average_decay is None, name


def test_recipes_without_a_target_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    unlabelled = importlib.import_module("unlabelled")
    for name, overrides in unlabelled.TRAINED.items():
        recipe = parse_recipe(unlabelled.RECIPE, path=name, overrides=["backbone.weights=none", *overrides])
        assert recipe.data.columns.target is None
        assert (recipe.method == "contrastive") == (name == "contrastive")


def test_steps_are_timed_with_and_without_mi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    timed = importlib.import_module("step_overhead")
    by_default = {name for name, case in timed.CASES.items() if not case.gpu and not case.by_name}
    assert by_default == {"resnet18", "mnist", "resnet18_paper"}
    for case in timed.CASES.values():
        with_mi, plain = (
            timed.read_recipe(case.recipe, (*case.overrides, *more)) for more in (case.method, timed.PLAIN)
        )
        assert with_mi.debias.estimator != plain.debias.estimator == "none"


def test_the_first_recipe_of_coloured_digits_has_copies_or_else_their_colour_s_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    first_recipe = importlib.import_module("first_recipe")
    monkeypatch.setattr(first_recipe, "N_BIASED", 400)
    monkeypatch.setattr(first_recipe, "N_RANDOM", 100)
    for part, n in (("train", 400), ("t10k", 100)):
        header = bytes([0, 0, 8]), n.to_bytes(4, "big"), (28).to_bytes(4, "big")
        images = np.full((n, 28, 28), 200, dtype=np.uint8).tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header[0] + b"\3" + header[1] + 2 * header[2] + images)
        labels = (np.arange(n) % 10).astype(np.uint8).tobytes()
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(header[0] + b"\1" + header[1] + labels)
    for aligned, share in ((0.9, 0.8), (0.1, 0.0)):
        (folder := tmp_path / str(aligned)).mkdir()
        manifest = first_recipe.draw(tmp_path, aligned, folder)
        path = folder / "recipe.yaml"
        assert first_recipe.write_recipe(manifest, path) == "resnet18"
        debias = parse_recipe(path.read_text(), path=str(path), overrides=["original=null"]).debias
        assert debias.mix is not None
        assert (debias.mix.layer, debias.mix.copies, debias.weight, debias.bias_product) == ("conv1", True, "auto", 0)
        for overrides in first_recipe.METHODS.values():
            parse_recipe(path.read_text(), path=str(path), overrides=["original=null", *overrides])
        # of a bias that is no matter of style
        with monkeypatch.context() as patch:
            patch.setattr(survey, "shows_in_channels", lambda *given, **named: False)
            first_recipe.write_recipe(manifest, path)
        debias = parse_recipe(path.read_text(), path=str(path), overrides=["original=null"]).debias
        assert (debias.mix, debias.bias_product) == (None, share)


def test_pacs_skew_is_drawn_as_said_and_every_method_is_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    pacs = importlib.import_module("pacs")
    monkeypatch.setattr(pacs, "N_AUDITED", 4)
    monkeypatch.setattr(pacs, "N_HOME", 30)
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "JPEG")
    for style in pacs.STYLES:
        for label in pacs.HOME:
            folder = tmp_path / "data" / style / label
            folder.mkdir(parents=True)
            for i in range(40 if style == pacs.HOME[label] else 20):
                (folder / f"{i}.jpg").write_bytes(picture.getvalue())
    rows = list(pacs.rows_of(tmp_path / "data", 0.75, 0))
    assert len({path for path, *_ in rows}) == len(rows)
    audited = Counter((label, style) for _, label, style, split in rows if split == "test")
    assert set(audited.values()) == {4}
    assert len(audited) == 28
    learned = Counter((label, style == pacs.HOME[label]) for _, label, style, split in rows if split != "test")
    # a third as many from the other styles together
    assert set(learned.values()) == {30, 10}
    n_validation = sum(split == "validation" for *_, split in rows)
    assert n_validation == -(-280 // 7)

    drawn = pacs.draw(tmp_path / "data", tmp_path / "weights.pth", 0.75, 0, tmp_path)
    text = drawn.recipe.read_text()
    for name, overrides in (pacs.OURS | pacs.FINE_TUNED).items():
        recipe = parse_recipe(text, path="recipe.yaml", overrides=["original=null", *overrides])
        assert (recipe.debias.bias_product == 0) == (name in pacs.FINE_TUNED), name


def test_methods_on_stored_features_are_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    stored = importlib.import_module("pacs_stored")
    for name, overrides in stored.METHODS.items():
        recipe = parse_recipe(stored.RECIPE.replace("FOLDER", str(tmp_path)), path="stored", overrides=overrides)
        assert recipe.method in (name, "mi", "group_dro")


def test_the_fields_methods_are_recipes_and_have_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    methods = importlib.import_module("methods")
    for on in methods.KEYED:
        for name in (*methods.KEYED[on], *methods.FIELD):
            for setting in methods.settings_of(on, name):
                recipe = methods.recipe_of(on, tmp_path, name, setting, 3)
                assert recipe.method == (name if name in methods.FIELD else "mi")
                assert recipe.seed == 3
                if name in methods.FIELD:
                    assert recipe.training.average_decay is None


def test_a_worst_group_is_a_cell_of_one_channel_and_ten_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    methods = importlib.import_module("methods")
    y = np.repeat([0, 1], [20, 14])
    c = np.stack([np.repeat([0, 1, 0, 1], [10, 10, 10, 4]), np.zeros(34, dtype=np.int64)], axis=1)
    right = np.ones(34, dtype=bool)
    # four rows are too few; of those of class 0 in bias class 1 three of ten are wrong, of class 1 alone four of 14
    right[[10, 11, 12]] = False
    right[30:] = False
    assert methods.worst_group(right, y, c) == pytest.approx(0.7)
    right[10:13] = True
    assert methods.worst_group(right, y, c) == pytest.approx(10 / 14)


def test_settings_are_chosen_by_the_methods_own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    methods, runs = importlib.import_module("methods"), importlib.import_module("runs")
    table = runs.Table(tmp_path / "rows.csv", methods.KEYS, methods.VALUES)
    # by seed 0 alone: the worst group for one method, balanced accuracy for the other
    for method in ("dfr", "end"):
        for setting, seed, balanced, worst in (("a", 0, 0.9, 0.2), ("b", 0, 0.8, 0.3), ("c", 1, 1.0, 1.0)):
            figures = dict.fromkeys(methods.VALUES, 0.0) | {methods.BALANCED: balanced, methods.WORST: worst}
            table.add(("digits", method, setting, seed), figures)
    assert methods.chosen(table, "digits", "dfr") == "b"
    assert methods.chosen(table, "digits", "end") == "a"
