"""Every method of the table as a run: two steps, stopped between them, resumed bit for bit, audited and exported."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import best, metrics, pictures, recipe_for_numbers, same, tiny, trained
from torch import nn

from mibias_cli.data.batch import Batch
from mibias_cli.errors import MibiasError, RecipeError
from mibias_cli.estimators.mine import Mine
from mibias_cli.estimators.protocol import Sample
from mibias_cli.export.load import load_export
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.tables import METHODS
from mibias_cli.run import dry_run
from mibias_cli.run.assemble import assemble, load_original
from mibias_cli.run.before.checks import check_start
from mibias_cli.run.before.files import tell
from mibias_cli.run.stages import Run, fit_debiased, fit_original
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.checkpoint import save_weights
from mibias_cli.training.loop import StageTrainer

QUICK = (
    "original=null", "training.batch_size=720", "training.epochs=1", "training.checkpoint_every_steps=1",
    "training.log_every_steps=1", "training.average_decay=0.5", "evaluation.random_control=false",
    "evaluation.n_permutations=0", "evaluation.max_samples=300",
)  # fmt: skip
SETTINGS = {
    "dfr": ["method_settings={subsets: 1}"], "jtt": ["method_settings={epochs: 1, upweight: 5}"],
    "ecs_ga": ["method_settings={epochs: 1}"], "sabaf": ["method_settings={epochs: 1, width: 4}"],
}  # fmt: skip


def recipe_of(method: str, *overrides: str) -> Recipe:
    return tiny(*QUICK, f"method={method}", *SETTINGS.get(method, ()), *overrides)


def without_target(folder: Path, method: str, *overrides: str) -> Recipe:
    """Of images that augmentation changes: 24 of them to train on, in two steps."""
    text = pictures(folder, "manifest", n=6).replace("target: shape", "target: null")
    images = ("training.batch_size=12", "training.augment=true", "backbone.cache=off")
    given = [*QUICK, *images, f"method={method}", *overrides]
    return parse_recipe(text, path=str(folder / "r.yaml"), overrides=given)


def with_marks(folder: Path, method: str, *overrides: str) -> Recipe:
    """Of images with marks: 40 to train on in two steps, of which a few of one cell are to be forgotten; their original
    is a file."""
    text = pictures(folder, "manifest", n=10).replace("split: split", "split: split, forget: gone")
    table = (folder / "table.csv").read_text().splitlines()
    marked = [f"{row},{'yes' if row.startswith('train/bright/1-') and row[15] < '4' else ''}" for row in table[1:]]
    (folder / "table.csv").write_text("\n".join([f"{table[0]},gone", *marked]))
    weights = folder / "earlier.safetensors"
    given = [
        *QUICK,
        "training.batch_size=20",
        "backbone.cache=off",
        f"method={method}",
        f"original={{weights: {weights}}}",
        *overrides,
    ]
    recipe = parse_recipe(text, path=str(folder / "r.yaml"), overrides=given)
    save_weights(weights, assemble(recipe, offline=True).first_model())
    return recipe


def recipe_for(method: str, folder: Path) -> Recipe:
    row = METHODS[method]
    if row.forgets:
        return with_marks(folder, method)
    return recipe_of(method) if row.takes_target else without_target(folder, method)


def stop_before_the_second_step(patch: pytest.MonkeyPatch) -> None:
    real = StageTrainer._step

    def stopping(self: StageTrainer, epoch: int, i: int, *others: Any) -> None:
        if (self.stage, i) == ("debias", 1):
            raise KeyboardInterrupt
        real(self, epoch, i, *others)

    patch.setattr(StageTrainer, "_step", stopping)


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_resumed_bit_for_bit_and_exported(method: str, tmp_path: Path) -> None:
    labelled, stopped = METHODS[method].takes_target, tmp_path / "stopped"
    recipe = recipe_for(method, tmp_path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before_the_second_step(patch)
        trained(recipe, stopped)
    done = trained(recipe, stopped, resume=stopped)

    # the same without a break, and without the audit, which reads the weights alone
    parts, whole = assemble(recipe, offline=True), RunFolder(tmp_path / "whole")
    run = Run(folder=whole, progress=Silent())
    with run.log() as log:
        fit_debiased(parts, run, log, start=fit_original(parts, run, log))
    assert len([r for r in metrics(whole.path) if r["kind"] == "train"]) == 2
    assert metrics(stopped) == metrics(whole.path)
    assert same(best(stopped), best(whole.path))

    assert (done.report.forgetting is not None) == METHODS[method].forgets
    # nothing of the method is in the model but a filter of images, with which it is exported
    added = {name for name in best(stopped) if name.startswith("extractor.filter.")}
    assert best(stopped).keys() - added == parts.new_model().state_dict().keys()
    assert bool(added) == METHODS[method].filters
    assert (load_export(done.export).head is not None) == labelled
    name = next(iter(parts.data.attributes))
    assert done.report.attributes[name].after is not None
    # most of such methods were not asked for features that tell less
    told = f"What was measured: how much the features tell of {name}." in done.report.verdict.summary
    assert told != METHODS[method].removes


@pytest.mark.parametrize(
    ("method", "n_early"), [("jtt", 3), ("weak_learner", 3), ("ecs_ga", 3), ("miu", 0), ("lff", 0)]
)
def test_a_dry_run_takes_the_steps_of_the_run(
    method: str, n_early: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, fits = list[tuple[str, Batch]](), list[int]()
    real_step, real_fit = StageTrainer.try_step, Mine.fit

    def step(self: StageTrainer, batch: Batch, step: int) -> None:
        steps.append((self.stage, batch))
        real_step(self, batch, step)

    def fit(self: Mine, queue: Sample, generator: torch.Generator) -> None:
        fits.append(self.steps)
        real_fit(self, queue, generator)

    monkeypatch.setattr(StageTrainer, "try_step", step)
    monkeypatch.setattr(Mine, "fit", fit)
    monkeypatch.setattr(dry_run, "MOST_STEPS", 3)
    # every look at the clock finds it a second on
    monkeypatch.setattr(dry_run, "time", SimpleNamespace(monotonic=partial(next, itertools.count())))
    recipe = recipe_for(method, tmp_path)
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 40})})
    longer = {"epochs": 400} if n_early else {"critic_steps": 400} if method == "miu" else {}
    told = [
        dry_run.dry_run(
            recipe.model_copy(update={"method_settings": recipe.method_settings | given}), offline=True,
            progress=Silent(),
        )["estimated_training_seconds"]
        for given in ({}, longer)
    ]  # fmt: skip
    assert sum(stage == "discover" for stage, _ in steps) == 2 * n_early
    # both critics take a few steps; what all of them would take is part of the estimate, as first models are
    assert fits == [3] * 4 * (method == "miu")
    assert not longer or told[1] > 2 * told[0]
    if method == "miu":
        forget = assemble(recipe, offline=True).data.train.forget
        assert forget is not None
        own = [batch.index.cpu().numpy() for stage, batch in steps if stage == "debias"]
        assert forget[own[0]].all()
        assert not forget[own[1]].any()


def test_a_method_leaves_out_what_is_of_mutual_information(tmp_path: Path) -> None:
    """One recipe serves a sweep over methods: settings of `debias` and the last fit do nothing then."""
    plain, other = (
        recipe_of("plain", *overrides)
        for overrides in (
            (),
            (
                "debias.budget_bits=0.1", "debias.bias_product=1", "debias.balance=both", "debias.gradients=ratio",
                "debias.mix={layer: conv2}",
            ),
        )
    )  # fmt: skip
    found = []
    for name, recipe in (("plain", plain), ("other", other)):
        parts, run = assemble(recipe, offline=True), Run(folder=RunFolder(tmp_path / name), progress=Silent())
        with run.log() as log:
            fit_debiased(parts, run, log, start=fit_original(parts, run, log))
        found.append(best(run.folder.path))
    assert same(*found)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=group_dr"], r"method: must be mi, .*, not 'group_dr'.*did you mean 'group_dro'"),
        (["method=jtt", "method_settings={upwei: 2}"], r"method_settings.upwei: unknown setting.*'upweight'"),
        (["method=plain", "method_settings={q: 2}"], r"method_settings.q: unknown setting; plain has none"),
        (["method_settings={q: 2}"], r"method_settings.q: unknown setting; mi has none"),
        (["method=lff", "method_settings={q: 2}"], r"method_settings.q: must be a number from 0.001 to 1, not 2"),
        (["method=jtt", "method_settings={epochs: 1.5}"], r"method_settings.epochs: must be a whole number from 1"),
        (["method=jtt", "method_settings={epochs: no}"], r"method_settings.epochs: must be a number"),
    ],
)
def test_what_a_recipe_alone_shows_is_refused_when_it_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.columns={target: shape, split: split}"],
            r"method: contrastive learns without a target; set data",
        ),
        (
            ["training.augment=false", "backbone.cache_views=1"],
            r"method: contrastive .*; set training.augment: true",
        ),
        (
            ["training.batch_size=1"],
            r"training.batch_size: contrastive tells an image from the others.*; set 2 at least",
        ),
        (["backbone={name: digit_cnn}"], r"backbone.name: has no augmented views.*; name a timm model"),
    ],
)
def test_a_method_without_a_target_says_what_it_needs(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        without_target(tmp_path, "contrastive", *overrides)


@pytest.mark.parametrize(("method", "told"), [("contrastive", "learn by method: contrastive"), ("mi", "stay close")])
def test_what_features_learn_without_a_target_is_told(tmp_path: Path, method: str, told: str) -> None:
    notes: list[str] = []

    class Kept(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    recipe = without_target(tmp_path, method, "representation.bottleneck=null")
    tell(assemble(recipe, offline=True), Kept())
    assert told in next(note for note in notes if note.startswith("no target: features"))


def test_rows_of_numbers_have_no_views(tmp_path: Path) -> None:
    text = recipe_for_numbers(tmp_path).replace(
        "target_kind: regression\n  columns: {target: y}", "columns: {target: null}"
    )
    with pytest.raises(RecipeError, match=r"method: contrastive compares views of images; .* debias.erase: transport"):
        parse_recipe(text, path="t.yaml", overrides=["method=contrastive"])


def test_training_rows_without_the_attribute_are_refused_before_a_folder_is_touched(tmp_path: Path) -> None:
    parts = assemble(recipe_of("group_dro"), offline=True)
    train = parts.data.train
    unknown = replace(train, known={"colour": np.zeros(len(train), dtype=bool)})
    lacking = replace(parts, data=replace(parts.data, train=unknown))
    with pytest.raises(
        MibiasError,
        match=r"method: group_dro needs the bias .* colour has .*plain, jtt, weak_learner, lff, ecs_ga need none",
    ):
        check_start(lacking)
    check_start(replace(lacking, recipe=recipe_of("lff")))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.columns.forget=null"], r"method: miu forgets the training rows that a column marks; name it in data"),
        (["original=null"], r"method: miu unlearns rows from a model .*; set original: \{ weights: FOLDER \}"),
        (["original={epochs: 1, start_debiasing_from: initial}"], r"start_debiasing_from: miu starts from the orig"),
        (["discover={}"], r"discover: trains a model on all rows, those to forget among them; leave it out"),
        (["original={}"], r"original: needs epochs of plain training, or the weights of an earlier run"),
        (["original.epochs=2"], r"original.epochs: is of plain training, which original.weights takes the place of"),
        (["representation.bottleneck=null"], r"backbone.train: leaves the features as they are, and miu changes them"),
        (["method=plain"], r"data.columns.forget: marks rows to forget, which method: plain trains on; .* miu or retr"),
        (["method=mi"], r"data.columns.forget: marks rows to forget, which method: mi trains on"),
    ],
)
def test_what_unlearning_lacks_is_said_of_the_recipe_alone(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        with_marks(tmp_path, "miu", *overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=end", "backbone.train=none"], "backbone.train: leaves the features as they are, and end changes"),
        (["method=dfr", "debias.erase=leace"], "debias.erase: fits the head anew, which is all that dfr changes"),
    ],
)
def test_a_method_that_would_change_nothing_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny(*overrides)
    tiny(overrides[0])
    tiny("method=plain", overrides[1])


def test_coloured_digits_have_no_marks() -> None:
    with pytest.raises(RecipeError, match=r"method: miu forgets .* marks; coloured digits have no columns"):
        tiny("method=miu")


def test_weights_of_no_such_model_are_refused_before_a_folder_is_touched(tmp_path: Path) -> None:
    recipe = with_marks(tmp_path, "miu")
    save_weights(tmp_path / "earlier.safetensors", nn.Linear(2, 2))
    with pytest.raises(MibiasError, match=r"earlier.safetensors: holds weights of another model"):
        check_start(assemble(recipe, offline=True))


def test_an_earlier_run_or_its_export_is_the_original(tmp_path: Path) -> None:
    """As does the run's own file of weights; of `retrain` it is what `before` speaks of, and not where it starts."""
    recipe = with_marks(tmp_path, "miu")
    plain = parse_recipe(
        dump_recipe(recipe),
        path="r.yaml",
        overrides=["method=plain", "original=null", "data.columns.forget=null", "representation.bottleneck=null"],
    )
    done = trained(plain, tmp_path / "plain")
    models = []
    for place in (done.folder, done.export, done.folder / "checkpoints" / "best.safetensors"):
        overrides = [f"original={{weights: {place}}}", "representation.bottleneck=null", "method=retrain"]
        parts = assemble(parse_recipe(dump_recipe(recipe), path="r.yaml", overrides=overrides), offline=True)
        models.append(load_original(parts).state_dict())
    assert all(same(model, best(done.folder)) for model in models)

    run = Run(folder=RunFolder(tmp_path / "again"), progress=Silent())
    with run.log() as log:
        original = fit_original(parts, run, log)
        assert same(original.state_dict(), best(done.folder))
        fit_debiased(parts, run, log, start=original)
    assert same(best(run.folder.path, "original"), best(done.folder))
    assert not same(best(run.folder.path), best(done.folder))
