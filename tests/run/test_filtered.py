"""A filter of images goes with the model: into files, the audit, exports, predictions and ONNX."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import pictures, recipe_for_numbers, trained
from told import Told

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.errors import ExportError, RecipeError, RunError
from mibias_cli.export.load import load_export, load_extractor
from mibias_cli.methods.image_filter import ImageFilter
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import dry_run, workflow
from mibias_cli.run.assemble import assemble, load_original, load_run_model
from mibias_cli.run.cached import cached_parts
from mibias_cli.run_folder import RunFolder

FILTER = ("method=sabaf", "method_settings={epochs: 1, width: 4, critic_steps: 1}", "training.epochs=1")


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    text = pictures(folder, "manifest", n=6)
    given = [*FILTER, "backbone.cache=off", "original=null", *overrides]
    return parse_recipe(text, path=str(folder / "r.yaml"), overrides=given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, workflow.TrainedRun]:
    folder = tmp_path_factory.mktemp("filtered")
    recipe = recipe_of(folder, "export.formats=[safetensors, onnx]")
    return recipe, trained(recipe, folder / "run")


def filter_of(extractor: Extractor) -> ImageFilter:
    assert isinstance(extractor.filter, ImageFilter)
    return extractor.filter


def test_the_model_has_it_and_the_original_has_not(run: tuple[Recipe, workflow.TrainedRun]) -> None:
    recipe, done = run
    parts, files = assemble(recipe, offline=True), RunFolder(done.folder)
    after, before = (load_run_model(parts, path).eval().extractor for path in (files.best, files.original))
    assert before.filter is None
    x = parts.data.audit.reader.read(parts.data.audit.rows[:4], None)
    with torch.no_grad():
        by_hand = after.refined(after.backbone(filter_of(after)(x)))
        assert torch.equal(after(x).features, by_hand)
        assert not torch.allclose(by_hand, after.refined(after.backbone(x)))
    files.best.rename(files.best.with_name("kept"))
    try:
        with pytest.raises(RunError, match="missing"):
            load_run_model(parts, files.best)
    finally:
        files.best.with_name("kept").rename(files.best)
    with pytest.raises(RunError, match="holds no filter of this recipe"):
        load_run_model(parts, _copied(files.original, files.original.with_name("other.safetensors")))


def _copied(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes())
    return to


def test_an_export_filters_and_says_that_timm_does_not(run: tuple[Recipe, workflow.TrainedRun]) -> None:
    """Export compares features before it gives a folder its name, those of ONNX among them."""
    recipe, done = run
    parts, loaded = assemble(recipe, offline=True), load_export(done.export)
    own = load_run_model(parts, RunFolder(done.folder).best).eval()
    x = parts.data.audit.reader.read(parts.data.audit.rows[:4], None)
    with torch.no_grad():
        torch.testing.assert_close(loaded.extractor(x).features, own.extractor(x).features, rtol=0, atol=1e-6)
    assert filter_of(loaded.extractor).training is False
    assert loaded.info.filtered
    assert not loaded.info.alone_debiased
    content = json.loads((done.export / "mibias.json").read_text())
    assert (content["format"], content["representation"]["filtered"]) == (5, True)
    card = (done.export / "README.md").read_text()
    assert "timm alone cannot load the filter" in card
    assert "timm.create_model(" not in card.split("## What was measured")[0]
    assert "of filtered images" in card
    assert "timm cannot load" in (done.export / "config.json").read_text()
    assert (done.export / "model.onnx").is_file()
    assert "filter and bottleneck included" in card


def test_predict_and_embed_filter(run: tuple[Recipe, workflow.TrainedRun], tmp_path: Path) -> None:
    """New images through the exported folder, against filter, backbone and head one by one."""
    done = run[1]
    loaded, new = load_extractor(done.folder), tmp_path / "new"
    new.mkdir()
    images = done.folder.parent / "test"
    for k, path in enumerate(sorted(images.rglob("*.png"))[::9]):
        (new / f"{k}.png").write_bytes(path.read_bytes())
    rows, said = loaded.embed(new), loaded.predict(new)
    opened = loaded.open(new).held(0, len(rows.ids))
    x = opened.reader.read(opened.rows, None)
    model, head = loaded.model, loaded.head
    assert head is not None
    with torch.no_grad():
        z = model.refined(model.backbone(filter_of(model)(x)))
        np.testing.assert_allclose(rows.features, z.numpy(), atol=1e-5)
        np.testing.assert_allclose(said.values, head.predict(z).numpy(), atol=1e-5)


def test_a_damaged_filter_is_refused(run: tuple[Recipe, workflow.TrainedRun], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(run[1].export, folder)
    state = load_file(folder / "heads.safetensors")
    del state["filter.decoder.0.weight"]
    save_file(state, folder / "heads.safetensors")
    with pytest.raises(ExportError, match="heads.safetensors: its filter does not fit what mibias.json says"):
        load_export(folder)


def test_an_export_of_it_is_no_original(run: tuple[Recipe, workflow.TrainedRun], tmp_path: Path) -> None:
    recipe, done = run
    wanted = [f"original={{weights: {done.export}}}", "export.formats=[safetensors]"]
    other = parse_recipe(dump_recipe(recipe), path="r.yaml", overrides=wanted)
    with pytest.raises(RunError, match=r"original.weights: .* is an export of another model .* eraser or a filter"):
        load_original(assemble(other, offline=True))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["backbone.cache=kept"],
            r"backbone.cache: keeps what frozen stages make of images, and method: sabaf changes",
        ),
        (["data.columns.target=null"], r"method: sabaf predicts classes"),
        (["method_settings={epochs: 0}"], r"method_settings.epochs: must be a whole number from 1 to"),
        (["method_settings={criticsteps: 1}"], r"method_settings.criticsteps: unknown setting.*'critic_steps'"),
    ],
)
def test_what_it_cannot_do_is_refused_when_the_recipe_is_read(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_of(tmp_path, *overrides)


def test_rows_of_numbers_are_no_images(tmp_path: Path) -> None:
    text = recipe_for_numbers(tmp_path).replace("regression", "classes")
    with pytest.raises(RecipeError, match=r"method: sabaf filters images; for rows of numbers write mi, or debias.era"):
        parse_recipe(text, path="t.yaml", overrides=["method=sabaf"])


def test_frozen_stages_are_not_computed_beforehand(tmp_path: Path) -> None:
    """The default keeps what frozen stages make of images where it can; here it says why it cannot."""
    parts, told = assemble(recipe_of(tmp_path, "backbone.cache=auto"), offline=True), Told()
    assert cached_parts(parts, told, {"train": np.arange(4)}) is parts
    assert "method: sabaf changes images before frozen stages see them" in told.notes[0]


def test_a_dry_run_counts_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by one second each time it is read: one epoch of 8 of the 24 rows takes one."""
    seconds = itertools.count()
    monkeypatch.setattr(dry_run, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    monkeypatch.setattr(dry_run, "_FILTER_ROWS", 8)
    parts = assemble(recipe_of(tmp_path, "method_settings.epochs=7"), offline=True)
    assert len(parts.data.train) == 24
    assert dry_run._time_before(parts, parts.new_model(), Told()) == 7 * 24 / 8
