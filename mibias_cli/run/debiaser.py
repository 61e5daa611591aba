"""From a recipe to what debiases: estimators, queue, budget and watch of `debias`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from mibias_cli.data.loader import n_drawn
from mibias_cli.errors import MibiasError
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.protocol import Estimator, EstimatorSpec
from mibias_cli.evaluation.statistics.information import label_entropy_bits
from mibias_cli.heads.attribute import AttributeHead
from mibias_cli.recipe.sections.debias import DebiasSection
from mibias_cli.run.assemble import Parts
from mibias_cli.run.build import ESTIMATORS, from_section, resolve
from mibias_cli.run.weights import LEAST_SHARE
from mibias_cli.seeds import derive_seed, scoped_torch_rng
from mibias_cli.training.control.budget import BudgetKeeper
from mibias_cli.training.control.meter import LeakageMeter
from mibias_cli.training.control.watch import CriticWatch
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.queue import FeatureQueue
from mibias_cli.training.settings import DebiasSettings

__all__ = ["build_debiaser", "check_varies"]

MONITOR_HIDDEN = (64,)
"""Attribute heads that only watch (beside an estimator that has none of its own) are small: they cost little."""
_FRESH_HEADS: tuple[tuple[tuple[int, ...], float], ...] = (((), 1e-2), ((128, 128), 2e-3))
"""Hidden widths and learning rates of the heads that a budget is kept by: a linear one and an MLP."""
_FRESH_BATCH = 256
AUTO_SHARE = 0.5
"""`weight: auto` of penalties in the steps: the norm of their gradient, where the task's is 1."""


def build_debiaser(parts: Parts, z_width: int, *, mixing_alone: bool = False) -> Debiaser | None:
    """Estimators, attribute heads and queue of a recipe for a z of some width; None for plain training.

    With `mixing_alone` there are no estimators: the steps before a last fit, in which alone the penalty acts.
    """
    recipe, section = parts.recipe, parts.debias
    if section.estimator == "none":
        return None
    device = parts.fabric.device
    dtype = torch.float64 if recipe.training.precision == "64" else torch.float32

    # one estimator per attribute, and beside it a monitor: heads whose accuracy says how much the features tell
    estimators, monitors = {}, {}
    with scoped_torch_rng():
        for name in () if mixing_alone else parts.debiased:
            torch.manual_seed(derive_seed(recipe.seed, "critic", name))
            spec = _estimator_spec(parts, name, z_width)
            estimators[name] = resolve(ESTIMATORS[section.estimator])(spec).to(device, dtype)
            monitors[name] = estimators[name]
            # the classifier bound is a head already and watches itself
            if section.estimator != "classifier":
                monitor = _classifier(spec, MONITOR_HIDDEN, steps=1, rate=1e-3, batch_size=spec.batch_size)
                monitors[name] = monitor.to(device, dtype)

    # the queue keeps weights beside features where the estimator weighs rows; drawn rows are weighted already
    balanced, size = parts.balance in ("critic", "both"), recipe.training.batch_size
    weighted = balanced and section.balance_by == "weights"
    capacity = section.queue_batches * (n_drawn(size, section.draw_share) if balanced and not weighted else size)
    budget, meter = _build_budget(parts, dtype)
    # λ that nobody chose is a share of the task's gradient; a budget, and a last fit, have their own ways to find it
    by_share = section.weight == "auto" and budget is None and parts.head_last is None
    most = _most_nats(parts, estimators) if by_share else None
    share = AUTO_SHARE if most is None else 1.0
    settings = from_section(
        DebiasSettings,
        section,
        weight=0.0 if mixing_alone else share if by_share else _first_weight(section, budget is not None),
        gradients="ratio" if by_share else section.gradients,
        critic_steps=section.critic.steps,
        balance=parts.balance,
        measure_every_epochs=section.budget.every_epochs,
        most_nats=most,
        # of copies the penalty takes nothing that the task needs: the root has more force where little is left
        share_power=0.5 if section.sees_copies else 1.0,
    )
    return Debiaser(
        settings=settings,
        estimators=estimators,
        monitors=monitors,
        queue=FeatureQueue(capacity, weighted=weighted) if section.schedule == "queue" else None,
        seed=derive_seed(recipe.seed, "debias"),
        budget=budget,
        meter=meter,
        watch=_build_watch(parts, z_width) if section.watch and not mixing_alone else None,
        attributes=parts.debiased,
    )


def check_varies(parts: Parts) -> None:
    """Raise where `debias` names attributes of which none has two values in training rows: nothing could be taken out.

    Of several attributes one that has no two values is only told of (`run/weights.py`).
    """
    if not parts.debiased or parts.debias.estimator == "none":
        return
    train, told = parts.data.train, list[str]()
    for name in parts.debiased:
        known = train.known[name]
        values = parts.data.attributes[name].classes(train.c[name][known])
        if any(len(np.unique(channel)) > 1 for channel in values.T):
            return
        told.append(f"{name} (known in {known.sum():,} of {len(known):,})")
    raise MibiasError(
        f"debias: no two values in training rows: {', '.join(told)}, so that nothing of it could be taken out of "
        "features; train on rows that differ in it, or set debias.estimator: none to train plainly"
    )


