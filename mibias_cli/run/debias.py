"""From a recipe's `debias` section to balancing weights, estimators, queue, budget and watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mibias_cli.recipe.schema import DebiasSection, Recipe
from mibias_cli.run.build import ESTIMATORS, resolve

if TYPE_CHECKING:
    import numpy as np

    from mibias_cli.data.batch import Attribute, BiasedData, Split
    from mibias_cli.estimators.classifier import ClassifierBound
    from mibias_cli.estimators.protocol import EstimatorSpec
    from mibias_cli.training.control.budget import BudgetKeeper
    from mibias_cli.training.control.meter import LeakageMeter
    from mibias_cli.training.control.watch import CriticWatch
    from mibias_cli.training.debiaser import Debiaser
    from mibias_cli.training.settings import Balance

__all__ = [
    "balance_of",
    "bias_log_probabilities",
    "budgets_of",
    "build_debiaser",
    "build_weights",
    "debiased_attributes",
    "share_told",
]

MONITOR_HIDDEN = (64,)
"""Attribute heads that only watch (beside an estimator that has none of its own) are small: they cost little."""
_FRESH_HEADS: tuple[tuple[tuple[int, ...], float], ...] = (((), 1e-2), ((128, 128), 2e-3))
"""Hidden widths and learning rates of the heads that a budget is kept by."""
LEAST_SHARE = 0.8
"""Of log p(y|c) under `bias_product: auto`: docs/decisions/0008-the-share-grows-with-the-bias.md."""


def build_weights(
    recipe: Recipe, data: BiasedData, note: Callable[[str], None] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Balancing weights p(y)p(c)/p(y,c) of the train and validation splits: per attribute, and joint for the task.

    With `debias.bias_product` the train split also has what is added to the class scores, and the validation split has
    what the attributes alone say of the classes. `note` is told which share `auto` came to.
    """
    offset, reference = _task_offset(recipe, data, note), bias_log_probabilities(recipe, data)
    if balance_of(recipe, data) == "none":
        return {"train": offset, "validation": reference}
    held_out = _split_weights(recipe, data, data.validation) if len(data.validation) else {}
    return {"train": _split_weights(recipe, data, data.train) | offset, "validation": held_out | reference}


def bias_log_probabilities(recipe: Recipe, data: BiasedData) -> dict[str, np.ndarray]:
    """log p(y|c) of validation rows, by BIAS_LOG_P: what models are compared with (`gain_over_bias_bits`).

    From training and validation rows together, each row's from a fit that did not see it; nothing where there are no
    classes, no attribute or no validation rows.
    """
    import numpy as np

    from mibias_cli.data.groups import target_log_probabilities
    from mibias_cli.training.step import BIAS_LOG_P

    names = debiased_attributes(recipe, data)
    if not names or data.target.kind != "classes" or not len(data.validation):
        return {}
    parts = [_joint(data, split, names) for split in (data.train, data.validation)]
    c, known = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    y = np.concatenate([data.train.y, data.validation.y])
    log_p = target_log_probabilities(y, c, known, n_y=len(data.class_names), n_c=parts[0][2], seed=recipe.seed)
    return {BIAS_LOG_P: log_p[len(data.train) :]}


def _task_offset(recipe: Recipe, data: BiasedData, note: Callable[[str], None] | None) -> dict[str, np.ndarray]:
    """A share of log p(y|c) for training rows, by TASK_OFFSET; nothing where the recipe has none."""
    from mibias_cli.data.groups import target_log_probabilities
    from mibias_cli.training.step import TASK_OFFSET

    names, wanted = debiased_attributes(recipe, data), recipe.debias.bias_product
    if not names or not wanted:
        return {}
    c, known, n_c = _joint(data, data.train, names)
    log_p = target_log_probabilities(data.train.y, c, known, n_y=len(data.class_names), n_c=n_c, seed=recipe.seed)
    if wanted != "auto":
        return {TASK_OFFSET: wanted * log_p}
    told = share_told(data.train.y[known], log_p[known])
    share = max(LEAST_SHARE, told)
    if note is not None:
        note(f"bias_product: auto is {share:.3f}; {', '.join(names)} tell {told:.3f} of the target's entropy")
    return {TASK_OFFSET: share * log_p}


def share_told(y: np.ndarray, log_p: np.ndarray) -> float:
    """What log p(y|c) (n, k) tells of targets y (n,), as a share of their entropy, I(y; c) / H(y); 0 without any."""
    import numpy as np

    from mibias_cli.evaluation.statistics.information import label_entropy_bits

    entropy = label_entropy_bits(y, log_p.shape[1]) * np.log(2)
    if not entropy:
        return 0.0
    return float(1 + log_p[np.arange(len(y)), y].astype(np.float64).mean() / entropy)


