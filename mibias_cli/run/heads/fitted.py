"""Bottleneck and task head fitted by themselves: before a backbone is fine-tuned, and behind it at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mibias_cli.backbone.bottleneck import BottleneckShape
from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.data.target import TargetKind
from mibias_cli.heads.target import TargetHead
from mibias_cli.progress import Progress
from mibias_cli.run.assemble import Parts
from mibias_cli.run.heads.passes import Pass, held_samples, of_held_samples, passes_of, with_shares
from mibias_cli.run.heads.weight_path import (
    N_FOLDS,
    PATH,
    PATH_STEPS,
    choose_weight,
    folds,
    held_out_scores,
    sample_weights,
)
from mibias_cli.seeds import derive_seed, derived_generator, scoped_torch_rng
from mibias_cli.training.debiaser import Debiaser, StepMetrics, live_figures
from mibias_cli.training.model import TaskModel
from mibias_cli.training.step import TASK_WEIGHT, task_loss

__all__ = ["N_STEPS", "Log", "finish_heads", "fit_unpenalised", "penalise", "start_heads"]

MAX_ITERATIONS = 150
N_STEPS = 400
"""Steps of the last fit, each on all training samples."""
_RATE = 1e-2
_LOG_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """What heads are fitted to: targets, and by sample what is added to class scores, and weights."""

    y: Tensor
    kind: TargetKind
    offset: Tensor | None
    weight: Tensor | None

    def loss(self, scores: Tensor) -> Tensor:
        if self.offset is not None:
            scores = scores + self.offset.to(scores.dtype)
        return task_loss(scores, self.y, self.weight, self.kind)


def _goal(parts: Parts, y: Tensor, given: Mapping[str, Tensor]) -> _Goal:
    """The goal of rows with targets y and what is given of each by the keys of `training.step`."""
    weighted = parts.balance in ("task", "both")
    return _Goal(
        y=y,
        kind=parts.data.target.kind,
        offset=given.get(TASK_OFFSET),
        weight=given.get(TASK_WEIGHT) if weighted else None,
    )


def start_heads(model: TaskModel, parts: Parts, weights: Mapping[str, np.ndarray], progress: Progress) -> None:
    """Fit bottleneck and head in place on the training split, where `training.head_first` asks for it.

    Minimised is the task's loss, with what `debias.bias_product` adds to the scores, and half the L2 penalty times the
    squared weights. Of a linear bottleneck and the head these are the weights of the one linear map that they are
    together: two factors that are penalised each for itself would lose the directions that few samples ask for. Heads
    come first because fine-tuning behind an untrained head moves pretrained features for the worse (Kumar et al., arXiv
    2202.10054). Of very many samples some are drawn (`held_samples`).

    Args:
        weights: The training split's, as the stage has them: TASK_OFFSET and TASK_WEIGHT count.
    """
    l2 = parts.recipe.training.head_first
    if l2 is None or parts.data.target.kind == "none":
        return
    progress.stage("fitting bottleneck and head on the features as they are")
    model.eval()
    rows = held_samples(parts)
    train = parts.data.train.at(rows)
    pooled = torch.from_numpy(embed(model.extractor, train, **parts.reading).backbone_features)
    given = {name: torch.from_numpy(values[rows]) for name, values in weights.items()}
    goal = _goal(parts, torch.from_numpy(np.asarray(train.y)), given)
    _fit(model.cpu(), pooled, goal, l2)


class Log(Protocol):
    """Where the last fit says how it goes."""

    def say(self, text: str) -> None:
        """What the user should know, and whoever reads the log."""

    def record(self, step: int, metrics: StepMetrics) -> None:
        """Figures of a step, counted from 0."""

    def look(self, debiaser: Debiaser | None, step: int) -> None:
        """The heads, and critics fitted to them, as they are then: at the penalty's first step, and at the end."""


def finish_heads(
    model: TaskModel, parts: Parts, make_debiaser: Callable[[], Debiaser | None], log: Log, progress: Progress
) -> None:
    """Fit bottleneck and head anew behind the trained backbone, by `training.head_last`, with the MI penalty.

    First without the penalty, as `start_heads` does; then 400 steps of Adam, each on every training sample, with
    the penalty, whose λ rises over the first third. A penalty given the target needs all samples at once where most
    cells of target and attribute hold a few, of which a batch has none. The task sees pooled features of every sample
    as it is, in its augmented views and with channel statistics of other attribute values, where the recipe augments
    and mixes; the penalty sees those that are not mixed, and copies with statistics and attribute values of others.
    What comes out depends on the backbone and the recipe alone, not on the heads that the model had. Of very many
    samples some are drawn (`held_samples`), and weighed anew.

    Args:
        make_debiaser: Makes one whose estimators have seen nothing yet; None: plain training.
    """
    recipe, device = parts.recipe, parts.fabric.device
    progress.stage("fitting bottleneck and head on all training samples")
    model.to(device).eval()
    n, parts = len(parts.data.train), of_held_samples(parts)
    if (held := len(parts.data.train)) < n:
        log.say(f"bottleneck and head are fitted on {held:,} of {n:,} training samples, drawn at random")
    debiaser = make_debiaser()
    passes = list(passes_of(model, parts, debiaser))
    with scoped_torch_rng(device):
        if model.extractor.input_scale is not None:
            model.extractor.input_scale.fit(passes[0].plain.x)
        if debiaser is not None and recipe.debias.weight == "auto":
            found = _held_out_along_path(model, parts, passes, make_debiaser, progress)
            counts = sample_weights(parts, mixed=passes[0].mixed is not None)
            weight, why = parts.ranks.agreed(choose_weight(found, counts, parts.data.target.kind))
            log.say(why)
            debiaser.settings = replace(debiaser.settings, weight=weight)
        fit_unpenalised(model, parts, passes)
        if debiaser is not None and debiaser.settings.weight:
            penalise(model, parts, passes, debiaser, log, progress, n_steps=N_STEPS)
            parts.ranks.copy_first(model)
    model.eval()
    log.look(debiaser, N_STEPS - 1)


