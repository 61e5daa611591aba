"""The Donsker–Varadhan value of a critic that is held fixed, on rows that it has not seen.

    I(z; c | y)  ≥  E_joint[T] − log E_product[exp T]          whatever the critic T is

so a figure that comes out of here is a lower bound up to sampling error. Pairs of the product distribution are made by
shifting c against z within each stratum of y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["N_SHIFTS", "LogRatio", "donsker_varadhan_terms", "partners"]

N_SHIFTS = 48
"""How many pairs of the product distribution are made of every row."""

LogRatio = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The score (m,) of pairs of rows, given by the indices (m,) of the row of z and of the row of c."""


def partners(stratum: np.ndarray, n_shifts: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows (n,) to pair each row's z with, `n_shifts` times: another one of its stratum (itself where it is alone)."""
    # one random cycle for each stratum: shifted by any offset but 0, every row gets another one, and each is used once
    members = []
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        order = rows[generator.permutation(len(rows))]
        members.append((order, generator.permutation(max(len(rows) - 1, 1)) + 1))
    for shift in range(n_shifts):
        out = np.empty(len(stratum), dtype=np.int64)
        for order, offsets in members:
            out[order] = np.roll(order, offsets[shift % len(offsets)])
        yield out


def donsker_varadhan_terms(
    log_ratio: LogRatio, stratum: np.ndarray, *, seed: int, n_shifts: int = N_SHIFTS
) -> np.ndarray:
    """What every row contributes to the value, in nats: the mean (n,) is the value, their spread its standard error.

    References:
        Donsker and Varadhan (1983); the estimator is that of Belghazi et al., MINE, arXiv 1801.04062, with T fixed.
    """
    rows = np.arange(len(stratum))
    # E_joint[T]: each row's own pair
    joint = log_ratio(rows, rows)
    # E_product[exp T]: each row's z with other rows' c
    generator = np.random.default_rng([seed, 21])
    scores = np.stack([log_ratio(rows, other) for other in partners(stratum, n_shifts, generator)])
    top = float(scores.max())
    weights = np.exp(scores - top).mean(axis=0)
    # the logarithm to first order in each row: log w̄ + (w_i / w̄ − 1), whose mean is log w̄; so the spread of the terms
    # is that of the value (the delta method)
    share = weights / weights.mean()
    return np.asarray(joint - (np.log(weights.mean()) + top) - (share - 1.0))
