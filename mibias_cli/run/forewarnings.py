"""What can be said of a debiasing run before its first step: effective sample sizes, and what a budget must cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.groups import effective_sample_size
from mibias_cli.evaluation.statistics.information import mutual_information_bits
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.debias import balance_of, budgets_of, debiased_attributes
from mibias_cli.training.control.budget import least_error

__all__ = ["forewarnings", "target_attribute_bits"]

_FEW, _SHARE = 500, 0.05


def target_attribute_bits(data: BiasedData) -> dict[str, float]:
    """I(y; c) of the training split in bits, by attribute (the largest channel): what a perfect classifier leaks."""
    found = {}
    for name, attribute in data.attributes.items():
        known = data.train.known[name]
        classes = attribute.classes(data.train.c[name][known])
        found[name] = max(
            mutual_information_bits(data.train.strata[known], c, len(data.class_names), n)
            for c, n in zip(classes.T, attribute.n_classes, strict=True)
        )
    return found


def forewarnings(recipe: Recipe, data: BiasedData, weights: Mapping[str, np.ndarray]) -> list[str]:
    """Warnings about balancing weights that rest on few samples, and about marginal budgets below I(y; c).

    Args:
        recipe: What is to be done.
        data: The data.
        weights: Balancing weights of the training split.
    """
    warnings = []
    for name in debiased_attributes(recipe, data):
        if name in weights:
            n = len(data.train)
            size = effective_sample_size(weights[name])
            if size < _FEW or size < _SHARE * n:
                warnings.append(
                    f"attribute '{name}': balancing weights leave an effective sample size of {size:.0f} of {n}; rare "
                    "pairs of target and attribute carry the estimate. Lower debias.balance_clip, or collect such pairs"
                )
    if recipe.debias.objective == "marginal" and balance_of(recipe, data) in ("none", "task"):
        shared = target_attribute_bits(data)
        for name, bits in budgets_of(recipe, data).items():
            # of labels and numbers I(y; c) is that of their strata, which can only be less; what it costs is not known
            classes = data.target.kind == "classes"
            cost = least_error(shared[name] - bits, len(data.class_names))
            if cost > 0:
                price = f"; on data like these it costs an error of at least {100 * cost:.1f} %" if classes else ""
                warnings.append(
                    f"attribute '{name}': the budget of {bits:g} bits lies below I(y; c) = {shared[name]:.3f} bits, "
                    f"the least that perfect predictions leak{price}. Set debias.objective to conditional, or raise "
                    "the budget"
                )
    return warnings
