"""Classes of an attribute that occur too seldom to be told from others, counted as one for the probes."""

from __future__ import annotations

import numpy as np

__all__ = ["FEWEST", "pool_rare", "pooled_names"]

FEWEST = 10
"""A class of fewer audited samples is pooled: about five to fit on, and five to score."""


def pool_rare(c: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Classes (n,) in which all of fewer than `FEWEST` known samples are one, the commonest of them.

    A probe cannot learn a class that occurs once, and may lose ten bits on the one sample that it is scored on: of 200
    samples that are .05 bits of leakage, and an interval to match. If the pooled class has still fewer than `FEWEST`,
    it is joined to the rarest of the others. Two classes stay two, however rare one of them is.

    Args:
        c: Class indices (n,) int64.
        known: (n,) bool; other samples count for nothing, and keep their class.

    Example:
        >>> c = np.repeat([0, 1, 2, 3], [40, 30, 7, 1])
        >>> np.bincount(pool_rare(c, np.ones(78, dtype=bool))).tolist()
        [40, 38]
        >>> np.bincount(pool_rare(np.repeat([0, 1], [40, 2]), np.ones(42, dtype=bool))).tolist()
        [40, 2]
    """
    counts = np.bincount(c[known])
    # from the rarest on; of equal ones the first
    present = [k for k in np.argsort(counts, kind="stable").tolist() if counts[k]]
    rare = [k for k in present if counts[k] < FEWEST]
    if rare and counts[rare].sum() < FEWEST:
        rare = present[: len(rare) + 1]
    # one class alone would leave nothing to tell apart
    while len(rare) > 1 and len(present) - len(rare) + 1 < 2:
        rare.pop()
    if len(rare) < 2:
        return c
    pooled = c.copy()
    pooled[known & np.isin(c, rare)] = rare[-1]
    return pooled


def pooled_names(c: np.ndarray, known: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes that `pool_rare` counts as one; empty where it leaves all as they are."""
    pooled = pool_rare(c, known)
    changed = known & (pooled != c)
    return tuple(names[k] for k in np.unique(np.concatenate([c[changed], pooled[changed]])))
