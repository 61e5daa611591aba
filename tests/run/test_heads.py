"""Heads that are fitted first and last, against scikit-learn and against what a product of experts asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_runs import best, metrics, same, shorten_last_fit, tiny, train_alone, trained

from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import TASK_OFFSET
from mibias_cli.errors import RecipeError
from mibias_cli.progress import Progress, Silent
from mibias_cli.run import stages
from mibias_cli.run.assemble import Parts, assemble, load_run_model
from mibias_cli.run.heads.fitted import N_STEPS, Log, start_heads
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.model import TaskModel

L2 = 0.05


def test_a_bare_head_is_penalised_logistic_regression_and_the_backbone_stays() -> None:
    parts = assemble(tiny(f"training.head_first={L2}"), offline=True)
    model = parts.new_model()
    backbone = {name: value.clone() for name, value in model.extractor.state_dict().items()}
    start_heads(model, parts, {}, Silent())
    x = embed(model.extractor, parts.data.train, **parts.reading).backbone_features
    y = parts.data.train.y
    known = LogisticRegression(C=1 / (L2 * len(y)), tol=1e-8, max_iter=5000).fit(x, y)
    with torch.no_grad():
        found = torch.softmax(model.head(torch.from_numpy(x)), dim=1).numpy()
    np.testing.assert_allclose(found, known.predict_proba(x), atol=5e-3)
    assert all(torch.equal(value, backbone[name]) for name, value in model.extractor.state_dict().items())


def test_what_is_added_to_the_scores_needs_no_learning() -> None:
    parts = assemble(tiny(f"training.head_first={L2}"), offline=True)
    y = parts.data.train.y
    # an expert that knows every answer leaves nothing to learn
    offset = np.where(np.eye(10)[y] == 1, 30.0, 0.0).astype(np.float32)
    model = parts.new_model()
    start_heads(model, parts, {TASK_OFFSET: offset}, Silent())
    matrices = [p for p in model.head.parameters() if p.ndim > 1]
    assert max(float(p.detach().abs().max()) for p in matrices) < 1e-3


def test_without_the_setting_nothing_is_fitted() -> None:
    parts = assemble(tiny(), offline=True)
    model = parts.new_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_heads(model, parts, {}, Silent())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


MakeDebiaser = Callable[[], Debiaser | None]
LINEAR = "representation={layers: [features], bottleneck: {width: 9, hidden: []}}"
LAST = (
    "original=null",
    "training.epochs=1",
    f"training.head_last={L2}",
    "debias.estimator=closed_form",
    "debias.objective=conditional",
    "debias.queue_batches=32",
)

FEW = "debias.critic={n_random_features: 16}"
# features that tell the target and the colour
LEAKY = (
    "backbone.options={width: 8, hidden: 64, features: 32}", "data.variance=0.02", "training.epochs=4",
    "training.learning_rate=0.003", FEW,
)  # fmt: skip


def scores_of(model: TaskModel, x: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        pooled = torch.from_numpy(x)
        return model.head(pooled if model.extractor.bottleneck is None else model.extractor.bottleneck(pooled))


@pytest.mark.parametrize("width", [9, 12])
def test_a_linear_bottleneck_and_its_head_are_the_head_without_it(width: int) -> None:
    """As wide as scores need or wider: the L2 penalty is of the one linear map, so the two factors lose nothing."""
    parts = assemble(tiny(f"training.head_first={L2}", LINEAR.replace("9", str(width))), offline=True)
    model = parts.first_model()
    start_heads(model, parts, {}, Silent())
    x = embed(model.extractor, parts.data.train, **parts.reading).backbone_features
    assert model.extractor.input_scale is not None
    scaled = model.extractor.input_scale(torch.from_numpy(x)).numpy()
    y = parts.data.train.y
    known = LogisticRegression(C=1 / (L2 * len(y)), tol=1e-8, max_iter=5000).fit(scaled, y)
    np.testing.assert_allclose(scores_of(model, x).softmax(1).numpy(), known.predict_proba(scaled), atol=5e-3)
    first = model.extractor.bottleneck[-1].weight.detach()
    # balanced factors: no dimension of the representation is many times another for no reason but its factor
    second = model.head.linear.weight.detach()
    torch.testing.assert_close(first[:8].norm(dim=1), second[:, :8].norm(dim=0), rtol=1e-3, atol=1e-3)
    # eight pooled features give no more; what is left over learns later, but no score heeds it now
    assert float(first[8:].abs().sum(dim=1).min()) > 0
    assert float(second[:, 8:].abs().max()) == 0


def test_a_bottleneck_narrower_than_the_scores_is_the_best_of_its_width() -> None:
    """No worse than cutting the unrestricted map off at its largest singular values."""
    parts = assemble(tiny(f"training.head_first={L2}", LINEAR.replace("9", "3")), offline=True)
    model = parts.first_model()
    start_heads(model, parts, {}, Silent())
    assert model.extractor.input_scale is not None
    x = embed(model.extractor, parts.data.train, **parts.reading).backbone_features
    scaled = model.extractor.input_scale(torch.from_numpy(x))
    y = parts.data.train.y
    full = LogisticRegression(C=1 / (L2 * len(y)), tol=1e-8, max_iter=5000).fit(scaled.numpy(), y)
    left, values, right = np.linalg.svd(full.coef_ - full.coef_.mean(0), full_matrices=False)
    cut = torch.from_numpy((left[:, :3] * values[:3]) @ right[:3]).float()

    def objective(scores: torch.Tensor, weight: torch.Tensor) -> float:
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(y))
        return float(loss + L2 / 2 * weight.square().sum())

    ours = model.head.linear.weight.detach() @ model.extractor.bottleneck[-1].weight.detach()
    bias = torch.from_numpy(full.intercept_ - full.intercept_.mean()).float()
    assert objective(scores_of(model, x), ours) <= objective(scaled @ cut.T + bias, cut) + 1e-4


def test_the_last_fit_without_a_penalty_is_logistic_regression_behind_the_trained_backbone(tmp_path: Path) -> None:
    recipe = tiny(*LAST, LINEAR, "debias.weight=0", "data.variance=0.02")
    run = train_alone(recipe, tmp_path / "run")
    parts = assemble(recipe, offline=True)
    model = load_run_model(parts, run / "checkpoints/best.safetensors")
    train = parts.data.train
    x = embed(model.extractor, train, **parts.reading).backbone_features
    assert model.extractor.input_scale is not None
    scaled = model.extractor.input_scale(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-3)
    known = LogisticRegression(C=1 / (L2 * len(train.y)), tol=1e-8, max_iter=5000).fit(scaled, train.y)
    found = scores_of(model, x).softmax(1).numpy()
    np.testing.assert_allclose(found, known.predict_proba(scaled), atol=1e-2)


def test_the_last_fit_lowers_what_the_heads_tell_and_says_how_it_went(tmp_path: Path) -> None:
    told = {}
    for weight in (1e-9, 1):
        run = train_alone(tiny(*LAST, LINEAR, *LEAKY, f"debias.weight={weight}"), tmp_path / str(weight))
        records = metrics(run)
        told[weight] = [r for r in records if r["kind"] == "train"][-1]["penalty_nats"]
    assert told[1] < 0.7 * told[1e-9]
    train = [r for r in records if r["kind"] == "train"]
    # in the steps of the backbone there is no penalty; it rises in the last fit, whose steps follow them
    assert all("penalty_nats" not in r for r in train if r["epoch"] < 4)
    last = [r for r in train if r["epoch"] == 4]
    assert [r["step"] - last[0]["step"] for r in last] == [0, 100, 200, 300]
    assert last[-1]["mi_weight"] == 1
    assert last[-1]["penalty_nats"] > 0
    seen = [r for r in records if r["kind"] == "validation" and r["epoch"] == 4]
    assert len(seen) == 2
    assert all("validation/colour/critic_bits" in r for r in seen)


def test_a_run_that_is_killed_in_its_last_fit_resumes_to_the_same_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_last_fit(monkeypatch)
    recipe = tiny(*LAST, LINEAR, FEW)
    whole = train_alone(recipe, tmp_path / "whole")
    for name, at in (("before", "fitting"), ("after", "saved")):
        with monkeypatch.context() as patch:
            real = stages.finish_heads

            def stopped(*given: object, at: str = at, real: Callable[..., None] = real) -> None:
                if at == "saved":
                    real(*given)
                raise KeyboardInterrupt

            patch.setattr(stages, "finish_heads", stopped)
            with pytest.raises(KeyboardInterrupt):
                trained(recipe, tmp_path / name)
        train_alone(recipe, tmp_path / name, resume=tmp_path / name)
        assert same(best(whole), best(tmp_path / name))
        assert metrics(whole) == metrics(tmp_path / name)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("representation={layers: [features]}", "set representation.bottleneck"),
        ("representation.layers=[features, output]", "set representation.layers: [features]"),
        ("debias.budget_bits=0.1", "leave debias.budget_bits out"),
        ("debias.balance_by=draws", "set debias.balance_by: weights"),
        ("data.columns={target: null}", "leave it out"),
        ("debias.warmup_epochs=3", "acts after them"),
        ("debias.gradients=rescale", "acts after them"),
    ],
)
def test_what_the_last_fit_cannot_do_is_said_before_anything_is_read(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        tiny(*LAST, LINEAR, override)


def test_under_a_uniform_prior_the_scores_know_nothing_of_how_frequent_classes_are() -> None:
    """The two priors differ by log p(y) in the scores' bias, and by nothing else."""
    given = {}
    for prior in ("training", "uniform"):
        parts = assemble(tiny("debias.bias_product=1", f"debias.class_prior={prior}"), offline=True)
        given[prior] = parts.weights.train[TASK_OFFSET]
    difference = given["uniform"] - given["training"]
    frequencies = np.bincount(parts.data.train.y, minlength=10) / len(parts.data.train)
    np.testing.assert_allclose(difference, np.tile(np.log(frequencies), (len(difference), 1)), atol=0.02)