def _joint(data: BiasedData, split: Split, names: list[str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Classes of some attributes side by side (n, channels), rows where all are known (n,), classes per channel."""
    import numpy as np

    c = np.concatenate([data.attributes[n].classes(split.c[n]) for n in names], axis=1)
    known = np.logical_and.reduce([split.known[n] for n in names])
    return c, known, [k for n in names for k in data.attributes[n].n_classes]


def balance_of(recipe: Recipe, data: BiasedData) -> Balance:
    """Where samples are balanced: as the recipe says, and nowhere without a target, from which weights are made."""
    return "none" if data.target.kind == "none" else recipe.debias.balance


def _split_weights(recipe: Recipe, data: BiasedData, split: Split) -> dict[str, np.ndarray]:
    from mibias_cli.data.groups import balancing_weights
    from mibias_cli.training.step import DRAW_WEIGHT, TASK_WEIGHT

    names = debiased_attributes(recipe, data)
    if not names:
        return {}

    def weigh(chosen: list[str]) -> np.ndarray:
        c, known, n_c = _joint(data, split, chosen)
        clip, n_y = recipe.debias.balance_clip, len(data.class_names)
        return balancing_weights(split.strata, c, known, n_y=n_y, n_c=n_c, clip=clip, seed=recipe.seed)

    weights = {name: weigh([name]) for name in names}
    task = weights[names[0]] if len(names) == 1 else weigh(names)
    strength = recipe.debias.balance_strength
    tempered = {name: strength * weight + (1 - strength) for name, weight in weights.items()}
    # rows are drawn once for all attributes, so by the weights under which y is independent of them together
    return {**tempered, TASK_WEIGHT: task, DRAW_WEIGHT: strength * task + (1 - strength)}


def debiased_attributes(recipe: Recipe, data: BiasedData) -> list[str]:
    """Names of the attributes that the recipe debiases, in the data's order."""
    chosen = recipe.debias.attributes
    return [name for name in data.attributes if chosen is None or name in chosen]


def budgets_of(recipe: Recipe, data: BiasedData) -> dict[str, float]:
    """Leakage budget in bits of every debiased attribute that has one."""
    bits, names = recipe.debias.budget_bits, debiased_attributes(recipe, data)
    if bits is None:
        return {}
    return dict.fromkeys(names, bits) if isinstance(bits, float) else {n: bits[n] for n in names if n in bits}


def build_debiaser(recipe: Recipe, data: BiasedData, z_width: int, device: Any) -> Debiaser | None:
    """Estimators, attribute heads and queue of a recipe for a z of some width; None for plain training."""
    import torch

    from mibias_cli.seeds import derive_seed, scoped_torch_rng
    from mibias_cli.training.debiaser import Debiaser
    from mibias_cli.training.queue import FeatureQueue
    from mibias_cli.training.settings import DebiasSettings

    section = recipe.debias
    if section.estimator == "none":
        return None
    dtype = torch.float64 if recipe.training.precision == "64" else torch.float32
    estimators, monitors = {}, {}
    with scoped_torch_rng():
        for name in debiased_attributes(recipe, data):
            torch.manual_seed(derive_seed(recipe.seed, "critic", name))
            spec = _estimator_spec(recipe, data, data.attributes[name], z_width)
            estimators[name] = resolve(ESTIMATORS[section.estimator])(spec).to(device, dtype)
            monitors[name] = estimators[name]
            if section.estimator != "classifier":
                monitors[name] = resolve(ESTIMATORS["classifier"])(_monitor_spec(spec)).to(device, dtype)
    balance = balance_of(recipe, data)
    weighted = balance in ("critic", "both") and section.balance_by == "weights"
    capacity = section.queue_batches * recipe.training.batch_size
    budget, meter = _build_budget(recipe, data, device, dtype)
    return Debiaser(
        settings=DebiasSettings(
            weight=section.weight if budget is None else section.weight or 1.0,
            warmup_epochs=section.warmup_epochs,
            schedule=section.schedule,
            critic_steps=section.critic.steps,
            queue_batches=section.queue_batches,
            gradients=section.gradients,
            balance=balance,
            balance_by=section.balance_by,
            attribute_weights=section.attribute_weights,
            measure_every_epochs=section.budget.every_epochs,
        ),
        estimators=estimators,
        monitors=monitors,
        queue=FeatureQueue(capacity, weighted=weighted) if section.schedule == "queue" else None,
        seed=derive_seed(recipe.seed, "debias"),
        budget=budget,
        meter=meter,
        watch=_build_watch(recipe, data, z_width) if section.watch else None,
    )


def _build_budget(
    recipe: Recipe, data: BiasedData, device: Any, dtype: Any
) -> tuple[BudgetKeeper | None, LeakageMeter | None]:
    """What keeps a leakage budget, where the recipe has one."""
    from mibias_cli.seeds import derive_seed
    from mibias_cli.training.control.budget import BudgetKeeper
    from mibias_cli.training.control.meter import LeakageMeter

    section = recipe.debias
    if section.budget_bits is None:
        return None, None
    names = debiased_attributes(recipe, data)
    bits = section.budget_bits
    budgets = dict.fromkeys(names, bits) if isinstance(bits, float) else {n: bits[n] for n in names if n in bits}
    keeper = BudgetKeeper(budget_bits=budgets, weight=section.weight or 1.0, max_weight=section.budget.max_weight)
    meter = LeakageMeter(
        make_bounds={name: _fresh_bounds(recipe, data, data.attributes[name], dtype) for name in budgets},
        data=data,
        max_samples=section.budget.max_samples,
        batch_size=recipe.training.batch_size,
        num_workers=recipe.training.num_workers,
        device=device,
        seed=derive_seed(recipe.seed, "budget"),
    )
    return keeper, meter


def _fresh_bounds(
    recipe: Recipe, data: BiasedData, attribute: Attribute, dtype: Any
) -> Callable[[int], list[ClassifierBound]]:
    """Makes a linear and an MLP head with their bounds for features of a width."""

    def make(width: int) -> list[ClassifierBound]:
        spec = _estimator_spec(recipe, data, attribute, width)
        return [_head_bound(spec, hidden, steps=60, rate=rate, dtype=dtype) for hidden, rate in _FRESH_HEADS]

    return make


def _build_watch(recipe: Recipe, data: BiasedData, z_width: int) -> CriticWatch:
    """A fresh linear head for every look at the critic."""
    from mibias_cli.training.control.watch import CriticWatch

    def maker(name: str) -> Callable[[], ClassifierBound]:
        spec = _estimator_spec(recipe, data, data.attributes[name], z_width)
        return lambda: _head_bound(spec, (), steps=100, rate=1e-2, dtype=None)

    names = debiased_attributes(recipe, data)
    return CriticWatch({name: maker(name) for name in names}, steps=recipe.debias.critic.steps)


def _head_bound(
    spec: EstimatorSpec, hidden: tuple[int, ...], *, steps: int, rate: float, dtype: Any
) -> ClassifierBound:
    """A classifier bound on fresh attribute heads of given hidden widths."""
    from functools import partial

    from mibias_cli.heads.attribute import AttributeHead

    heads = partial(AttributeHead, n_classes=spec.n_classes, hidden=hidden)
    changed = replace(
        spec,
        hidden=hidden,
        make_heads=heads,
        steps=steps,
        learning_rate=rate,
        optimizer="adam",
        beta1=0.9,
        batch_size=256,
        smoothing=0.0,
    )
    bound: ClassifierBound = resolve(ESTIMATORS["classifier"])(changed)
    return bound if dtype is None else bound.to(bound.like.device, dtype)


def _estimator_spec(recipe: Recipe, data: BiasedData, attribute: Attribute, z_width: int) -> EstimatorSpec:
    from functools import partial

    from mibias_cli.estimators.protocol import EstimatorSpec
    from mibias_cli.heads.attribute import AttributeHead

    section: DebiasSection = recipe.debias
    queued = section.schedule == "queue"
    return EstimatorSpec(
        n_features=z_width,
        n_classes=attribute.n_classes,
        bin_edges=attribute.bin_edges,
        hidden=tuple(section.critic.hidden),
        learning_rate=section.critic.learning_rate,
        optimizer=section.critic.optimizer,
        beta1=section.critic.beta1,
        # the loop takes the fresh schedule's K turns itself, one critic step on each whole batch
        steps=section.critic.steps if queued else 1,
        batch_size=(section.critic.batch_size or recipe.training.batch_size) if queued else None,
        moving_average=section.critic.moving_average,
        n_random_features=section.critic.n_random_features,
        ridge=section.critic.ridge,
        architecture=section.critic.architecture,
        tau=section.critic.tau,
        entropy_weight=section.critic.entropy_weight,
        smoothing=section.critic.smoothing,
        given_target=section.objective == "conditional",
        n_targets=len(data.class_names),
        make_heads=partial(AttributeHead, n_classes=attribute.n_classes, hidden=tuple(section.critic.hidden)),
    )


def _monitor_spec(spec: EstimatorSpec) -> EstimatorSpec:
    from functools import partial

    from mibias_cli.heads.attribute import AttributeHead

    heads = partial(AttributeHead, n_classes=spec.n_classes, hidden=MONITOR_HIDDEN)
    return replace(
        spec,
        steps=1,
        learning_rate=1e-3,
        optimizer="adam",
        beta1=0.9,
        smoothing=0.0,
        hidden=MONITOR_HIDDEN,
        make_heads=heads,
    )
