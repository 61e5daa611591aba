"""Groups of rows that resemble each other across the classes of an attribute: content, as far as z alone can say."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["shared_groups"]

N_NEIGHBOURS = 10
"""Of a row, in every class of the attribute."""
OWN_WEIGHT = 3.0
"""What a neighbour of the same class counts, over one of another."""
LEAST_SHARE = 0.05
"""Of what a class would have in a group if its rows were spread evenly: with less it is not in that group."""


def shared_groups(x: NDArray[np.float64], c: NDArray[np.int64], n_groups: int, *, seed: int) -> NDArray[np.int64]:
    """A group (n,) for every row x (n, r) of class c (n,), such that groups are of content and not of classes.

    Clusters of x are clusters of c as soon as c counts for much in x. So every row is linked to as many neighbours in
    each class of c, those of its own class counting more, since they are more reliable; groups are the spectral
    clusters of this graph, as many as all have rows of every class, and at most `n_groups`. Classes should have the
    same mean already.

    References: neighbours in every batch alike are BBKNN's (Polański et al., Bioinformatics 2020); spectral clusters
    are those of Ng, Jordan and Weiss (2001).

    Example:
        >>> x = np.array([[0, 0.0], [0, 0.1], [5, 0.0], [5, 0.1]] * 12, dtype=float) + [1, 1]
        >>> found = shared_groups(x, np.arange(48) // 4 % 2, 2, seed=0)
        >>> len(set(found[:2])), len(set(found[:4]))
        (1, 2)
    """
    from sklearn.cluster import KMeans

    links = _links(x, c)
    degree = np.asarray(links.sum(axis=1)).ravel() ** -0.5
    scaled = scipy.sparse.diags_array(degree) @ links @ scipy.sparse.diags_array(degree)
    generator = np.random.default_rng(seed)
    start, small_seed = generator.standard_normal(len(x)), int(generator.integers(2**31))
    n_vectors = min(n_groups, len(x) - 2)
    _, vectors = scipy.sparse.linalg.eigsh(scaled, n_vectors + 1, which="LA", v0=start)
    # the largest one is the degree itself
    vectors = vectors[:, ::-1][:, 1:] * degree[:, None]
    for k in range(n_groups, 1, -1):
        means = KMeans(k, n_init=10, random_state=small_seed)
        found = np.asarray(means.fit_predict(_unit(vectors[:, :k])), dtype=np.int64)
        shares = np.stack([np.bincount(found[c == one], minlength=k) / (c == one).sum() for one in np.unique(c)])
        if shares.min() >= LEAST_SHARE / k:
            return found
    return np.zeros(len(x), dtype=np.int64)


def _links(x: NDArray[np.float64], c: NDArray[np.int64]) -> scipy.sparse.csr_array:
    """The symmetric graph (n, n) of nearest neighbours by angle, as many in each class."""
    unit = _unit(x)
    rows, columns, weights = [], [], []
    for k in np.unique(c):
        members = np.flatnonzero(c == k)
        n_near = min(N_NEIGHBOURS, len(members) - 1)
        near = np.concatenate([_nearest(unit, part, members, n_near) for part in _parts(len(x))])
        rows.append(np.repeat(np.arange(len(x)), n_near))
        columns.append(members[near].ravel())
        weights.append(np.repeat(np.where(c == k, OWN_WEIGHT, 1.0), n_near))
    shape = (len(x), len(x))
    places = (np.concatenate(rows), np.concatenate(columns))
    found = scipy.sparse.csr_array((np.concatenate(weights), places), shape=shape)
    return scipy.sparse.csr_array(found + found.T)


def _parts(n: int) -> list[NDArray[np.int64]]:
    """Rows in parts, whose likeness to all others fits into memory."""
    return np.array_split(np.arange(n), -(-n // 1024))


def _nearest(
    unit: NDArray[np.float64], rows: NDArray[np.int64], members: NDArray[np.int64], n_near: int
) -> NDArray[np.int64]:
    """Which members (their places in `members`) are nearest to each of some rows, itself left out."""
    likeness = unit[rows] @ unit[members].T
    likeness[rows[:, None] == members] = -np.inf
    return np.argpartition(-likeness, n_near - 1, axis=1)[:, :n_near]


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