def test_heads_that_the_last_fit_leaves_at_chance_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the epochs before learned is no excuse."""

    def erring(model: TaskModel, parts: Parts, make: MakeDebiaser, log: Log, progress: Progress) -> None:
        torch.nn.init.zeros_(model.head.linear.weight)
        log.look(make(), N_STEPS - 1)

    monkeypatch.setattr(stages, "finish_heads", erring)
    run = train_alone(tiny(*LAST, LINEAR, *LEAKY, "debias.weight=0"), tmp_path / "run")
    assert [(r["epoch"], r["what"]) for r in metrics(run) if r["kind"] == "warning"] == [(4, "chance")]


def test_what_validation_sees_last_are_the_heads_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_last_fit(monkeypatch)
    for weight in (0, 1):
        recipe = tiny(*LAST, LINEAR, FEW, "training.epochs=3", f"debias.weight={weight}")
        run = train_alone(recipe, tmp_path / str(weight))
        seen = [r for r in metrics(run) if r["kind"] == "validation"][-1]
        assert seen["epoch"] == 3
        parts = assemble(recipe, offline=True)
        model = load_run_model(parts, run / "checkpoints/best.safetensors")
        split = parts.data.validation
        x = embed(model.extractor, split, **parts.reading).backbone_features
        right = scores_of(model, x).argmax(1).numpy() == split.y
        assert seen["validation/accuracy"] == pytest.approx(float(right.mean()))
