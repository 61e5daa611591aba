"""Runs on kept outputs of frozen stages: the figures of a run on images, without reading any in its epochs."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import PICTURES, best, metrics, pictures, same, stop_at_step, trained

from mibias_cli.data.files.images import ImageReader
from mibias_cli.data.sources.colour import ColouredReader
from mibias_cli.errors import RecipeError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow
from mibias_cli.run.stages import Run, erase, fit_debiased, fit_original
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.loop import StageTrainer

DIGITS = PICTURES.format(source="digits", files="variance: 0.05").replace(
    "\n  attributes: {background: {}}\n  columns: {target: shape, split: split}", ""
)


def recipe(*overrides: str, text: str = DIGITS) -> Recipe:
    return parse_recipe(text, path="frozen.yaml", overrides=overrides)


class Told(Silent):
    """Keeps what is said of the cache."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if text.startswith("backbone.cache"):
            self.notes.append(text)


def fitted(recipe: Recipe, out: Path, *, resume: bool = False) -> list[str]:
    """`mibias train` without its audit and export; returns what was said of the cache."""
    told = Told()
    parts = workflow.assemble(recipe, offline=True)
    run = Run.open(parts, RunFolder(out), new=not resume, overwrite=False, progress=told)
    _, training = workflow._prepared(parts, run)
    with run.log() as log:
        fit_debiased(training, run, log, start=fit_original(training, run, log))
    if recipe.debias.erase != "none":
        erase(training, run)
    return told.notes