def _most_nats(parts: Parts, estimators: Mapping[str, Estimator]) -> float | None:
    """The entropy of all that is debiased, with its factors, where the share of it that is estimated sets λ; else None.

    Beside a product of experts that gives the scores what the bias says, and among copies of whose attribute the target
    tells nothing, the task hardly pulls towards the bias: the penalty then needs force only as far as features tell
    of it, and more of it takes shape.
    """
    section, data = parts.debias, parts.data
    whole = section.bias_product == "auto" or section.bias_product >= LEAST_SHARE
    if not (whole or section.sees_copies) or any(each.unit != "nats" for each in estimators.values()):
        return None
    most = 0.0
    for name in estimators:
        attribute, known = data.attributes[name], data.train.known[name]
        classes = attribute.classes(data.train.c[name][known])
        bits = sum(label_entropy_bits(c, n) for c, n in zip(classes.T, attribute.n_classes, strict=True))
        most += section.attribute_weights.get(name, 1.0) * bits * math.log(2)
    return most or None


def _first_weight(section: DebiasSection, with_budget: bool) -> float:
    """λ as the recipe has it, or where a budget starts from: something has to start."""
    if section.weight == "auto":
        return 1.0
    return section.weight or 1.0 if with_budget else section.weight


def _build_budget(parts: Parts, dtype: torch.dtype) -> tuple[BudgetKeeper | None, LeakageMeter | None]:
    """What keeps a leakage budget, where the recipe has one: a controller of λ, and fresh heads that measure for it."""
    section, budgets = parts.recipe.debias, parts.budgets
    if section.budget_bits is None:
        return None, None
    keeper = BudgetKeeper(
        budget_bits=budgets, weight=_first_weight(section, True), max_weight=section.budget.max_weight
    )
    meter = LeakageMeter(
        make_bounds={name: partial(_fresh_bounds, parts, name, dtype) for name in budgets},
        data=parts.data,
        max_samples=section.budget.max_samples,
        seed=derive_seed(parts.recipe.seed, "budget"),
        ranks=parts.ranks,
        **parts.reading,
    )
    return keeper, meter


def _fresh_bounds(parts: Parts, name: str, dtype: torch.dtype, width: int) -> Sequence[ClassifierBound]:
    """A linear and an MLP head with their bounds for features of a width."""
    # in the precision of the run, in which its features come
    spec = _estimator_spec(parts, name, width)
    bounds = [_classifier(spec, hidden, steps=60, rate=rate) for hidden, rate in _FRESH_HEADS]
    return [bound.to(torch.device("cpu"), dtype) for bound in bounds]


def _build_watch(parts: Parts, z_width: int) -> CriticWatch:
    """A fresh linear head for every look at the critic."""
    specs = {name: _estimator_spec(parts, name, z_width) for name in parts.debiased}
    makers = {name: partial(_classifier, spec, (), steps=100, rate=1e-2) for name, spec in specs.items()}
    return CriticWatch(makers, steps=parts.recipe.debias.critic.steps)


def _classifier(
    spec: EstimatorSpec, hidden: tuple[int, ...], *, steps: int, rate: float, batch_size: int | None = _FRESH_BATCH
) -> ClassifierBound:
    """A classifier bound on fresh attribute heads of given widths, however the recipe's own critic is set up."""
    return ClassifierBound(
        replace(
            spec,
            hidden=hidden,
            make_heads=partial(AttributeHead, n_classes=spec.n_classes, hidden=hidden),
            steps=steps,
            learning_rate=rate,
            optimizer="adam",
            beta1=0.9,
            batch_size=batch_size,
            smoothing=0.0,
        )
    )


def _estimator_spec(parts: Parts, name: str, z_width: int) -> EstimatorSpec:
    """What the recipe's estimator of one attribute is made from; what is not named here is as in `debias.critic`."""
    section, critic, attribute = parts.recipe.debias, parts.recipe.debias.critic, parts.data.attributes[name]
    queued, hidden = section.schedule == "queue", tuple(critic.hidden)
    return from_section(
        EstimatorSpec,
        critic,
        n_features=z_width,
        n_classes=attribute.n_classes,
        bin_edges=attribute.bin_edges,
        hidden=hidden,
        # the loop takes the fresh schedule's K turns itself, one critic step on each whole batch
        steps=critic.steps if queued else 1,
        batch_size=(critic.batch_size or parts.recipe.training.batch_size) if queued else None,
        given_target=section.objective == "conditional",
        n_targets=len(parts.data.class_names),
        make_heads=partial(AttributeHead, n_classes=attribute.n_classes, hidden=hidden),
    )
