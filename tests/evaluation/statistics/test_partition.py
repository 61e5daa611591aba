from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.evaluation.statistics.partition import assign_parts, fit_and_score_rows, inner_folds


@pytest.mark.parametrize("fit_fraction", [0.3, 0.5, 0.8])
def test_every_cell_is_shared_out_as_the_whole(fit_fraction: float) -> None:
    g = np.random.default_rng(0)
    labels = np.stack([g.integers(0, 4, 4000), g.integers(0, 5, 4000)], axis=1)
    fit, score = fit_and_score_rows(labels, fit_fraction=fit_fraction, group=None, seed=3)
    assert sorted([*fit, *score]) == list(range(4000))
    assert len(fit) == pytest.approx(4000 * fit_fraction, abs=3)
    for y in range(4):
        for c in range(5):
            cell = (labels == (y, c)).all(axis=1)
            assert cell[fit].sum() == pytest.approx(cell.sum() * fit_fraction, abs=3)


def test_parts_share_no_group() -> None:
    g = np.random.default_rng(1)
    group = np.array([f"patient {k}" for k in g.integers(0, 60, 900)])
    labels = g.integers(0, 2, (900, 1))
    fit, score = fit_and_score_rows(labels, fit_fraction=0.5, group=group, seed=0)
    assert not set(group[fit]) & set(group[score])
    assert len(fit) == pytest.approx(450, abs=20)
    for train, held in inner_folds(labels[fit], group=group[fit], seed=0):
        assert not set(group[fit][train]) & set(group[fit][held])


def test_folds_cover_a_small_part_and_split_a_large_one_once() -> None:
    labels = np.zeros((300, 1), dtype=int)
    folds = inner_folds(labels, group=None, seed=0)
    assert len(folds) == 3
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(300))
    assert all(not set(train) & set(held) for train, held in folds)
    (only,) = inner_folds(np.zeros((5000, 1), dtype=int), group=None, seed=0)
    assert len(only[0]) == pytest.approx(3500, abs=2)


def test_one_group_alone_is_split_all_the_same() -> None:
    folds = inner_folds(np.zeros((40, 1), dtype=int), group=np.zeros(40, dtype=int), seed=0)
    assert all(len(train) and len(held) for train, held in folds)


def test_the_split_depends_on_the_seed_and_on_nothing_else() -> None:
    labels = np.random.default_rng(2).integers(0, 3, (100, 2))
    first, again, other = (fit_and_score_rows(labels, fit_fraction=0.5, group=None, seed=s)[0] for s in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert len(np.unique(assign_parts(labels, (0.5, 0.5), group=None, generator=np.random.default_rng(0)))) == 2
