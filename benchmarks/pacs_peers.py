"""The peers of the benchmark on real photographs: heads on frozen features, and whole networks fine-tuned otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from runs import features_and_accuracy, train_alone
from torch.nn import functional

from mibias_cli.estimators.protocol import Sample
from mibias_cli.methods.dfr import balanced_head
from mibias_cli.methods.erasers.linear_eraser import fit_leace
from mibias_cli.progress import Silent
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run.cached import cached_parts

__all__ = ["FINE_TUNED", "HEADS", "Encoded", "Fitted", "worst_group"]

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
CLIP = 50.0
"""Largest weight of a sample, relative to a mean of 1."""
N_SUBSETS = 10
"""Balanced subsets over which DFR averages its heads, as its authors do."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Standardised pooled features (n, d), targets and bias of a draw; audited labels are not here to be seen."""

    x: Features
    y: Labels
    c: Labels
    validation_x: Features
    validation_y: Labels
    validation_c: Labels
    audit_x: Features
    parts: Parts


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a method gives: predicted classes of audited rows (n,), the exported representation of them (n, d), and
    predicted classes of validation rows."""

    predicted: Labels
    features: Features
    on_validation: Labels | None = None


Fit = Callable[[Encoded, str, int], Fitted]
Rule = Callable[[Encoded, Fitted], float]


def worst_group(right: NDArray[np.bool_], y: Labels, c: Labels) -> float:
    """Accuracy in the class × style group where it is least."""
    group = y * (c.max() + 1) + c
    return float(min(right[group == g].mean() for g in np.unique(group)))


def linear_plain(data: Encoded, setting: str, seed: int) -> Fitted:
    """Multinomial logistic regression."""
    return _linear(data, float(setting))


def linear_reweight(data: Encoded, setting: str, seed: int) -> Fitted:
    """The same, samples weighted by p(y)p(c)/p(y,c)."""
    return _linear(data, float(setting), weight=balancing(data.y, data.c))


def linear_product(data: Encoded, setting: str, seed: int) -> Fitted:
    """The same, log p(y|c) added to the scores in training (product of experts, arXiv 1909.03683)."""
    return _linear(data, float(setting), offset=log_given_bias(data.y, data.c))


def leace(data: Encoded, setting: str, seed: int) -> Fitted:
    """LEACE (arXiv 2306.03819) on the features, then the product head; what is left of the features is exported."""
    z = torch.from_numpy(data.x).double()
    known = torch.ones(len(z), dtype=torch.bool)
    erase = fit_leace(
        Sample(z=z, c=torch.from_numpy(data.c)[:, None], y=None, weight=None, known=known), (int(data.c.max()) + 1,)
    )
    x, validation_x, audit_x = (
        erase(torch.from_numpy(one).double()).numpy().astype(np.float32)
        for one in (data.x, data.validation_x, data.audit_x)
    )
    offset = log_given_bias(data.y, data.c)
    return _linear(data, float(setting), offset=offset, inputs=(x, validation_x, audit_x))


def dfr(data: Encoded, setting: str, seed: int) -> Fitted:
    """Last-layer retraining on group-balanced subsets (DFR, arXiv 2204.02937): the setting is C of an L1 penalty.

    Of training and validation rows together, as many of each class × style group as the smallest has; the mean of ten
    heads. The audited split takes no part.
    """
    x = np.concatenate([data.x, data.validation_x])
    y, c = np.concatenate([data.y, data.validation_y]), np.concatenate([data.c, data.validation_c])
    w, b, _ = balanced_head(
        x, y, y * (c.max() + 1) + c, n_classes=int(y.max()) + 1, inverse_l1=float(setting), n_subsets=N_SUBSETS,
        generator=np.random.default_rng(seed),
    )  # fmt: skip
    predicted, on_validation = (data.audit_x @ w.T + b).argmax(1), (data.validation_x @ w.T + b).argmax(1)
    return Fitted(predicted=predicted, features=data.audit_x, on_validation=on_validation)


def by_recipe(method: str) -> Fit:
    """One of the recipe's methods (docs/methods.md) with a linear head on the frozen features.

    The setting is a mapping in YAML: the head's weight decay, and the method's own settings.
    """

    def fit(data: Encoded, setting: str, seed: int) -> Fitted:
        own, given = data.parts.recipe, yaml.safe_load(setting)
        decay = given.pop("head_weight_decay")
        changed = {
            "method": method,
            "method_settings": given,
            "representation": {},
            "training": own.training.model_dump() | {"head_last": None, "head_weight_decay": decay},
        }
        recipe = Recipe.model_validate(own.model_dump() | changed)
        parts = replace(data.parts, recipe=recipe)
        splits = (parts.data.train, parts.data.validation, parts.data.audit)
        parts = cached_parts(parts, Silent(), {split.name: np.arange(len(split)) for split in splits})
        model, _ = train_alone(parts)
        with torch.no_grad():
            predicted, on_validation = (
                model.head(torch.from_numpy(features_and_accuracy(model, split)[0])).argmax(dim=1).numpy()
                for split in (parts.data.audit, parts.data.validation)
            )
        return Fitted(predicted=predicted, features=data.audit_x, on_validation=on_validation)

    return fit


def _linear(
    data: Encoded,
    l2: float,
    *,
    weight: NDArray[np.float64] | None = None,
    offset: NDArray[np.float64] | None = None,
    inputs: tuple[Features, Features, Features] | None = None,
) -> Fitted:
    """A linear head by L-BFGS: mean weighted cross-entropy of scores + offset, and l2/2 times the squared weights."""
    x, validation_x, audit_x = inputs or (data.x, data.validation_x, data.audit_x)
    inputs_, y = torch.from_numpy(x), torch.from_numpy(data.y)
    weights = torch.ones(len(y)) if weight is None else torch.from_numpy(weight).float()
    added = 0.0 if offset is None else torch.from_numpy(offset).float()
    n_classes = int(data.y.max()) + 1
    head = torch.zeros(x.shape[1], n_classes, requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([head, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = functional.cross_entropy(inputs_ @ head + bias + added, y, reduction="none")
        loss = (weights * losses).mean() + l2 / 2 * head.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    w, b = head.detach().numpy(), bias.detach().numpy()
    predicted, on_validation = (audit_x @ w + b).argmax(1), (validation_x @ w + b).argmax(1)
    return Fitted(predicted=predicted, features=audit_x, on_validation=on_validation)


def _counts(y: Labels, c: Labels) -> NDArray[np.float64]:
    counts = np.zeros((y.max() + 1, c.max() + 1))
    np.add.at(counts, (y, c), 1)
    return counts


def balancing(y: Labels, c: Labels) -> NDArray[np.float64]:
    """p(y)p(c)/p(y,c) (n,), clipped, of mean 1."""
    joint = _counts(y, c) / len(y)
    weight = joint.sum(1)[y] * joint.sum(0)[c] / joint[y, c]
    clipped: NDArray[np.float64] = np.minimum(weight / weight.mean(), CLIP)
    return clipped / clipped.mean()


def log_given_bias(y: Labels, c: Labels) -> NDArray[np.float64]:
    """log p(y|c) (n, classes), with one pseudo-count per style."""
    counts = _counts(y, c)
    counts += 1 / len(counts)
    found: NDArray[np.float64] = np.log(counts / counts.sum(axis=0))[:, c].T
    return found


def _right(data: Encoded, fitted: Fitted) -> NDArray[np.bool_]:
    assert fitted.on_validation is not None
    return np.equal(fitted.on_validation, data.validation_y)


def _accuracy(data: Encoded, fitted: Fitted) -> float:
    """Plain validation accuracy."""
    return float(np.mean(_right(data, fitted)))


def _balanced(data: Encoded, fitted: Fitted) -> float:
    """Validation accuracy weighted by p(y)p(c)/p(y,c)."""
    return float(np.average(_right(data, fitted), weights=balancing(data.validation_y, data.validation_c)))


def _worst(data: Encoded, fitted: Fitted) -> float:
    """Validation accuracy in the worst group; of equals, the more accurate in balanced data."""
    return worst_group(_right(data, fitted), data.validation_y, data.validation_c) + 1e-3 * _balanced(data, fitted)


_L2 = ("0.01", "0.03", "0.1", "0.3")
_DECAYS = tuple(f"{{head_weight_decay: {decay}}}" for decay in (0.1, 1.0, 3.0, 10.0))
HEADS: dict[str, tuple[Fit, tuple[str, ...], Rule]] = {
    "linear_plain": (linear_plain, _L2, _accuracy),
    "linear_reweight": (linear_reweight, _L2, _balanced),
    "linear_product": (linear_product, _L2, _balanced),
    "dfr": (dfr, ("0.01", "0.03", "0.1", "1"), _worst),
    "leace": (leace, _L2, _balanced),
    "group_dro": (
        by_recipe("group_dro"),
        tuple(f"{{step_size: {step}, head_weight_decay: {decay}}}" for step in (0.01, 0.1) for decay in (1.0, 10.0)),
        _worst,
    ),
    "badd": (by_recipe("badd"), _DECAYS, _balanced),
    "domain_independent": (by_recipe("domain_independent"), _DECAYS, _balanced),
    "fair": (
        by_recipe("fair"),
        tuple(f"{{alpha: {alpha}, head_weight_decay: {decay}}}" for alpha in (0.1, 1.0) for decay in (1.0, 10.0)),
        _balanced,
    ),
    "jtt": (
        by_recipe("jtt"),
        tuple(f"{{upweight: {weight}, head_weight_decay: {decay}}}" for weight in (5, 50) for decay in (1.0, 10.0)),
        _worst,
    ),
    "weak_learner": (by_recipe("weak_learner"), _DECAYS, _balanced),
    "lff": (by_recipe("lff"), _DECAYS, _balanced),
    "ecs_ga": (
        by_recipe("ecs_ga"),
        tuple(f"{{gamma: {gamma}, head_weight_decay: {decay}}}" for gamma in (1.0, 1.6) for decay in (1.0, 10.0)),
        _balanced,
    ),
}
"""Heads on frozen features: the fit, its settings, and the rule by which one is chosen."""
_SAME = (
    "representation.bottleneck=null", "debias.bias_product=0", "debias.class_prior=training", "debias.mix=null",
    "training.head_last=null",
)  # fmt: skip
FINE_TUNED: dict[str, tuple[str, ...]] = {
    "plain": (*_SAME, "debias.estimator=none"),
    "reweight": (*_SAME, "debias.weight=0", "debias.balance=task"),
    "lntl": (*_SAME, "debias.estimator=lntl", "debias.objective=marginal", "debias.weight=1"),
    # the largest that its authors search: with frozen features it would change nothing
    "end": (*_SAME, "method=end", "method_settings={alpha: 1, beta: 1}"),
}
"""The stages that our recipe trains, trained otherwise: overrides of the recipe."""