def _held_out_along_path(
    model: TaskModel,
    parts: Parts,
    passes: Sequence[Pass],
    make_debiaser: Callable[[], Debiaser | None],
    progress: Progress,
) -> NDArray[np.float64]:
    """How probable heads find what each training sample is that were fitted without it (λ, n), for λ of PATH.

    It is the mean over views; where statistics are mixed that of the mixed copies, which are as many in each style. A
    fold's heads go along the path: those of one λ start where those of the last one ended.
    """
    train = parts.data.train
    fold = torch.from_numpy(folds(parts))
    found = np.zeros((len(PATH), len(train)))
    for k in range(N_FOLDS):
        inside = [one.at(fold != k) for one in passes]
        # scored are samples, or mixed ones
        held = [replace(one, copies=None).at(fold == k) for one in passes]
        debiaser = make_debiaser()
        assert debiaser is not None, "called where there is a penalty"
        fit_unpenalised(model, parts, inside)
        for i, weight in enumerate(PATH):
            if weight:
                debiaser.settings = replace(debiaser.settings, weight=weight)
                penalise(model, parts, inside, debiaser, None, progress, start=PATH[i - 1], n_steps=PATH_STEPS)
            model.eval()
            bottleneck = model.extractor.bottleneck
            assert bottleneck is not None, "the recipe is checked for it"
            for one in held:
                rows = one.mixed or one.plain
                with torch.no_grad():
                    scores = held_out_scores(model.head(bottleneck(rows.x)), rows.y, parts.data.target.kind)
                found[i, one.samples] += scores.double().cpu().numpy() / len(held)
    return found


# --- without the penalty ---


def fit_unpenalised(model: TaskModel, parts: Parts, passes: Sequence[Pass]) -> None:
    """Fit bottleneck and head from weights that are drawn anew, on all rows of the passes."""
    torch.manual_seed(derive_seed(parts.recipe.seed, "heads"))
    for module in (*_modules(model.extractor.bottleneck), *_modules(model.head)):
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    every = Batch.joined([rows for one in passes for rows in (one.plain, one.mixed) if rows is not None])
    training = parts.recipe.training
    # a dry run times a fit of heads alone, too
    l2 = training.head_first if training.head_last is None else training.head_last
    assert l2 is not None, "called where the recipe asks for it"
    _fit(model, every.x, _goal(parts, every.y, every.weight), l2)
    # each rank fits by itself, and may round otherwise
    parts.ranks.copy_first(model)


def _fit(model: TaskModel, pooled: Tensor, goal: _Goal, l2: float) -> None:
    """Fit bottleneck and head to a goal on pooled features (n, d), without the penalty."""
    bottleneck, head = model.extractor.bottleneck, model.head
    pooled = pooled.to(next(head.parameters()).dtype)
    last, scores = _linear_layer(model), _scores_layer(model)
    if bottleneck is not None and last is not None:
        # convex: the one map that both layers are together, then its factors
        pooled = bottleneck[0](pooled)
        joint = nn.Linear(last.in_features, scores.out_features).to(pooled)
        nn.init.zeros_(joint.weight)
        nn.init.zeros_(joint.bias)
        _descend([joint], lambda: goal.loss(joint(pooled)), lambda: joint.weight.square().sum(), l2)
        whole = _factorise(joint, last, scores, classes=goal.kind == "classes")
        if not whole:
            _descend([last, scores], lambda: goal.loss(head(last(pooled))), lambda: _squared_map(model), l2)
        return
    layers = [module for module in (bottleneck, head) if module is not None]
    _descend(
        layers,
        lambda: goal.loss(head(pooled if bottleneck is None else bottleneck(pooled))),
        lambda: _squared_map(model),
        l2,
    )


