"""The permutation test: what a fitted probe scores where labels are shuffled, nothing fitted anew; what it detects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np

from mibias_cli.evaluation.leakage_findings import NullBand

__all__ = ["ShuffledRows", "detectable_bits", "holm", "null_band", "null_means", "permutation_p_value"]

CHUNK = 64
LEVEL, POWER = 0.05, 0.8
ROUNDING = 1e-12  # a shuffle that leaves every label where it was must count as large as what was observed


class ShuffledRows:
    """Shuffles of n samples' labels within strata; with groups, whole groups swap their labels.

    Labels that are constant within a patient are shuffled between patients: shuffling samples would make the null band
    far too narrow. Whatever is shuffled by one object is shuffled alike. `stratum` and `group` are integers (n,).
    """

    def __init__(
        self,
        n: int,
        n_permutations: int,
        *,
        stratum: np.ndarray | None = None,
        group: np.ndarray | None = None,
        seed: int,
    ) -> None:
        self.n, self.n_permutations, self._seed = n, n_permutations, seed
        strata = np.zeros(n, dtype=np.int64) if stratum is None else stratum
        parts = [np.flatnonzero(strata == value) for value in np.unique(strata)]
        self._pieces = [_Blocks(rows, None if group is None else group[rows]) for rows in parts]

    def __iter__(self) -> Iterator[np.ndarray]:
        """The shuffles in chunks (b, n) of row numbers: sample i takes the label of row [·, i]."""
        # the null that is tested: c is independent of z, or of z given y where the strata are those of y. Labels move;
        # features stay, and with them what the probe says of them
        generator = np.random.default_rng([self._seed, 5])
        for start in range(0, self.n_permutations, CHUNK):
            count = min(CHUNK, self.n_permutations - start)
            out = np.empty((count, self.n), dtype=np.int64)
            for piece in self._pieces:
                out[:, piece.rows] = piece.shuffled(count, generator)
            yield out


class _Blocks:
    """The rows of one stratum, shuffled singly or by groups."""

    def __init__(self, rows: np.ndarray, group: np.ndarray | None) -> None:
        self.rows = rows
        self._sizes: np.ndarray | None = None
        if group is not None:
            # rows in the order of their groups: a group is then a stretch with a start and a size
            _, member, self._sizes = np.unique(group, return_inverse=True, return_counts=True)
            order = np.argsort(member.reshape(-1), kind="stable")
            self.rows = rows[order]
            self._starts = np.cumsum(self._sizes) - self._sizes
            self._member = np.repeat(np.arange(len(self._sizes)), self._sizes)
            self._within = np.arange(len(rows)) - self._starts[self._member]

    def shuffled(self, count: int, generator: np.random.Generator) -> np.ndarray:
        if self._sizes is None:
            return generator.permuted(np.broadcast_to(self.rows, (count, len(self.rows))), axis=1)
        n_groups = len(self._sizes)
        # whose labels each group is given, in every shuffle
        donors = generator.permuted(np.broadcast_to(np.arange(n_groups), (count, n_groups)), axis=1)
        own_size = donors == np.arange(n_groups)
        # groups of equal size swap their labels in order; those of another size are repeated or cut to fit, and begin
        # anywhere, so that no part is always cut off
        offsets = np.where(
            (self._sizes[donors] == self._sizes) | own_size, 0, generator.integers(0, self._sizes[donors])
        )
        donor, offset = donors[:, self._member], offsets[:, self._member]
        return self.rows[self._starts[donor] + (self._within + offset) % self._sizes[donor]]


def null_means(gains: Callable[[np.ndarray], np.ndarray], shuffles: ShuffledRows) -> np.ndarray:
    """Mean gain under every shuffle (n_permutations,), by gains (B, n) where sample i has the label of rows[b, i]."""
    return np.concatenate([np.empty(0), *(gains(rows).mean(axis=1) for rows in shuffles)])


def permutation_p_value(observed: float, null: np.ndarray) -> float:
    """(1 + shuffles that reach what was observed) / (1 + shuffles): never 0, and at most its nominal level.

    References: Phipson and Smyth, "Permutation p-values should never be zero", arXiv 1603.05766.

    Example:
        >>> permutation_p_value(2.0, np.array([0.0, 1.0, 2.0]))
        0.5
    """
    return float((1 + np.sum(null >= observed - ROUNDING)) / (1 + len(null)))


def null_band(null: np.ndarray, confidence: float) -> NullBand:
    """Mean and central band of the shuffles' values."""
    tail = 100 * (1 - confidence) / 2
    lower, upper = np.percentile(null, [tail, 100 - tail])
    return NullBand(mean=float(null.mean()), lower=float(lower), upper=float(upper))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: valid for tests that depend on each other in any way.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def detectable_bits(n_fit: int, n_score: int, n_features: int, *, n_classes: int = 2) -> float:
    """The leakage in bits that the test, at a level of .05, finds with 80 % power, if it is coded in features' means.

    Two things blur a small leakage I (in nats). A linear probe must first find its direction among n_features on
    n_fit samples, which costs d (K − 1) / 2 n_fit, so that what it carries over is I² / (I + d (K − 1) / 2 n_fit). On
    n_score samples the gain of a fixed probe that carries J has mean J and variance 2 J / n_score, and −J and the same
    variance where labels are shuffled, so that it is found where 2 J reaches (z_level + z_power) √(2 J / n_score). The
    figure solves both for I. Leakage that is coded in any other way needs more samples than that.

    Samples (with groups: groups) are those on which probes are fitted and scored; features are columns that are not
    constant.

    Example:
        >>> round(detectable_bits(2500, 2500, 64), 4), round(detectable_bits(500, 500, 64), 4)
        (0.0067, 0.0335)
    """
    # I² / (I + search) = needed, solved for I
    quantile = NormalDist().inv_cdf
    needed = (quantile(1 - LEVEL) + quantile(POWER)) ** 2 / (2 * n_score)
    search = n_features * (n_classes - 1) / (2 * n_fit)
    return (needed + math.sqrt(needed**2 + 4 * needed * search)) / 2 / math.log(2)
