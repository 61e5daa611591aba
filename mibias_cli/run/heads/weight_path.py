"""`debias.weight: auto` of a last fit: the largest λ of a path that held-out training samples bear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mibias_cli.data.groups import balancing_weights
from mibias_cli.data.target import TargetKind
from mibias_cli.run.assemble import Parts
from mibias_cli.seeds import derived_generator

__all__ = ["N_FOLDS", "PATH", "PATH_STEPS", "choose_weight", "folds", "held_out_scores", "sample_weights"]

PATH = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Values of λ, from none on."""
PATH_STEPS = 150
"""Steps from one value to the next."""
N_FOLDS = 2
TOLERANCE = 0.01
"""How much of the held-out samples' mean score a larger λ may cost."""
_FOLDS = 0xF01D
_SCORES: dict[TargetKind, str] = {
    "classes": "mean probability of held-out samples' classes",
    "multilabel": "mean probability of held-out samples' labels",
    "regression": "R² of held-out samples",
}


def folds(parts: Parts) -> NDArray[np.int64]:
    """A fold for each training sample (n,): every pair of target and attribute values is spread over all of them."""
    y, c, _ = _labels(parts)
    cell = np.unique(np.column_stack([y, c]), axis=0, return_inverse=True)[1].reshape(-1)
    g = derived_generator(parts.recipe.seed, _FOLDS)
    order = g.permutation(len(cell))
    # dealt out in turn, cell by cell; where a cell's samples are few, the next one's begin where they ended
    order = order[np.argsort(cell[order], kind="stable")]
    fold = np.empty(len(cell), dtype=np.int64)
    fold[order] = np.arange(len(cell)) % N_FOLDS
    return fold


def sample_weights(parts: Parts, *, mixed: bool) -> NDArray[np.float64]:
    """How much each training sample counts (n,), 1 in all.

    Classes count as `class_prior` says; within them samples by p(y)p(c)/p(y,c), unless the samples are copies `mixed`
    with statistics of other attribute values.
    """
    data, names = parts.data, parts.debiased
    y, c, known = _labels(parts)
    n_c = [k for name in names for k in data.attributes[name].n_classes]
    n_y = len(data.class_names)
    weights = np.ones(len(y))
    if not mixed:
        weights = balancing_weights(y, c, known, n_y=n_y, n_c=n_c, clip=len(y), seed=parts.recipe.seed).astype(float)
    if parts.recipe.debias.class_prior == "uniform":
        weights /= np.bincount(y, weights=weights, minlength=n_y)[y]
    return weights / weights.sum()


def held_out_scores(outputs: Tensor, y: Tensor, kind: TargetKind) -> Tensor:
    """How well a head's outputs (n, k) tell each sample's target (n,).

    Of a class it is its probability, of labels the mean probability of what each of them is, of standardised numbers
    1 − the mean squared error, whose mean over samples is R².

    Example:
        >>> import torch
        >>> held_out_scores(torch.tensor([[0.0, 100.0]]), torch.tensor([[1.0, 1.0]]), "multilabel").tolist()
        [0.75]
    """
    if kind == "classes":
        return outputs.softmax(dim=1).gather(1, y[:, None])[:, 0]
    if kind == "multilabel":
        return (outputs * (2 * y - 1)).sigmoid().mean(dim=1)
    return 1 - (outputs - y).square().mean(dim=1)


def choose_weight(
    score: NDArray[np.float64], weights: NDArray[np.float64], kind: TargetKind = "classes"
) -> tuple[float, str]:
    """The largest λ of PATH at which held-out samples' scores are in the mean at most a point below the best one's.

    Probabilities and not decisions: of a dozen rare samples that count much, one that changes sides is worth points.

    Args:
        score: Of each sample by λ (λ, n), as `held_out_scores` has it.
        weights: How much each sample counts (n,), with a sum of 1.
        kind: What is predicted.

    Returns:
        λ, and why.

    Example:
        >>> probability = np.full((6, 200), 0.9)
        >>> probability[4:, :20] = 0.5
        >>> choose_weight(probability, np.full(200, 1 / 200))[0]
        0.3
    """
    mean = score @ weights
    enough = [i for i, value in enumerate(mean) if i and value >= mean.max() - TOLERANCE]
    # a penalty was asked for: where every one costs more, the least of them
    chosen = max(enough, default=1)
    shown = ", ".join(f"{weight:g}: {100 * value:.1f}" for weight, value in zip(PATH, mean, strict=True))
    why = f"debias.weight: auto is {PATH[chosen]:g}; {_SCORES[kind]} by λ, %: {shown}"
    # how much the difference to the best one would vary with other samples
    change = score[chosen] - score[mean.argmax()]
    error = float(np.sqrt(np.square(weights * (change - change @ weights)).sum()))
    if error > TOLERANCE:
        why += f"; these samples cannot tell differences below {100 * error:.1f} points"
    return PATH[chosen], why


def _labels(parts: Parts) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Strata (n,), classes of the debiased attributes (n, channels), and where all are known (n,)."""
    data, train = parts.data, parts.data.train
    c = np.concatenate([data.attributes[name].classes(train.c[name]) for name in parts.debiased], axis=1)
    known = np.logical_and.reduce([train.known[name] for name in parts.debiased])
    return train.strata, c, known
