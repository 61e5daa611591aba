from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from mibias_cli.data.groups import (
    _cross_fitted,
    _logistic,
    balancing_weights,
    cells,
    effective_sample_size,
    split_by_fractions,
    target_log_probabilities,
    weights_with_copies,
)


def mutual_information(y: np.ndarray, c: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Plug-in MI in nats of (weighted) pairs."""
    joint = np.bincount(y * (c.max() + 1) + c, weights=weights, minlength=(y.max() + 1) * (c.max() + 1))
    joint = joint.reshape(y.max() + 1, c.max() + 1) / joint.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0])).sum())


def biased_pair(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    joint = np.array([[0.40, 0.05, 0.02], [0.03, 0.30, 0.20]])
    drawn = np.random.default_rng(seed).choice(6, n, p=joint.ravel())
    return drawn // 3, drawn % 3


def test_cells_count_pairs() -> None:
    y, c = biased_pair(1000)
    table = cells(y, c, 2, 4)
    assert table.shape == (2, 4)
    assert table.sum() == 1000
    assert table[:, 3].sum() == 0
    assert table[1, 2] == ((y == 1) & (c == 2)).sum()


@pytest.mark.parametrize("n", [3, 10, 97, 1000])
def test_stratified_split_has_every_share_within_one_sample(n: int) -> None:
    y = np.random.default_rng(0).integers(0, 4, n)
    part = split_by_fractions(y, None, (0.7, 0.1, 0.2), seed=1)
    for k, fraction in enumerate((0.7, 0.1, 0.2)):
        assert abs((part == k).sum() - fraction * n) <= 1.0
        for label in range(4):
            assert abs(((part == k) & (y == label)).sum() - fraction * (y == label).sum()) <= 2.0


def test_a_share_of_zero_stays_empty() -> None:
    y = np.arange(60) % 3
    assert set(split_by_fractions(y, None, (0.5, 0.5, 0.0), seed=0)) == {0, 1}
    assert set(split_by_fractions(y, np.arange(60) // 2, (0.5, 0.0, 0.5), seed=0)) == {0, 2}


def test_groups_stay_whole_and_shares_are_near() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 30, 200)
    group = np.repeat(np.arange(200), sizes)
    y = np.repeat(generator.integers(0, 3, 200), sizes) ^ (generator.random(len(group)) < 0.1)
    part = split_by_fractions(y, group, (0.7, 0.1, 0.2), seed=0)
    for g in range(200):
        assert len(set(part[group == g])) == 1
    for k, fraction in enumerate((0.7, 0.1, 0.2)):
        assert abs((part == k).mean() - fraction) < 0.01
        for label in range(3):
            assert abs((part[y == label] == k).mean() - fraction) < 0.05


def test_split_is_a_function_of_the_seed() -> None:
    y = np.arange(100) % 2
    group = np.arange(100) // 4
    for g in (None, group):
        first = split_by_fractions(y, g, (0.6, 0.2, 0.2), seed=4)
        np.testing.assert_array_equal(first, split_by_fractions(y, g, (0.6, 0.2, 0.2), seed=4))
        assert not np.array_equal(first, split_by_fractions(y, g, (0.6, 0.2, 0.2), seed=5))


def test_weights_make_a_known_pair_independent() -> None:
    y, c = biased_pair(20000)
    w = balancing_weights(y, c[:, None], np.ones(20000, bool), n_y=2, n_c=(3,), clip=50.0, seed=0)
    assert mutual_information(y, c) > 0.25
    assert abs(mutual_information(y, c, w)) < 1e-5
    assert w.dtype == np.float32
    assert abs(w.mean() - 1) < 1e-6
    # p(y) p(c) / p(y, c) for (y, c) = (0, 2): .47 · .22 / .02
    assert w[(y == 0) & (c == 2)][0] == pytest.approx(0.47 * 0.22 / 0.02, rel=0.1)


def test_independent_pairs_get_weights_near_one() -> None:
    generator = np.random.default_rng(0)
    y, c = generator.integers(0, 2, 20000), generator.integers(0, 3, (20000, 1))
    w = balancing_weights(y, c, np.ones(20000, bool), n_y=2, n_c=(3,), clip=50.0, seed=0)
    assert np.abs(w - 1).max() < 0.06  # 4 standard errors of the rarest ratio


def test_few_joint_cells_of_two_channels_are_balanced_jointly() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 20000)
    a = generator.integers(0, 2, 20000)
    b = y ^ a ^ (generator.random(20000) < 0.1)  # each channel alone says nothing of y, both together nearly all
    w = balancing_weights(y, np.stack([a, b], 1), np.ones(20000, bool), n_y=2, n_c=(2, 2), clip=50.0, seed=0)
    assert mutual_information(y, a * 2 + b) > 0.3
    assert abs(mutual_information(y, a * 2 + b, w)) < 1e-4


def fine_channels(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y of 4 classes, three channels of 8 bins of y-dependent Gaussians, and the exact p(y)/p(y|c) of each row."""
    generator = np.random.default_rng(seed)
    means = np.array([[0.3, 0.4, 0.5], [0.5, 0.6, 0.3], [0.6, 0.4, 0.6], [0.4, 0.6, 0.6]])
    y = generator.integers(0, 4, n)
    value = means[y] + 0.2 * generator.standard_normal((n, 3))
    c = np.clip((value * 8).astype(int), 0, 7)
    edges = np.r_[-np.inf, np.arange(1, 8) / 8, np.inf]
    bins = np.diff(norm.cdf(edges[None, None], means[:, :, None], 0.2), axis=2)  # (4, 3, 8)
    likelihood = np.prod([bins[:, k][:, c[:, k]] for k in range(3)], axis=0)  # (4, n)
    return y, c, likelihood.mean(axis=0) / likelihood[y, np.arange(n)]


def test_fine_channels_are_modelled_close_to_the_exact_weights() -> None:
    y, c, exact = fine_channels(12000)
    w = balancing_weights(y, c, np.ones(len(y), bool), n_y=4, n_c=(8, 8, 8), clip=50.0, seed=0)
    assert np.abs(np.log(w / (exact / exact.mean()))).mean() < 0.1
    for k in range(3):
        assert mutual_information(y, c[:, k]) > 0.04
        assert mutual_information(y, c[:, k], w) < 0.004
    again = balancing_weights(y, c, np.ones(len(y), bool), n_y=4, n_c=(8, 8, 8), clip=50.0, seed=0)
    np.testing.assert_array_equal(w, again)


def test_fine_channels_that_matter_only_together_are_modelled_by_pairs() -> None:
    generator = np.random.default_rng(0)
    n = 6000
    y = generator.integers(0, 2, n)
    c = generator.integers(0, 8, (n, 3))
    c[:, 1] = (c[:, 1] // 2) * 2 + (y ^ (c[:, 0] % 2) ^ (generator.random(n) < 0.1))
    key = (c[:, 0] % 2) * 2 + c[:, 1] % 2
    w = balancing_weights(y, c, np.ones(n, bool), n_y=2, n_c=(8, 8, 8), clip=50.0, seed=0)
    assert mutual_information(y, key) > 0.3
    assert mutual_information(y, key, w) < 0.003


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_model_is_a_logistic_regression_on_counted_rows(n_classes: int) -> None:
    generator = np.random.default_rng(n_classes)
    x = np.eye(4)[generator.integers(0, 4, 60)] + generator.normal(size=(60, 4))
    label, count = np.arange(60) % n_classes, generator.integers(1, 50, 60)
    library = LogisticRegression(max_iter=300, tol=1e-3).fit(x, label, sample_weight=count)
    np.testing.assert_allclose(_logistic(x, label, count, x[:9]), library.predict_proba(x[:9]), atol=1e-6)


def test_a_class_that_no_row_has_changes_nothing_for_the_others() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (5, 4, 2))
    with_a_third = np.insert(counts, 1, 0, axis=2)
    alone = _cross_fitted(counts, np.eye(4), np.zeros(2))
    table = _cross_fitted(with_a_third, np.eye(4), np.array([0.4, 0.2, 0.4]))
    np.testing.assert_allclose(table[..., [0, 2]] - 1e-3 * 0.4, alone, atol=1e-12)
    np.testing.assert_allclose(table[..., 1], 1e-3 * 0.2)


def test_54000_rows_of_three_channels_take_seconds() -> None:
    y, c, _ = fine_channels(54000)
    start = time.perf_counter()
    balancing_weights(y, c, np.ones(54000, bool), n_y=4, n_c=(8, 8, 8), clip=50.0, seed=0)
    assert time.perf_counter() - start < 10.0


@pytest.mark.parametrize("clip", [0.5, 1.0, 1.5, 3.0, 50.0])
def test_clip_bounds_the_weights_at_mean_one(clip: float) -> None:
    y, c = biased_pair(5000)
    w = balancing_weights(y, c[:, None], np.ones(5000, bool), n_y=2, n_c=(3,), clip=clip, seed=0)
    assert abs(w.mean() - 1) < 1e-6
    assert w.max() <= max(clip, 1.0) + 1e-6
    if clip == 3.0:
        assert w.max() == pytest.approx(3.0)


def test_unknown_rows_weigh_one_and_do_not_count() -> None:
    y, c = biased_pair(4000)
    known = np.arange(4000) % 3 > 0
    w = balancing_weights(y, np.where(known, c, 99)[:, None], known, n_y=2, n_c=(3,), clip=50.0, seed=0)
    alone = balancing_weights(
        y[known], c[known][:, None], np.ones(known.sum(), bool), n_y=2, n_c=(3,), clip=50.0, seed=0
    )
    assert (w[~known] == 1).all()
    np.testing.assert_array_equal(w[known], alone)


def test_degenerate_labels() -> None:
    none = np.zeros(5, bool)
    ones = np.ones(5, bool)
    zeros = np.zeros(5, np.int64)
    assert (balancing_weights(zeros, zeros[:, None], none, n_y=2, n_c=(3,), clip=5.0, seed=0) == 1).all()
    assert (balancing_weights(zeros, zeros[:, None], ones, n_y=2, n_c=(1,), clip=5.0, seed=0) == 1).all()
    y = np.arange(40) % 2
    c = np.zeros((40, 3), np.int64)
    w = balancing_weights(y, c, np.ones(40, bool), n_y=3, n_c=(8, 8, 8), clip=5.0, seed=0)
    np.testing.assert_allclose(w, 1.0, atol=0.35)  # y is 16 to 16 only on average in each fold


def test_a_class_seen_once_keeps_finite_weights() -> None:
    generator = np.random.default_rng(0)
    y = np.r_[np.zeros(60, np.int64), 1]
    w = balancing_weights(
        y, generator.integers(0, 8, (61, 3)), np.ones(61, bool), n_y=2, n_c=(8, 8, 8), clip=20.0, seed=0
    )
    assert np.isfinite(w).all()
    assert w.max() <= 20.0 + 1e-5


def test_attributes_of_very_many_classes_take_seconds() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 8000)
    c = generator.integers(0, 90, (8000, 2))
    c[:, 0] //= 1 + (y & (generator.random(8000) < 0.7))  # classes of the upper half are rare where y is 1
    start = time.perf_counter()
    w = balancing_weights(y, c, np.ones(8000, bool), n_y=2, n_c=(90, 90), clip=20.0, seed=0)
    assert time.perf_counter() - start < 10.0
    assert mutual_information(y, c[:, 0], w) < 0.2 * mutual_information(y, c[:, 0])
    few = np.zeros((6, 12), np.int64)  # 12 channels of 90 classes: counted without making 90¹² cells
    assert (
        balancing_weights(np.arange(6) % 2, few, np.ones(6, bool), n_y=2, n_c=(90,) * 12, clip=5.0, seed=0) == 1
    ).all()


