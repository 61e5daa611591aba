"""What labels alone say before training: sample weights, the product of experts, and warnings about both.

Nothing here looks at an input or a network; everything is counted or fitted on targets and attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mibias_cli.data.batch import TASK_OFFSET, BiasedData, Split
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.groups import balancing_weights, effective_sample_size, target_log_probabilities
from mibias_cli.evaluation.statistics.information import label_entropy_bits, mutual_information_bits
from mibias_cli.training.control.budget import least_error
from mibias_cli.training.step import BIAS_LOG_P, DRAW_WEIGHT, TASK_WEIGHT

if TYPE_CHECKING:
    from mibias_cli.run.assemble import Parts

__all__ = ["SampleWeights", "bias_log_probabilities", "build_weights", "forewarnings", "share_told"]

LEAST_SHARE = 0.8
"""Of log p(y|c) under `bias_product: auto`: docs/decisions/0008-the-share-grows-with-the-bias.md."""
_FEW, _SHARE, _NEARLY_ALL = 500, 0.05, 0.9
_FEWEST_KNOWN = 50


@dataclass(frozen=True, kw_only=True)
class SampleWeights:
    """What is made of labels before training, for every row of a split (n,) or (n, classes).

    Args:
        train: Balancing weights by attribute, TASK_WEIGHT, DRAW_WEIGHT and TASK_OFFSET, as the recipe asks for them.
        validation: The same of validation rows, without an offset.
        notes: Lines for train.log.
    """

    train: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


def build_weights(parts: Parts) -> SampleWeights:
    """Balancing weights p(y)p(c)/p(y,c) of the train and validation splits: per attribute, and joint for the task.

    Under them y and c are independent, so an estimator does not find in z what y itself says of c. With
    `debias.bias_product` the train split also has what is added to the class scores.
    """
    offset, notes = _task_offset(parts)
    if parts.balance == "none":
        return SampleWeights(train=offset, validation={}, notes=notes)
    held_out = _split_weights(parts, parts.data.validation) if len(parts.data.validation) else {}
    return SampleWeights(train=_split_weights(parts, parts.data.train) | offset, validation=held_out, notes=notes)


def bias_log_probabilities(parts: Parts) -> dict[str, np.ndarray]:
    """log p(y|c) of validation rows (n, classes), by BIAS_LOG_P: the baseline of `gain_over_bias_bits`.

    Nothing where there are no classes, no attribute or no validation rows.
    """
    data, seed = parts.data, parts.recipe.seed
    if not parts.debiased or data.target.kind != "classes" or not len(data.validation):
        return {}
    # fitted on training and validation rows together, but each row's value comes from a fold that did not see it
    both = [_joint(data, split, parts.debiased) for split in (data.train, data.validation)]
    c, known = (np.concatenate([part[k] for part in both]) for k in (0, 1))
    y = np.concatenate([data.train.y, data.validation.y])
    n_y, n_c = len(data.class_names), both[0][2]
    return {BIAS_LOG_P: target_log_probabilities(y, c, known, n_y=n_y, n_c=n_c, seed=seed, first=len(data.train))}


def _task_offset(parts: Parts) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """A share of log p(y|c) − log p(y) for training rows, by TASK_OFFSET, and what to note of it.

    Without the second term the network learns classes as if all were equally frequent: `class_prior: uniform`, as in
    logit adjustment (arXiv 2007.07314). Of several labels each is two classes, whose difference is added to its score.
    """
    data, names, wanted = parts.data, parts.debiased, parts.recipe.debias.bias_product
    if not names or not wanted:
        return {}, ()
    c, known, n_c = _joint(data, data.train, names)
    labels, seed = data.target.kind == "multilabel", parts.recipe.seed
    columns = list(data.train.y.T.astype(np.int64)) if labels else [data.train.y]
    n_y = 2 if labels else len(data.class_names)
    log_ps = [target_log_probabilities(y, c, known, n_y=n_y, n_c=n_c, seed=seed) for y in columns]
    terms = log_ps
    if parts.recipe.debias.class_prior == "training":
        terms = [log_p - np.log(np.exp(log_p).mean(axis=0)) for log_p in log_ps]
    beyond = np.stack([term[:, 1] - term[:, 0] for term in terms], axis=1) if labels else terms[0]
    if wanted != "auto":
        return {TASK_OFFSET: wanted * beyond}, ()
    # auto: the more of the target the attributes tell, the larger the share that is added for the task
    told = float(np.mean([share_told(y[known], log_p[known]) for y, log_p in zip(columns, log_ps, strict=True)]))
    share = max(LEAST_SHARE, told)
    note = f"bias_product: auto is {share:.3f}; {', '.join(names)} tell {told:.3f} of the target's entropy"
    return {TASK_OFFSET: share * beyond}, (note,)


def share_told(y: np.ndarray, log_p: np.ndarray) -> float:
    """What log p(y|c) (n, k) tells of targets y (n,), as a share of their entropy, I(y; c) / H(y); 0 without any."""
    entropy = label_entropy_bits(y, log_p.shape[1]) * np.log(2)
    if not entropy:
        return 0.0
    # I(y; c) / H(y) = 1 − H(y|c) / H(y), and the mean of −log p(y|c) estimates H(y|c), in nats as the entropy is here
    return float(1 + log_p[np.arange(len(y)), y].astype(np.float64).mean() / entropy)


def _joint(data: BiasedData, split: Split, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Classes of some attributes side by side (n, channels), rows where all are known (n,), classes per channel."""
    classes = [data.attributes[n].classes(split.c[n]) for n in names]
    c = classes[0] if len(classes) == 1 else np.concatenate(classes, axis=1)
    known = np.logical_and.reduce([split.known[n] for n in names])
    return c, known, [k for n in names for k in data.attributes[n].n_classes]


