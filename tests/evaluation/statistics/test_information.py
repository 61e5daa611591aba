from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from mibias_cli.evaluation.statistics.information import (
    conditional_log_probabilities,
    entropy_of_shares,
    label_entropy_bits,
    mutual_information_bits,
    prior_log_probabilities,
)


def test_entropy_equals_scipy() -> None:
    c = np.random.default_rng(0).integers(0, 5, 200)
    counts = np.bincount(c, minlength=7)
    assert label_entropy_bits(c, 7) == pytest.approx(entropy(counts, base=2), abs=1e-12)
    assert entropy_of_shares(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == [0.0, 1.0]


def test_mutual_information_is_the_counted_one_less_miller_and_madows_term() -> None:
    g = np.random.default_rng(1)
    y = g.integers(0, 3, 500)
    c = (y + g.integers(0, 2, 500)) % 4
    cells = len({(a, b) for a, b in zip(y, c, strict=True)})
    expected = mutual_info_score(y, c) / np.log(2) - (cells - 3 - 4 + 1) / (2 * 500 * np.log(2))
    assert mutual_information_bits(y, c, 3, 4) == pytest.approx(expected, abs=1e-12)


def test_mutual_information_of_independent_labels_scatters_around_zero() -> None:
    g = np.random.default_rng(2)
    values = [mutual_information_bits(g.integers(0, 10, 600), g.integers(0, 8, 600), 10, 8) for _ in range(40)]
    # the counted figure would be about 63 / (2 · 600 · ln 2) = 0.076; four standard errors of the mean of 40 are ~0.009
    assert abs(np.mean(values)) < 0.01
    assert min(values) < 0  # left below zero, not clamped


@pytest.mark.parametrize(("n_y", "n_c"), [(2, 2), (3, 6), (6, 3)])
def test_information_is_at_most_the_smaller_entropy(n_y: int, n_c: int) -> None:
    """Where one settles the other, the correction would add to what is all there is."""
    k = np.arange(60)
    y, c = k % n_y, k % n_c
    assert mutual_information_bits(y, c, n_y, n_c) == pytest.approx(np.log2(min(n_y, n_c)), abs=1e-12)


def test_a_class_never_seen_keeps_mass() -> None:
    prior = prior_log_probabilities(np.array([0, 0, 1]), 3)
    assert np.isfinite(prior).all()
    assert np.exp(prior).sum() == pytest.approx(1)
    assert np.exp(prior[0]) == pytest.approx(2.5 / 4.5)


def test_conditional_probabilities_go_from_counts_to_the_prior() -> None:
    y, c = np.array([0] * 50 + [1] * 50), np.array([0] * 50 + [1] * 50)
    near_counts = np.exp(conditional_log_probabilities(y, c, n_y=3, n_classes=2, strength=0.01))
    assert near_counts[0, 0] > 0.999
    assert near_counts[2] == pytest.approx([0.5, 0.5])  # a target never seen: the prior
    near_prior = np.exp(conditional_log_probabilities(y, c, n_y=3, n_classes=2, strength=1e9))
    assert near_prior[0] == pytest.approx([0.5, 0.5], abs=1e-6)
