"""Classes of an attribute that occur too seldom to be told from others, counted together for the probes."""

from __future__ import annotations

import numpy as np

__all__ = ["FEWEST", "pool_rare", "pooled_names"]

FEWEST = 10
"""A class of fewer audited samples is pooled: about five to fit on, and five to score."""


def pool_rare(c: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Classes (n,) in which those of fewer than `FEWEST` known samples are joined, no more of them than are needed.

    A probe cannot learn a class that occurs once, and may lose ten bits on the one sample that it is scored on: of 200
    samples that are .05 bits of leakage, and an interval to match. From the rarest on, classes are joined until they
    are `FEWEST` together; then the next join. What is left over goes to the last of these, or to the rarest class that
    is not rare. Two classes stay two, however rare one of them is.

    Args:
        c: Class indices (n,) int64.
        known: (n,) bool; other samples count for nothing, and keep their class.

    Example:
        >>> c = np.repeat([0, 1, 2, 3], [40, 30, 7, 1])
        >>> np.bincount(pool_rare(c, np.ones(78, dtype=bool))).tolist()
        [40, 38]
        >>> np.bincount(pool_rare(np.repeat([0, 1, 2, 3], 9), np.ones(36, dtype=bool))).tolist()
        [0, 18, 0, 18]
    """
    counts = np.bincount(c[known])
    # from the rarest on; of equal ones the first
    present = [k for k in np.argsort(counts, kind="stable").tolist() if counts[k]]
    pools: list[list[int]] = []
    for k in present:
        if pools and counts[pools[-1]].sum() < FEWEST:
            pools[-1].append(k)
        else:
            pools.append([k])
    # all classes are rare: what is left over at the end goes to the pool before it, where two are left then
    if len(pools) > 2 and counts[pools[-1]].sum() < FEWEST:
        rest = pools.pop()
        pools[-1] += rest
    # one class alone would leave nothing to tell apart
    if len(pools) == 1 and len(present) > 1:
        pools = [present[:-1], present[-1:]]
    pooled = c.copy()
    for pool in pools:
        pooled[known & np.isin(c, pool)] = pool[-1]
    return pooled


def pooled_names(c: np.ndarray, known: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes that `pool_rare` joins with others; empty where it leaves all as they are."""
    pooled = pool_rare(c, known)
    changed = known & (pooled != c)
    return tuple(names[k] for k in np.unique(np.concatenate([c[changed], pooled[changed]])))
