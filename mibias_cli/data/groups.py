"""Counts of (y, c) pairs, splits that keep groups whole, and weights under which y and c are independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from mibias_cli.data.batch import Attribute, Split
from mibias_cli.seeds import derived_generator

__all__ = [
    "are_counted", "balancing_weights", "bias_classes", "cells", "effective_sample_size", "joint_classes",
    "split_by_fractions", "target_groups", "target_log_probabilities", "weights_with_copies",
]  # fmt: skip

_ROWS_PER_CELL = 25
_N_FOLDS = 5
_MAX_DESIGN = 5_000_000
_MOST_COUNTED = 2**22
"""Possible cells up to which they are counted."""


def cells(y: np.ndarray, c: np.ndarray, n_y: int, n_c: int) -> np.ndarray:
    """Counts (n_y, n_c) int64 of each pair of target class and class of one channel, (n,) each, none missing.

    Example:
        >>> cells(np.array([0, 0, 1]), np.array([1, 1, 0]), 2, 2).tolist()
        [[0, 2], [1, 0]]
    """
    return np.bincount(y * n_c + c, minlength=n_y * n_c).reshape(n_y, n_c)


def bias_classes(split: Split, attributes: Sequence[Attribute]) -> np.ndarray:
    """Classes (n, channels) of some attributes of a split's rows; −1 throughout where one is missing."""
    known = np.logical_and.reduce([split.known[attribute.name] for attribute in attributes])
    columns = [attribute.classes(split.c[attribute.name]) for attribute in attributes]
    return np.where(known[:, None], np.concatenate(columns, axis=1), -1)


def joint_classes(attributes: Sequence[Attribute], *splits: Split) -> list[np.ndarray]:
    """For each split the joint class of all channels (n,) of its rows, by number; −1 where one is missing.

    Those that occur in any of the splits are counted from 0, so that empty ones take no part.
    """
    rows = [bias_classes(split, attributes) for split in splits]
    joined = np.concatenate(rows)
    known = joined[:, 0] >= 0
    found = np.full(len(joined), -1)
    found[known] = np.unique(joined[known], axis=0, return_inverse=True)[1].reshape(-1)
    return np.split(found, np.cumsum([len(one) for one in rows])[:-1])


def target_groups(attributes: Sequence[Attribute], *splits: Split) -> list[np.ndarray]:
    """For each split the (y, c) group (n,) of its rows, numbered as joint classes are."""
    domains = joint_classes(attributes, *splits)
    joined, y = np.concatenate(domains), np.concatenate([split.y for split in splits])
    found, known = np.full(len(joined), -1), joined >= 0
    pairs = y[known] * (joined.max() + 1) + joined[known]
    found[known] = np.unique(pairs, return_inverse=True)[1]
    return np.split(found, np.cumsum([len(one) for one in domains])[:-1])


def split_by_fractions(y: np.ndarray, group: np.ndarray | None, fractions: Sequence[float], *, seed: int) -> np.ndarray:
    """Which part each sample belongs to (n,) int64: a random split, stratified by y, that never cuts a group.

    Without groups every part has its share of all samples within one, and of every class within two. With groups, whole
    groups go, the largest first, to the part that lacks their classes most, so shares are as near as the groups' sizes
    allow.

    Args:
        y: Classes (n,) int64 to stratify by.
        group: Group ids (n,), or None.
        fractions: Share of each part; they sum to 1. A part of share 0 stays empty.
        seed: The split depends on this and on the arguments alone.
    """
    generator = derived_generator(seed, 0x5B117)
    if group is None:
        return _stratified(y, np.asarray(fractions), generator)
    return _grouped(y, group, np.asarray(fractions), generator)


