"""The permutation test. Seeds are fixed; bounds on counts are such that chance fails them in one of 1000 seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from mibias_cli.evaluation.statistics.permutation import ShuffledRows, holm, null_band, null_means, permutation_p_value


def p_value(table: np.ndarray, c: np.ndarray, shuffles: ShuffledRows) -> float:
    """Of gains (n, K) on every label, and labels c (n,)."""
    each = np.arange(len(c))
    return permutation_p_value(float(table[each, c].mean()), null_means(lambda rows: table[each, c[rows]], shuffles))


def test_every_shuffle_is_a_permutation_within_its_stratum() -> None:
    stratum = np.random.default_rng(0).integers(0, 3, 50)
    shuffles = ShuffledRows(50, 130, stratum=stratum, seed=1)
    rows = np.concatenate(list(shuffles))
    assert rows.shape == (130, 50)
    assert (np.sort(rows, axis=1) == np.arange(50)).all()
    assert (stratum[rows] == stratum).all()
    assert len({tuple(row) for row in rows}) == 130
    assert np.array_equal(rows, np.concatenate(list(shuffles)))  # the same each time: probes share their shuffles


def test_all_places_are_equally_likely() -> None:
    rows = np.concatenate(list(ShuffledRows(5, 20_000, seed=2)))
    share = np.stack([(rows == k).mean(axis=0) for k in range(5)])
    assert np.abs(share - 0.2).max() < 4 * np.sqrt(0.16 / 20_000)


def test_groups_of_equal_size_swap_their_labels_whole() -> None:
    group = np.repeat(np.arange(6), 4)
    c = np.arange(24)
    for rows in ShuffledRows(24, 20, group=group, seed=3):
        blocks = c[rows].reshape(-1, 6, 4)
        assert (np.sort(blocks[:, :, 0], axis=1) == np.arange(0, 24, 4)).all()
        assert (np.diff(blocks, axis=2) == 1).all()


def test_groups_of_unequal_size_take_labels_of_one_group_each() -> None:
    g = np.random.default_rng(4)
    group = g.integers(0, 8, 60)
    stratum = (group >= 4).astype(int)
    for rows in ShuffledRows(60, 40, group=group, stratum=stratum, seed=5):
        for row in rows:
            donors = [set(group[row[group == k]]) for k in range(8)]
            assert all(len(donor) == 1 for donor in donors)
            assert (stratum[row] == stratum).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_it_rejects_as_often_as_it_should_where_nothing_leaks(grouped: bool) -> None:
    """300 tests at 10 %: with groups whose labels and scores are constant, shuffling samples would reject far more."""
    hits = 0
    for seed in range(300):
        g = np.random.default_rng([6, seed])
        group = np.repeat(np.arange(20), 3)
        c = g.integers(0, 2, 20)[group] if grouped else g.integers(0, 2, 60)
        table = g.normal(size=(20, 2))[group] if grouped else g.normal(size=(60, 2))
        shuffles = ShuffledRows(60, 99, group=group if grouped else None, seed=seed)
        hits += p_value(table, c, shuffles) <= 0.1
    assert binom.ppf(0.0005, 300, 0.1) <= hits <= binom.ppf(0.9995, 300, 0.1)


def test_shuffling_samples_of_groups_would_reject_too_often() -> None:
    """Why groups are shuffled whole: the same data, shuffled by sample."""
    hits = 0
    for seed in range(100):
        g = np.random.default_rng([6, seed])
        group = np.repeat(np.arange(20), 3)
        c, table = g.integers(0, 2, 20)[group], g.normal(size=(20, 2))[group]
        hits += p_value(table, c, ShuffledRows(60, 99, seed=seed)) <= 0.1
    assert hits > 20


def test_within_the_target_what_the_target_tells_is_no_evidence() -> None:
    g = np.random.default_rng(7)
    y = g.integers(0, 2, 400)
    c = np.where(g.random(400) < 0.9, y, 1 - y)
    table = np.log2(np.where(np.arange(2) == y[:, None], 0.9, 0.1)) + 1e-3 * g.normal(size=(400, 2))
    assert p_value(table, c, ShuffledRows(400, 199, seed=0)) == 1 / 200
    assert p_value(table, c, ShuffledRows(400, 199, stratum=y, seed=0)) > 0.05


def test_a_probe_that_says_nothing_is_never_significant() -> None:
    c = np.random.default_rng(8).integers(0, 3, 100)
    assert p_value(np.zeros((100, 3)), c, ShuffledRows(100, 99, seed=0)) == 1.0


def test_holm_by_hand() -> None:
    """Holm 1979: sorted p times 4, 3, 2, 1, made monotone."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_band_is_the_central_part() -> None:
    band = null_band(np.arange(1001) / 1000, 0.9)
    assert (band.mean, band.lower, band.upper) == pytest.approx((0.5, 0.05, 0.95))
