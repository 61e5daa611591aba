"""Entropies and conditional distributions of labels, by counting."""

from __future__ import annotations

import numpy as np
import scipy

__all__ = [
    "conditional_log_probabilities", "counts_table", "entropy_of_shares", "label_entropy_bits",
    "mutual_information_bits", "prior_log_probabilities",
]  # fmt: skip


def counts_table(a: np.ndarray, b: np.ndarray, n_a: int, n_b: int) -> np.ndarray:
    """How often each pair of classes occurs: (n_a, n_b)."""
    return np.bincount(a * n_b + b, minlength=n_a * n_b).reshape(n_a, n_b)


def entropy_of_shares(shares: np.ndarray) -> np.ndarray:
    """Entropy in bits of the distributions in the last axis; a share of 0 adds nothing.

    Example:
        >>> float(entropy_of_shares(np.array([0.5, 0.25, 0.25, 0.0])))
        1.5
    """
    return np.asarray(scipy.special.entr(shares).sum(axis=-1) / np.log(2))


def label_entropy_bits(c: np.ndarray, n_classes: int) -> float:
    """The plain plug-in entropy of labels (n,), in bits: a little low in small samples, which keeps leakage honest."""
    return float(entropy_of_shares(np.bincount(c, minlength=n_classes) / max(len(c), 1)))


def mutual_information_bits(y: np.ndarray, c: np.ndarray, n_y: int, n_c: int) -> float:
    """I(y; c) in bits by counting, less Miller and Madow's bias term (cells − rows − columns + 1) / 2n.

    Plain counting finds information in independent labels, the more cells the more; the corrected figure may come out
    a little below 0 and is left so. It is at most the smaller of the two entropies, as information is.

    Example:
        >>> mutual_information_bits(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), 2, 2)
        1.0

    References: Miller, "Note on the bias of information estimates" (1955).
    """
    table = counts_table(y, c, n_y, n_c)
    n = int(table.sum())
    p = table / n
    # I(y; c) = H(y) + H(c) − H(y, c), each of counted shares
    h_y, h_c = entropy_of_shares(p.sum(1)), entropy_of_shares(p.sum(0))
    plug_in = h_y + h_c - entropy_of_shares(p.ravel())
    # plain entropies are too low by (cells seen − 1) / 2n nats, the joint one the most
    surplus = (table > 0).sum() - (table.sum(1) > 0).sum() - (table.sum(0) > 0).sum() + 1
    return float(min(plug_in - surplus / (2 * n * np.log(2)), h_y, h_c))


def prior_log_probabilities(c: np.ndarray, n_classes: int) -> np.ndarray:
    """log p(c) (n_classes,) in nats, half a sample added to every class: a class never seen keeps some mass."""
    counts = np.bincount(c, minlength=n_classes) + 0.5
    return np.asarray(np.log(counts / counts.sum()))


def conditional_log_probabilities(
    y: np.ndarray, c: np.ndarray, *, n_y: int, n_classes: int, strength: float
) -> np.ndarray:
    """log p(c | y) (n_y, n_classes) in nats: counts, with `strength` samples of the prior added to every row."""
    prior = np.exp(prior_log_probabilities(c, n_classes))
    table = counts_table(y, c, n_y, n_classes) + strength * prior
    return np.asarray(np.log(table / table.sum(axis=1, keepdims=True)))