def files(cache: Path) -> dict[Path, int]:
    """Every file in a cache, with the time at which it was written."""
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["MIBIAS_CACHE"])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images are read while a stage trains, counted in its only item."""
    count, training = [0], [False]

    def counting(kind: type[ImageReader] | type[ColouredReader]) -> None:
        real = kind.read

        def read(self: Any, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
            count[0] += len(rows) * training[0]
            return real(self, rows, epoch)

        monkeypatch.setattr(kind, "read", read)

    fit = StageTrainer.fit

    def fitting(self: StageTrainer, *arguments: Any) -> None:
        training[0] = True
        fit(self, *arguments)
        training[0] = False

    counting(ImageReader)
    counting(ColouredReader)
    monkeypatch.setattr(StageTrainer, "fit", fitting)
    return count


@pytest.mark.parametrize(
    "overrides",
    [
        # 80 training images: the last batch of 6 is one whose kernels round otherwise than those of 37
        pytest.param(("training.batch_size=37",), id="a small last batch"),
        pytest.param(("debias.balance_by=draws", "debias.draw_share=0.3", "original=null"), id="drawn rows"),
        pytest.param(("debias.budget_bits=0.5", "debias.budget.max_samples=50", "original=null",
             "training.epochs=1"), id="budget"),
        pytest.param(("representation.bottleneck=null", "representation.layers=[output]"), id="head alone"),
        pytest.param(
            ("backbone.train=[layer4]", "representation.layers=[features, layer4]", "representation.pool=mean"),
            id="last stage",
        ),
        pytest.param(
            ("backbone.name=test_vit", "backbone.input_size=160", "backbone.train=[blocks.5, norm]",
             "training.epochs=1", "original=null"), id="last block of a transformer",
        ),
        pytest.param(("backbone.train=[layer3]", "debias.mix={layer: layer3}", "original=null"), id="mixed"),
        pytest.param(("discover={epochs: 1}", "debias.attributes=[discovered]"), id="discover"),
    ],
)  # fmt: skip
def test_training_on_kept_outputs_is_training_on_images_to_the_bit(
    tmp_path: Path, reads: list[int], overrides: tuple[str, ...]
) -> None:
    text = pictures(tmp_path, "manifest")
    assert fitted(recipe("backbone.cache=off", *overrides, text=text), tmp_path / "off") == []
    assert reads.pop() > 0
    reads.append(0)
    told = fitted(recipe(*overrides, text=text), tmp_path / "on")
    assert reads == [0], "no image is read in the epochs"
    assert "MB a view; they are kept in" in told[0]
    # once for each split, whatever the number of files
    kept = [note for note in told if "they are kept in" in note]
    assert len(kept) == len({note.split(" samples")[0] for note in kept})
    assert metrics(tmp_path / "on") == metrics(tmp_path / "off")
    for name in ("best", "original"):
        assert same(best(tmp_path / "on", name), best(tmp_path / "off", name))


def test_digits_and_their_eraser_are_the_same_to_the_bit(tmp_path: Path, reads: list[int]) -> None:
    pytest.importorskip("concept_erasure")
    network = ("backbone.name=digit_cnn", "backbone.input_size=28", "backbone.options={width: 4, hidden: 16}")
    few = (*network, "debias.erase=leace", "training.batch_size=128", "training.epochs=1", "original=null")
    fitted(recipe("backbone.cache=off", *few), tmp_path / "off")
    reads[0] = 0
    fitted(recipe(*few), tmp_path / "on")
    assert reads == [0]
    assert metrics(tmp_path / "on") == metrics(tmp_path / "off")
    assert same(best(tmp_path / "on", "erased"), best(tmp_path / "off", "erased"))


def figures(report: Path) -> dict[str, Any]:
    """Everything that a report says, but for when and by which recipe it was made."""
    found: dict[str, Any] = json.loads((report / "leakage.json").read_text())
    del found["provenance"]["created"], found["provenance"]["recipe_sha256"]
    return found


def test_the_whole_run_and_its_reports_are_the_same(tmp_path: Path, cache: Path) -> None:
    text = pictures(tmp_path, "imagefolder", n=10)
    off, on = tmp_path / "off", tmp_path / "on"
    trained(recipe("backbone.cache=off", text=text), off)
    trained(recipe(text=text), on)
    assert figures(on / "report") == figures(off / "report")
    assert metrics(on) == metrics(off)
    # an audit later on reads what is there, also where it shows layers within the frozen stages
    kept, told = files(cache), Told()
    for run in (off, on):
        shown = workflow.load_run_recipe(run, ["evaluation.layers=[layer1]"])
        workflow.evaluate(run, recipe=shown, out=run / "again", offline=True, progress=told)
    assert figures(on / "again") == figures(off / "again")
    assert (files(cache), told.notes) == (kept, [])


def test_a_second_run_reads_what_is_kept_and_changed_data_or_weights_do_not(tmp_path: Path, cache: Path) -> None:
    text = pictures(tmp_path, "manifest", n=6)
    short = ("original=null", "debias.estimator=none", "training.epochs=1")
    assert fitted(recipe(*short, text=text), tmp_path / "1")
    kept = files(cache)
    # settings of training and heads do not matter; a batch of another size reads the same file where it rounds alike
    other = ("training.learning_rate=0.01", "representation.bottleneck=4", "training.batch_size=24")
    assert fitted(recipe(*short, *other, text=text), tmp_path / "2") == []
    assert files(cache) == kept
    # a file whose pixels change keeps its name, and here its size
    image = tmp_path / "train" / "dark" / "0-0.png"
    os.utime(image, ns=(1, 1))
    assert fitted(recipe(*short, text=text), tmp_path / "3")
    # weights drawn by another seed; the data's split is given
    assert fitted(recipe(*short, "seed=1", text=text), tmp_path / "4")
    assert fitted(recipe(*short, "backbone.input_size=48", text=text), tmp_path / "5")
    assert len({path.parent for path in files(cache)}) == 4
    # a file that was cut short is made anew
    for path in files(cache):
        path.write_bytes(path.read_bytes()[:100])
    assert fitted(recipe(*short, text=text), tmp_path / "6")
    assert metrics(tmp_path / "6") == metrics(tmp_path / "3")


def _prepared_apart(text: str, out: Path) -> None:
    parts = workflow.assemble(recipe(text=text), offline=True)
    run = Run.open(parts, RunFolder(out), new=True, overwrite=False, progress=Silent())
    workflow._prepared(parts, run)


def test_two_runs_at_once_share_a_folder(tmp_path: Path, cache: Path) -> None:
    text = pictures(tmp_path, "manifest", n=6)
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_prepared_apart, args=(text, tmp_path / name)) for name in "abc"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    # one file of each split, whole: what another run reads of it is to the bit
    kept = files(cache)
    assert sorted(path.name.split("-")[0] for path in kept) == ["train", "validation"]
    assert fitted(recipe(text=text), tmp_path / "d") == []
    assert files(cache) == kept


def test_augmented_views_are_drawn_anew_in_every_epoch(tmp_path: Path, reads: list[int]) -> None:
    text = pictures(tmp_path, "manifest", n=6)
    augmented = ("training.augment=true", "original=null", "training.epochs=3")
    told = fitted(recipe(*augmented, text=text), tmp_path / "none")
    assert "set backbone.cache_views" in told[0]
    assert reads[0] > 0
    for name in ("one", "other"):
        reads[0] = 0
        fitted(recipe(*augmented, "backbone.cache_views=2", text=text), tmp_path / name)
        assert reads == [0]
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")
    assert metrics(tmp_path / "one") != metrics(tmp_path / "none")


def test_views_that_are_not_what_was_kept_are_made_anew(tmp_path: Path, cache: Path) -> None:
    text = pictures(tmp_path, "manifest", n=6)
    augmented = ("training.augment=true", "original=null", "training.epochs=1", "backbone.cache_views=2")
    fitted(recipe(*augmented, text=text), tmp_path / "one")
    kept = [path for path in files(cache) if "view" in path.name]
    assert len(kept) == 2
    for path in kept:
        np.save(path, np.load(path) + 1)
    fitted(recipe(*augmented, text=text), tmp_path / "other")
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")
    kept[0].unlink()
    os.mkfifo(kept[0])
    fitted(recipe(*augmented, text=text), tmp_path / "piped")
    assert metrics(tmp_path / "one") == metrics(tmp_path / "piped")


def test_a_step_s_two_views_are_kept_ones(tmp_path: Path, reads: list[int]) -> None:
    text = pictures(tmp_path, "manifest", n=6).replace("target: shape", "target: null")
    contrastive = ("method=contrastive", "training.augment=true", "original=null", "backbone.cache_views=2")
    assert all("take" in text for text in fitted(recipe(*contrastive, text=text), tmp_path / "one"))
    assert reads == [0]
    # what is kept is read again, and gives the same run
    assert fitted(recipe(*contrastive, text=text), tmp_path / "other") == []
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")
    losses = [record["task_loss"] for record in metrics(tmp_path / "one") if record["kind"] == "train"]
    assert min(losses) > 0.5


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("representation.layers=[layer2]",), "representation.layers names 'layer2', which is frozen"),
        (("debias.mix={layer: layer4}",), "debias.mix.layer names 'layer4', which is frozen"),
        (("training.precision=64",), "set training.precision: 32"),
        (("backbone.train=[conv1]",), "nothing is frozen before 'conv1'"),
        (("backbone.cache=/proc/nowhere",), "/proc/nowhere"),
    ],
)
def test_where_outputs_cannot_be_kept_the_run_says_why(tmp_path: Path, overrides: tuple[str, ...], reason: str) -> None:
    text = pictures(tmp_path, "manifest", n=3)
    told = fitted(recipe(*overrides, "original=null", "training.epochs=1", text=text), tmp_path / "run")
    assert told[-1].startswith("backbone.cache: not used, images are read in every epoch:")
    assert reason in told[-1]


def test_nothing_is_said_or_kept_where_everything_trains(tmp_path: Path, cache: Path) -> None:
    text = pictures(tmp_path, "manifest", n=3)
    quick = ("original=null", "training.epochs=1", "backbone.train=all")
    assert fitted(recipe(*quick, text=text), tmp_path / "run") == []
    assert files(cache) == {}


def test_a_folder_is_relative_to_the_recipe_and_views_need_augmentation(tmp_path: Path) -> None:
    read = parse_recipe(DIGITS, path=str(tmp_path / "r.yaml"), overrides=[])
    assert read.backbone.cache == "auto"
    text = DIGITS.replace("train: none", "train: none, cache: kept")
    assert parse_recipe(text, path=str(tmp_path / "r.yaml")).backbone.cache == str(tmp_path / "kept")
    with pytest.raises(RecipeError, match=r"cache_views: has no effect without training\.augment: true"):
        recipe("backbone.cache_views=4")


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, few = pictures(tmp_path, "manifest", n=6), ("original=null", "training.epochs=4")
    fitted(recipe(*few, text=text), tmp_path / "whole")
    with monkeypatch.context() as scope, pytest.raises(KeyboardInterrupt):
        stop_at_step(scope, 3)
        fitted(recipe(*few, text=text), tmp_path / "stopped")
    fitted(recipe(*few, text=text), tmp_path / "stopped", resume=True)
    assert same(best(tmp_path / "stopped"), best(tmp_path / "whole"))
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")


def test_a_run_that_computes_activations_again_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole network, and of its last stages, whose cached inputs leave little to compute again."""
    told: list[bool] = []
    real = StageTrainer._step

    def noting(self: Any, *arguments: Any) -> None:
        told.append(bool(self.model.extractor.backbone.grad_checkpointing))
        real(self, *arguments)

    monkeypatch.setattr(StageTrainer, "_step", noting)
    of = "backbone={name: test_resnet, input_size: 32, freeze_batchnorm: true, train: %s, grad_checkpointing: %s}"
    for train, again in (("all", True), ("[layer4]", False)):
        for value in ("false", "true"):
            told.clear()
            fitted(recipe(of % (train, value), "training.epochs=1"), tmp_path / f"{train}-{value}")
            assert set(told) == {again and value == "true"}
        one, other = (tmp_path / f"{train}-{value}" for value in ("false", "true"))
        assert metrics(one) == metrics(other)
        assert same(best(one), best(other))


def test_what_is_done_from_outside_a_forward_pass_is_not_computed_again() -> None:
    with pytest.raises(RecipeError, match="grad_checkpointing: with debias.mix, whose channel statistics"):
        recipe("backbone.train=all", "backbone.grad_checkpointing=true", "debias.mix={layer: layer3}")
