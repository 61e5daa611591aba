"""Nearest-neighbour information of few columns: the estimator of Kraskov, Stögbauer and Grassberger."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

__all__ = ["ksg_terms"]

_NEIGHBOURS = 4


def ksg_terms(u: np.ndarray, v: np.ndarray, *, seed: int) -> np.ndarray:
    """What every row contributes to I(u; v) in nats: the mean (n,) is the estimate.

    No bound, and of no use in many columns, where distances say little (in 25 + 25 columns it finds a fifth of what is
    there); in one or two columns a side it needs no training and is close.

    u (n, d) and v (n, k) are on one scale: normal scores. `seed` is of the jitter that splits ties.

    References: Kraskov, Stögbauer and Grassberger, Estimating mutual information, arXiv cond-mat/0305641, equation 8.
    """
    # a jitter far below the scale of the data splits ties: distances of 0 are not foreseen
    generator = np.random.default_rng([seed, 41])
    u = u + 1e-8 * generator.standard_normal(u.shape)
    v = v + 1e-8 * generator.standard_normal(v.shape)
    k = min(_NEIGHBOURS, len(u) - 1)
    # distance to the k-th neighbour in the joint space, by the larger of the distances in u and in v; query finds the
    # row itself first
    joint = np.concatenate([u, v], axis=1)
    reach = cKDTree(joint).query(joint, k + 1, p=np.inf)[0][:, -1]
    # how many are strictly nearer than that in u alone, and in v alone
    inside = np.nextafter(reach, 0)
    n_u, n_v = (cKDTree(x).query_ball_point(x, inside, p=np.inf, return_length=True) for x in (u, v))
    # I = ψ(k) + ψ(n) − ⟨ψ(n_u + 1) + ψ(n_v + 1)⟩; the counts hold the row itself, which is the + 1
    return np.asarray(digamma(k) + digamma(len(u)) - digamma(n_u) - digamma(n_v))