def test_effective_sample_size() -> None:
    assert effective_sample_size(np.full(10, 3.0)) == pytest.approx(10.0)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_sample_size(np.array([1.0, 2.0])) == pytest.approx(9 / 5)


def test_what_the_bias_says_of_the_target() -> None:
    y, c = biased_pair(20_000)
    known = np.arange(len(y)) % 10 > 0
    found = np.exp(target_log_probabilities(y, c[:, None], known, n_y=2, n_c=[3], seed=0))
    truth = np.array([[0.40, 0.03], [0.05, 0.30], [0.02, 0.20]])
    np.testing.assert_allclose(found[known], (truth / truth.sum(axis=1, keepdims=True))[c[known]], atol=0.02)
    np.testing.assert_allclose(found[~known], np.tile([0.47, 0.53], ((~known).sum(), 1)), atol=0.02)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_many_classes_in_few_cells_are_no_numbers() -> None:
    """Counted, rows of 12 classes are 22, of which 12 labels are more than half; warnings are errors here."""
    y = np.repeat(np.arange(12), 40)
    c = np.where(np.arange(480) % 2, y // 3, 0)[:, None]
    log_p = target_log_probabilities(y, c, np.ones(480, bool), n_y=12, n_c=[4], seed=0)
    # 0 have all 40 of the first three classes, and 20 of each other one
    np.testing.assert_allclose(np.exp(log_p[c[:, 0] == 0]).mean(axis=0), [2 / 15] * 3 + [1 / 15] * 9, atol=0.01)


def test_a_row_does_not_vouch_for_itself() -> None:
    y = np.zeros(200, dtype=np.int64)
    y[7] = 1
    c = np.zeros((200, 1), dtype=np.int64)
    c[7] = 1  # its class of c is seen nowhere else
    found = target_log_probabilities(y, c, np.ones(200, dtype=bool), n_y=2, n_c=[2], seed=0)
    assert found[7, 1] < np.log(0.01)


def test_too_few_known_rows_say_nothing_beyond_the_shares() -> None:
    found = target_log_probabilities(np.array([0, 1, 1, 1]), np.zeros((4, 1), dtype=np.int64), np.zeros(4, dtype=bool),
                                     n_y=2, n_c=[1], seed=0)  # fmt: skip
    np.testing.assert_allclose(np.exp(found), np.tile([0.25, 0.75], (4, 1)), atol=1e-3)


def test_with_copies_target_and_attribute_are_independent_even_where_a_cell_is_empty() -> None:
    """Masses by cell against p(y) p(c) of the rows, and the shares that copies have of them."""
    y, c = np.repeat([0, 0, 1, 1, 2], [90, 2, 3, 60, 45]), np.repeat([0, 1, 0, 1, 0], [90, 2, 3, 60, 45])
    n = np.array([[90, 2], [3, 60], [45, 0]])
    independent = np.outer(n.sum(axis=1), n.sum(axis=0)) / n.sum()
    # of the empty cell rows have nothing; those of its row and its column keep their sums
    weights = (independent / np.maximum(n, 1))[y, c]
    weights[y == 2] = n[2].sum() / 45
    copied = (np.repeat([0, 1, 2], 20), np.tile([0, 1], 30))
    own, others = weights_with_copies(weights, y, c[:, None], (copied[0], copied[1][:, None]), count=3.0, clip=50.0)
    found = np.zeros((3, 2))
    np.add.at(found, copied, others)
    mass = np.zeros((3, 2))
    np.add.at(mass, (y, c), weights)
    wanted = np.outer(mass.sum(axis=1), mass.sum(axis=0)) / mass.sum()
    np.testing.assert_allclose(found, wanted * 3 / (3 + n), rtol=1e-9)
    np.testing.assert_allclose(own, weights * (n / (3 + n))[y, c], rtol=1e-9)
    assert found[2, 1] == pytest.approx(wanted[2, 1])


def test_without_copies_samples_keep_their_weights() -> None:
    nothing = (np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=np.int64))
    own, others = weights_with_copies(
        np.array([0.5, 1.5]), np.array([0, 1]), np.array([[0], [1]]), nothing, count=2.0, clip=50.0
    )
    assert own.tolist() == [0.5, 1.5]
    assert len(others) == 0


def test_a_copy_alone_in_its_cell_counts_at_most_the_largest_weight_and_samples_keep_the_rest() -> None:
    y, c = np.repeat([0, 0, 1], [50, 1, 50]), np.repeat([0, 1, 1], [50, 1, 50])[:, None]
    copies = (np.array([1, 0]), np.array([[0], [1]]))
    own, others = weights_with_copies(np.ones(101), y, c, copies, count=2.0, clip=4.0)
    assert others.tolist() == [4.0, 4.0]
    # of the cell of one sample the copy has 4 of the 51² / 101 that independence gives it
    assert own[50] == pytest.approx(1 - 4.0 / (51 * 51 / 101))
    assert (np.delete(own, 50) == 1).all()
