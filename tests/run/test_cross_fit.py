"""`debias.cross_fit`: the penalty sees rare samples as models see them that were trained without them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import best, metrics, same, tiny, trained

from mibias_cli.backbone.embed import embed
from mibias_cli.errors import RecipeError
from mibias_cli.progress import Silent
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.debiaser import build_debiaser
from mibias_cli.run.heads.fitted import finish_heads
from mibias_cli.run.heads.passes import CrossFitted, passes_of
from mibias_cli.run.heads.weight_path import folds, is_rare
from mibias_cli.training.debiaser import Debiaser, StepMetrics
from mibias_cli.training.model import TaskModel

LAST = (
    "representation={layers: [features], bottleneck: {width: 9, hidden: []}}", "original=null", "training.epochs=1",
    "training.head_last=0.05", "debias.estimator=closed_form", "debias.objective=conditional", "data.variance=0.02",
    "debias.critic={n_random_features: 16}", "debias.queue_batches=32",
)  # fmt: skip


class Quiet:
    """A log of the last fit that keeps nothing."""

    def say(self, text: str) -> None: ...
    def record(self, step: int, metrics: StepMetrics) -> None: ...
    def look(self, debiaser: Debiaser | None, step: int) -> None: ...


class StoppedAt(Silent):
    """Keeps what stages are called, and stops a run where one begins."""

    def __init__(self, words: str = "no stage") -> None:
        self.words, self.stages = words, list[str]()

    def stage(self, text: str) -> None:
        self.stages.append(text)
        if self.words in text:
            raise KeyboardInterrupt


def heads(parts: Parts, start: TaskModel, cross_fitted: list[CrossFitted]) -> dict[str, torch.Tensor]:
    """Weights of the heads behind a model's backbone after a last fit."""
    model = parts.first_model()
    model.load_state_dict(start.state_dict())
    make = partial(build_debiaser, parts, 9)
    finish_heads(model, parts, make, Quiet(), Silent(), cross_fitted)
    return {name: value for name, value in model.state_dict().items() if "bottleneck" in name or "head" in name}


def test_rare_are_samples_whose_cell_has_fewer_than_independence_would_give() -> None:
    parts = assemble(tiny(*LAST), offline=True)
    y, c = parts.data.train.y, parts.data.attributes["colour"].classes(parts.data.train.c["colour"])
    rare = is_rare(parts)
    assert 0 < rare.sum() < len(rare)
    for i in np.random.default_rng(0).permutation(len(y))[:50]:
        alike = (c == c[i]).all(axis=1)
        expected = (y == y[i]).mean() * alike.mean() * len(y)
        assert rare[i] == (((y == y[i]) & alike).sum() < expected)


def test_the_penalty_sees_samples_once_more_as_other_models_make_them() -> None:
    parts = assemble(tiny(*LAST), offline=True)
    model, other = parts.first_model(), parts.first_model()
    with torch.no_grad():
        for value in other.extractor.backbone.parameters():
            value.mul_(-1)
    unseen = np.flatnonzero(is_rare(parts))
    crossed = [CrossFitted(model=other, unseen=unseen)]
    (alone,), (one,) = (list(passes_of(model.eval(), parts, None, given)) for given in ([], crossed))
    assert torch.equal(one.plain.x, alone.plain.x)
    assert alone.penalised is alone.plain
    # first what the model itself makes of all, then what the other one makes of some
    n = len(parts.data.train)
    assert torch.equal(one.penalised.x[:n], one.plain.x)
    np.testing.assert_array_equal(one.penalised_samples[n:], unseen)
    known = embed(other.extractor, parts.data.train, rows=unseen, **parts.reading).backbone_features
    np.testing.assert_allclose(one.penalised.x[n:], known, atol=1e-6)
    np.testing.assert_array_equal(one.penalised.y[n:], parts.data.train.y[unseen])
    # each sample counts as much as before
    counts = np.zeros(n)
    np.add.at(counts, one.penalised_samples, one.penalised.weight["colour"].numpy())
    np.testing.assert_allclose(counts[one.samples], one.plain.weight["colour"], rtol=1e-6)
    some = one.at(torch.arange(n) % 2 == 0)
    assert (some.penalised_samples % 2 == 0).all()
    assert len(some.penalised) == len(some.plain) + (unseen % 2 == 0).sum()
    before, after = heads(parts, model, []), heads(parts, model, crossed)
    assert not all(torch.allclose(before[name], after[name], atol=1e-2) for name in before)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return tiny(*LAST, "debias.cross_fit=2")


@pytest.fixture(scope="module")
def stages() -> StoppedAt:
    return StoppedAt()


@pytest.fixture(scope="module")
def whole(recipe: Recipe, stages: StoppedAt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(recipe, tmp_path_factory.mktemp("cross") / "whole", progress=stages).folder


def test_each_model_is_trained_without_its_share(whole: Path, recipe: Recipe, stages: StoppedAt) -> None:
    parts = assemble(recipe, offline=True)
    seen = [r["stage"] for r in metrics(whole) if r["kind"] == "validation"]
    assert list(dict.fromkeys(seen)) == ["cross_fit_1", "cross_fit_2", "debias"]
    for k in (1, 2):
        n = (is_rare(parts) & (folds(parts, 2) == k - 1)).sum()
        assert f"training without {n} rare samples ({k} of 2)" in stages.stages
    plain = trained(tiny(*LAST), whole.parent / "plain").folder
    # the backbone is that of a run without them; heads are others
    old, new = best(plain), best(whole)
    backbone = [name for name in old if "backbone" in name]
    assert all(torch.equal(old[name], new[name]) for name in backbone)
    assert not same(old, new)


@pytest.mark.parametrize("words", ["(2 of 2)", "on all training samples"])
def test_a_run_that_is_killed_at_a_stage_resumes_to_the_same_weights(
    words: str, whole: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "run", progress=StoppedAt(words))
    trained(recipe, tmp_path / "run", resume=tmp_path / "run")
    assert same(best(whole), best(tmp_path / "run"))
    assert metrics(whole) == metrics(tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("training.head_last=null",), "set training.head_last, or leave it out"),
        (("debias.estimator=none",), "has no effect with estimator: none"),
        (("debias.cross_fit=1",), "2"),
    ],
)
def test_what_it_needs_is_said(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        tiny(*LAST, "debias.cross_fit=2", *overrides)