def _descend(layers: Sequence[nn.Module], loss: Callable[[], Tensor], squares: Callable[[], Tensor], l2: float) -> None:
    """L-BFGS down a loss plus half the L2 penalty times squared weights."""
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def total() -> Tensor:
        optimizer.zero_grad()
        value = loss() + l2 / 2 * squares()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(total)
    optimizer.zero_grad()


@torch.no_grad()
def _factorise(joint: nn.Linear, first: nn.Linear, second: nn.Linear, *, classes: bool) -> bool:
    """Write a linear map as two, first then second; whether that is all of it.

    Class scores are centred: what is common to all of them changes no probability and would take up a dimension.
    """
    weight, bias = joint.weight.detach(), joint.bias.detach()
    if classes:
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    rank = min(len(values), len(weight) - 1) if classes else len(values)
    width = min(first.out_features, rank)
    root = values[:width].sqrt()
    # dimensions beyond these keep the directions that they were drawn with, and no score heeds them yet
    first.weight[:width] = root[:, None] * right[:width]
    first.bias.zero_()
    second.weight.zero_()
    second.weight[:, :width] = left[:, :width] * root
    second.bias.copy_(bias)
    return width == rank


def _linear_layer(model: TaskModel) -> nn.Linear | None:
    """The layer of a linear bottleneck; None for any other."""
    bottleneck, shape = model.extractor.bottleneck, model.extractor.bottleneck_shape
    if bottleneck is None or not isinstance(shape, BottleneckShape) or shape.hidden:
        return None
    last = bottleneck[-1]
    assert isinstance(last, nn.Linear), "behind what standardises there is one layer"
    return last


def _scores_layer(model: TaskModel) -> nn.Linear:
    """The one layer of the task head."""
    assert isinstance(model.head, TargetHead), "there is a target"
    return model.head.linear


def _squared_map(model: TaskModel) -> Tensor:
    """What the L2 penalty counts: squared weights, of a linear bottleneck and the head those of both together."""
    last = _linear_layer(model)
    if last is not None:
        return (_scores_layer(model).weight @ last.weight).square().sum()
    layers = [module for module in (model.extractor.bottleneck, model.head) if module is not None]
    # biases are not penalised
    return torch.stack([p.square().sum() for layer in layers for p in layer.parameters() if p.ndim > 1]).sum()


# --- with the penalty ---


def penalise(
    model: TaskModel,
    parts: Parts,
    passes: Sequence[Pass],
    debiaser: Debiaser,
    log: Log | None,
    progress: Progress,
    *,
    n_steps: int,
    start: float = 0.0,
) -> None:
    """min over bottleneck and head, max over T: L_task + λ · Î_T(z; c), with steps of T and of the two in turn.

    Over the first third of the steps λ rises from `start` to the debiaser's own.
    """
    recipe, extractor, head = parts.recipe, model.extractor, model.head
    bottleneck = extractor.bottleneck
    assert bottleneck is not None, "the recipe is checked for it"
    l2 = recipe.training.head_last or 0.0
    parameters = [p for layer in (bottleneck, head) for p in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    draw = derived_generator(recipe.seed, len(passes))
    passes = [with_shares(one, parts, debiaser) for one in passes]
    bottleneck.train()
    progress.begin("last fit" if log else "path of λ", n_steps)
    for step in range(n_steps):
        optimizer.param_groups[0]["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        seen = passes[int(draw.integers(len(passes)))]
        rows = seen.penalised(bottleneck)
        z = rows.x[: len(seen.plain)]
        task = _goal(parts, seen.plain.y, seen.plain.weight).loss(head(z))
        if seen.mixed is not None:
            goal = _goal(parts, seen.mixed.y, seen.mixed.weight)
            task = (task + goal.loss(head(bottleneck(seen.mixed.x)))) / 2
        # max over T, then down the sum with T held still
        debiaser.fit_on_batch(rows, rows.x.detach(), step, turn=0)
        if step == 0 and log is not None:
            bottleneck.eval()
            log.look(debiaser, step)
            bottleneck.train()
        penalty = debiaser.penalty(rows, rows.x, step)
        weight = start + (debiaser.settings.weight - start) * min(1.0, (step + 1) / (n_steps // 3))
        optimizer.zero_grad()
        (task + l2 / 2 * _squared_map(model) + weight * penalty).backward()
        optimizer.step()
        metrics = {"task_loss": float(task.detach()), "penalty_nats": float(penalty.detach())}
        if log is not None and (step + 1) % _LOG_EVERY == 0:
            # of samples alone: heads are not judged by copies
            log.record(step, metrics | debiaser.metrics(replace(seen.plain, x=z), z, step) | {"mi_weight": weight})
        progress.advance(step + 1, live_figures(metrics, debiaser, weight))
    progress.end()
    optimizer.zero_grad()
    # critics of the heads as they are now, for the look that follows
    with torch.no_grad():
        rows = passes[0].penalised(bottleneck.eval())
        debiaser.fit_on_batch(rows, rows.x, n_steps, turn=0)


def _modules(layer: nn.Module | None) -> Iterator[nn.Module]:
    return iter(()) if layer is None else layer.modules()