def _stratified(y: np.ndarray, fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Class by class, in random order, each sample goes to the part that lags furthest behind its share so far."""
    # turns depend on positions alone; then rows in random order, sorted by class, take them one after the other
    shares = fractions.tolist()
    lag = [0.0] * len(shares)
    turns = np.empty(len(y), dtype=np.int64)
    for i in range(len(y)):
        lag = [behind + share for behind, share in zip(lag, shares, strict=True)]
        turns[i] = lag.index(max(lag))
        lag[turns[i]] -= 1.0
    shuffled = generator.permutation(len(y))
    part = np.empty(len(y), dtype=np.int64)
    part[shuffled[np.argsort(y[shuffled], kind="stable")]] = turns
    return part


def _grouped(y: np.ndarray, group: np.ndarray, fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Greedy: the largest groups first, each to the part whose shortage of the group's classes is greatest."""
    _, code = np.unique(group, return_inverse=True)
    classes, label = np.unique(y, return_inverse=True)
    n_groups = int(code.max()) + 1
    counts = cells(code, label, n_groups, len(classes)).astype(np.float64)
    per_class = counts.sum(axis=0)
    # what each part still lacks of each class, as a share of the class, so that rare classes count as much
    shortage = fractions[:, None] * per_class / per_class
    shortage[fractions == 0] = -np.inf
    share = counts / per_class
    # the largest first, while there is room for them in every part; equal ones in random order
    order = generator.permutation(n_groups)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part_of_group = np.empty(n_groups, dtype=np.int64)
    for g in order:
        present = counts[g] > 0
        # the shortage of the group's classes, weighted by how many rows of each it brings
        part = int(np.argmax(shortage[:, present] @ counts[g, present] / counts[g].sum()))
        part_of_group[g] = part
        shortage[part] -= share[g]
    return part_of_group[code]


def are_counted(n: int, n_y: int, n_c: Sequence[int]) -> bool:
    """Whether `balancing_weights` counts the cells of n known samples, and does not model p(y|c)."""
    return len(n_c) == 1 or n >= _ROWS_PER_CELL * n_y * math.prod(n_c) or n < 2 * _N_FOLDS


def balancing_weights(
    y: np.ndarray, c: np.ndarray, known: np.ndarray, *, n_y: int, n_c: Sequence[int], clip: float, seed: int
) -> np.ndarray:
    """Weights (n,) float32 proportional to p(y) p(c) / p(y, c): under them y and c are independent.

    An attribute of one channel, or one whose joint cells are few (at least 25 known rows per cell of y and all
    channels), is counted, with Laplace smoothing. Where cells are finer (a colour has 8 × 8 × 8 of them per class), the
    weight is p(y) / p(y|c), with p(y|c) from a logistic regression on the channels' one-hot classes, or on those and
    their pairs where that predicts held-out rows better; each row's p(y|c) comes from a fit that did not see the row.

    Args:
        y: Targets (n,) int64.
        c: Classes (n, channels) int64; continuous attributes as bins (`Attribute.classes`).
        known: (n,) bool: False where the attribute is missing.
        n_y: Number of target classes.
        n_c: Number of classes per channel.
        clip: Largest weight, where the mean is 1.
        seed: Seed of the folds.

    Returns:
        Mean exactly 1 and at most `clip` over known rows (all 1 if clip is 1 or less); 1 where unknown.

    References:
        Kamiran and Calders, "Data preprocessing techniques for classification without discrimination", 2012.
    """
    weights = np.ones(len(y), dtype=np.float32)
    # rows without the attribute keep weight 1 and shape nothing
    if not known.all():
        y, c = y[known], c[known]
    if not len(y):
        return weights
    # rows of one cell have one weight: it is worked out once for each cell
    if are_counted(len(y), n_y, n_c):
        joint, cell = _joint_cells(c)
        ratio = _ratios(cells(y, cell, n_y, len(joint))).reshape(-1)
        index = _index(y, (cell, len(joint)))
    else:
        # p(y) / p(y|c) is the same ratio, and a model of p(y|c) needs no count of every cell
        prior = np.bincount(y, minlength=n_y) / len(y)
        table, fold, row_cell = _best_model(y, c, prior, n_c, seed)
        ratio = np.divide(prior, table, out=np.ones_like(table), where=table > 0).reshape(-1)
        index = _index(fold, (row_cell, table.shape[1]), (y, n_y))
    counts = np.bincount(index, minlength=len(ratio))
    there = counts > 0
    weight = np.ones(len(ratio))
    weight[there] = _capped(ratio[there] * (counts.sum() / (ratio * counts)[there].sum()), counts[there], clip)
    weights[known] = weight.astype(np.float32)[index]
    return weights


def target_log_probabilities(
    y: np.ndarray, c: np.ndarray, known: np.ndarray, *, n_y: int, n_c: Sequence[int], seed: int, first: int = 0
) -> np.ndarray:
    """log p(y|c) in nats (n, n_y) float32: what the attribute alone predicts for every target class.

    Modelled as in `balancing_weights`; each row's comes from a fit that did not see the row, so that the model cannot
    learn a rare row by heart. No class has less than 1/1000 of its share of all rows. Where the attribute is missing it
    is log p(y). With `first` all rows shape the model, and the result is that of the rows from there on.
    """
    # a small count for each class: log p(y) stays finite for one that never occurs
    prior = np.bincount(y[known] if known.any() else y, minlength=n_y) + 1e-3
    prior = prior / prior.sum()
    found = np.empty((len(y) - first, n_y), dtype=np.float32)
    found[:] = np.log(prior)
    if known.sum() >= 2 * _N_FOLDS:
        every = known.all()
        table, fold, cell = _best_model(y if every else y[known], c if every else c[known], prior, n_c, seed)
        told = int(known[:first].sum())
        found[known[first:]] = np.log(table).astype(np.float32)[fold[told:], cell[told:]]
    return found


def effective_sample_size(weights: np.ndarray) -> float:
    """Kish's (Σw)² / Σw²: how many equally weighted samples carry as much information.

    Example:
        >>> effective_sample_size(np.ones(7))
        7.0
    """
    # summed in double precision, without a copy of millions of weights
    return float(np.sum(weights, dtype=np.float64) ** 2 / np.einsum("i,i->", weights, weights, dtype=np.float64))


def weights_with_copies(
    weights: np.ndarray,
    y: np.ndarray,
    c: np.ndarray,
    copies: tuple[np.ndarray, np.ndarray],
    *,
    count: float,
    clip: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Balancing weights of samples, and of copies that stand for what cells of (y, c) lack.

    Of a cell with n samples copies have the share count / (count + n): all of an empty cell, and next to nothing of a
    full one. Together they have what the cell would have, were y and c independent under the weights; less where
    copies are so few that their weights reach `clip`.

    Args:
        weights: Balancing weights of the samples (n,).
        y: Their target classes (n,) int64.
        c: Their classes (n, channels) int64.
        copies: Target classes (m,) and classes (m, channels) of the copies.
        count: How many samples of a cell all copies in it are worth.
        clip: Largest weight of a copy.

    Returns:
        Weights of samples (n,) and copies (m,).

    Example:
        >>> y, c = np.array([0, 0, 0, 1]), np.array([[0], [0], [1], [0]])
        >>> copies = (np.array([1, 0]), np.array([[1], [1]]))
        >>> own, copied = weights_with_copies(np.ones(4), y, c, copies, count=1.0, clip=50.0)
        >>> own.round(3).tolist(), copied.round(3).tolist()
        ([1.0, 1.0, 0.5, 1.0], [0.25, 0.375])
    """
    if not len(y) or not len(copies[0]):
        return weights, np.zeros(len(copies[0]))
    joint = np.unique(np.concatenate([c, copies[1]]), axis=0, return_inverse=True)[1].reshape(-1)
    own, copied = (y, joint[: len(y)]), (copies[0], joint[len(y) :])
    shape = (max(y.max(), copies[0].max()) + 1, joint.max() + 1)
    n, mass, n_copies = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(n, own, 1)
    np.add.at(mass, own, weights)
    np.add.at(n_copies, copied, 1)
    independent = mass.sum(axis=1, keepdims=True) * mass.sum(axis=0) / mass.sum()
    # a cell into which no copy falls keeps its weight, and one into which few fall most of it
    most = np.divide(clip * n_copies, independent, out=np.zeros(shape), where=independent > 0)
    share = np.minimum(count / (count + n), most)
    return weights * (1 - share[own]), (independent * share)[copied] / n_copies[copied]


def _ratios(counts: np.ndarray) -> np.ndarray:
    """p(y) p(c) / p(y, c) (n_y, n_c) by counts, one pseudo-count per cell whose row and column are not empty."""
    counts = counts.astype(np.float64)
    # Laplace smoothing keeps a pair that never occurs from an infinite weight
    counts += (counts.sum(axis=1, keepdims=True) > 0) & (counts.sum(axis=0, keepdims=True) > 0)
    joint = counts / counts.sum()
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return np.divide(product, joint, out=np.ones_like(joint), where=joint > 0)


def _index(first: np.ndarray, *others: tuple[np.ndarray, int]) -> np.ndarray:
    """One number (n,) for what several (n,) are together, each of the later ones below its size."""
    index = first.astype(np.int64)
    for values, size in others:
        # in place: of millions of rows every array between counts
        index *= size
        index += values
    return index


def _joint_cells(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows (k, channels) of classes (n, channels) in order, and which of them each row is (n,)."""
    sizes = tuple((c.max(axis=0) + 1).tolist())
    if math.prod(sizes) > _MOST_COUNTED:
        joint, cell = np.unique(c, axis=0, return_inverse=True)
        return joint, cell.reshape(-1)
    # counting is many times faster than sorting
    key = c[:, 0] if len(sizes) == 1 else np.ravel_multi_index(tuple(c.T), sizes)
    there = np.flatnonzero(np.bincount(key))
    position = np.zeros(math.prod(sizes), dtype=np.int32)
    position[there] = np.arange(len(there))
    return np.stack(np.unravel_index(there, sizes), axis=1), position[key]


def _best_model(
    y: np.ndarray, c: np.ndarray, prior: np.ndarray, n_c: Sequence[int], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p(y|c) by fold and joint cell (folds, cells, n_y) that predicts held-out rows best, each row's fold and cell."""
    fold = (derived_generator(seed, 0xF01D).permutation(len(y)) % _N_FOLDS).astype(np.int8)
    joint, cell = _joint_cells(c)
    # rows of one fold, cell and class are alike: their counts are all that models need
    shape = (_N_FOLDS, len(joint), len(prior))
    index = _index(fold, (cell, len(joint)), (y, len(prior)))
    counts = np.bincount(index, minlength=math.prod(shape)).reshape(shape)
    best: tuple[float, np.ndarray] | None = None
    # channels alone, then with their pairs; the second is taken only where it predicts held-out rows better
    for pairs in (False, True):
        keys = _keys(joint, n_c, pairs)
        if pairs and len(joint) * sum(len(np.unique(key)) for key in keys) > _MAX_DESIGN:
            break  # attributes of very many classes, whose pairs would not fit into memory
        design = np.concatenate([np.unique(key)[None] == key[:, None] for key in keys], axis=1).astype(np.float64)
        table = _cross_fitted(counts, design, prior)
        score = float((counts * np.log(table, out=np.zeros(shape), where=counts > 0)).sum())
        if best is None or score > best[0]:
            best = (score, table)
    assert best is not None
    return best[1], fold, cell


def _cross_fitted(counts: np.ndarray, design: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """p(y|c) (folds, cells, n_y) for each fold by a fit on the others, of rows counted in each (folds, cells, n_y)."""
    table = np.empty(counts.shape)
    for k in range(_N_FOLDS):
        # a fit on counts is the fit on rows, in a fraction of the time
        fit = counts.sum(axis=0) - counts[k]
        row, label = np.nonzero(fit)
        probability = np.tile(1e-3 * prior, (len(design), 1))  # a class that the fit never saw keeps some probability
        count = fit[row, label]
        classes, label = np.unique(label, return_inverse=True)
        if len(classes) == 1:
            probability[:, classes] += 1 - 1e-3
        else:
            probability[:, classes] += (1 - 1e-3) * _logistic(design[row], label, count, design)
        table[k] = probability
    return table


def _logistic(x: np.ndarray, label: np.ndarray, count: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """p(label|x) (m, K) of rows `seen` (m, d) by a logistic regression on rows x (n, d), each `count` (n,) times.

    It is scikit-learn's (C = 1, two classes with the weights of one), whose import would take 130 MB of each training.
    """
    n, n_free = count.sum(), 1 if label.max() == 1 else label.max() + 1
    one_hot, share = np.eye(label.max() + 1)[label], count / n

    def log_p(flat: np.ndarray, rows: np.ndarray) -> np.ndarray:
        weight = flat.reshape(-1, n_free)
        scores = rows @ weight[:-1] + weight[-1]
        return np.asarray(scipy.special.log_softmax(np.pad(scores, ((0, 0), (len(one_hot[0]) - n_free, 0))), axis=1))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found, penalised = log_p(flat, x), flat.reshape(-1, n_free)[:-1]
        beyond = (share[:, None] * (np.exp(found) - one_hot))[:, -n_free:]
        gradient = np.concatenate([x.T @ beyond + penalised / n, beyond.sum(axis=0, keepdims=True)])
        return float(-share @ (one_hot * found).sum(axis=1) + (penalised**2).sum() / (2 * n)), gradient.ravel()

    # a fit that stops early is still a probability; the held-out score decides whether it is used
    start, options = np.zeros((x.shape[1] + 1) * n_free), {"maxiter": 300, "gtol": 1e-3, "ftol": 1e-14, "maxls": 50}
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return np.exp(log_p(found.x, seen))


def _keys(c: np.ndarray, n_c: Sequence[int], pairs: bool) -> list[np.ndarray]:
    """The classes of each channel, with `pairs` those of each two channels too."""
    keys = [c[:, k] for k in range(c.shape[1])]
    if pairs:
        keys += [c[:, i] * n_c[j] + c[:, j] for i in range(c.shape[1]) for j in range(i)]
    return keys


def _capped(weights: np.ndarray, counts: np.ndarray, clip: float) -> np.ndarray:
    """min(s · w, clip) (k,) of weights (k,), each of so many rows (k,), with the one s that makes the rows' mean 1."""
    if clip <= 1.0:
        return np.ones_like(weights)
    # with the largest weights capped, the mean is 1 at s = (n - capped rows · clip) / (sum of the others); the fewest
    # are sought for which s leaves the others below the cap
    order = np.argsort(weights)[::-1]
    n, descending = counts.sum(), weights[order]
    # from all uncapped, to the smallest alone
    sums = np.cumsum((weights * counts)[order][::-1])[::-1]
    n_capped = np.cumsum(counts[order]) - counts[order]
    scale = (n - n_capped * clip) / sums
    fits = (scale > 0) & (scale * descending <= clip * (1 + 1e-12))
    return np.minimum(scale[np.argmax(fits)] * weights, clip)