def _split_weights(parts: Parts, split: Split) -> dict[str, np.ndarray]:
    section, names, n_y = parts.recipe.debias, parts.debiased, len(parts.data.class_names)
    if not names:
        return {}

    def weigh(chosen: Sequence[str]) -> np.ndarray:
        c, known, n_c = _joint(parts.data, split, chosen)
        clip, seed = section.balance_clip, parts.recipe.seed
        return balancing_weights(split.strata, c, known, n_y=n_y, n_c=n_c, clip=clip, seed=seed)

    weights = {name: weigh([name]) for name in names}
    task = weights[names[0]] if len(names) == 1 else weigh(names)
    # the strength tempers what the estimator sees; the task keeps its full weights
    strength = section.balance_strength
    tempered = {name: strength * weight + (1 - strength) for name, weight in weights.items()}
    # rows are drawn once for all attributes, so by the weights under which y is independent of them together
    drawn = tempered[names[0]] if len(names) == 1 else strength * task + (1 - strength)
    return {**tempered, TASK_WEIGHT: task, DRAW_WEIGHT: drawn}


def _target_attribute_bits(data: BiasedData) -> dict[str, float]:
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


def _few_known(name: str, n_known: int, n: int) -> str:
    """A warning where hardly any training row says what its attribute is; else empty."""
    if n_known >= min(_FEWEST_KNOWN, n):
        return ""
    return (
        f"attribute '{name}': only {n_known:,} of {n:,} training rows have a label of it, and the penalty is of these "
        "alone. Label more, or name another attribute"
    )


def _unseen_values(name: str, data: BiasedData) -> list[str]:
    """A warning of classes that audited rows have and training rows lack, so that no penalty saw them; else none."""
    attribute, told = data.attributes[name], list[str]()
    if attribute.bin_edges is not None:
        return []
    train, audit = (attribute.classes(split.c[name][split.known[name]]) for split in (data.train, data.audit))
    for k, names in enumerate(attribute.class_names):
        new, counts = np.unique(audit[~np.isin(audit[:, k], train[:, k]), k], return_counts=True)
        told += [f"{names[c]!r} ({count:,} rows)" for c, count in zip(new, counts, strict=True)]
    if not told:
        return []
    return [
        f"attribute '{name}': {len(told)} audited class(es) are in no training row: {first_rows(told)}; nothing that "
        "tells them apart is taken out. Train on rows of these, or read the audit as one of new values"
    ]


def _never_warm(parts: Parts) -> list[str]:
    """A warning where training ends before penalty or learning rate have come to what the recipe says of them."""
    section, epochs = parts.recipe.training, parts.recipe.training.epochs
    rising = (
        ("debias.warmup_epochs", "λ", "debias.weight", parts.recipe.debias.warmup_epochs),
        ("training.warmup_epochs", "the learning rate", "training.learning_rate", section.warmup_epochs),
    )
    return [
        f"{key}: {what} rises over {warmup:g} epochs, and training.epochs is {epochs}: it ends at "
        f"{100 * epochs / warmup:.2g} % of {whole}. Lower the one, or raise the other"
        for key, what, whole, warmup in rising
        if warmup > epochs
    ]


def forewarnings(parts: Parts) -> list[str]:
    """Warnings about attributes of which training rows show little, balancing weights of few samples, and budgets.

    Attributes: that do not vary in training, are known in few of its rows, or have audited values that it lacks. And
    about a λ that does not come to its weight.
    """
    data, n, warnings = parts.data, len(parts.data.train), _never_warm(parts)
    for name in parts.debiased:
        known = data.train.c[name][data.train.known[name]]
        varies = not (known == known[:1]).all()
        # of rows that are all alike there are not too few: more of the same would show no more
        if (varies or not len(known)) and (few := _few_known(name, len(known), n)):
            warnings.append(few)
        if varies:
            warnings += _unseen_values(name, data)
        elif len(known):
            warnings.append(
                f"attribute '{name}': all {len(known):,} training rows in which it is known have the same value, so "
                "nothing of it is taken out. Train on rows of other values too, or name another attribute"
            )
        # copies are balanced as they are
        if name in parts.weights.train and not parts.debias.sees_copies:
            weights = parts.weights.train[name]
            size = effective_sample_size(weights)
            if size < max(_FEW, _SHARE * n) and size < _NEARLY_ALL * n:
                warnings.append(
                    f"attribute '{name}': balancing weights leave an effective sample size of {size:.0f} of {n}; rare "
                    "pairs of target and attribute carry the estimate. Set debias.balance_clip below "
                    f"{weights.max():.3g}, the largest weight, or collect such pairs"
                )
    # with weights in the estimator, or conditional on y, a perfect classifier need not leak I(y; c)
    if parts.recipe.debias.objective != "marginal" or parts.balance not in ("none", "task"):
        return warnings
    shared = _target_attribute_bits(data)
    for name, bits in parts.budgets.items():
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
