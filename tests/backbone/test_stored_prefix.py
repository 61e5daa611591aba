"""Which kept view of a sample an epoch reads, and which other one."""

from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.backbone.stored_prefix import _StoredReader
from mibias_cli.data.batch import OTHER_VIEW

N = 600


def reader(n_views: int) -> _StoredReader:
    """Of outputs that say which view they are of: −1 where a sample is not augmented."""
    plain, *views = (np.full((N, 1), k, dtype=np.float32) for k in range(-1, n_views))
    return _StoredReader({}, plain, views, seed=0)


@pytest.mark.parametrize("n_views", [2, 3])
def test_an_epoch_s_two_views_of_a_sample_differ_and_are_drawn_alike(n_views: int) -> None:
    rows, kept = np.arange(N), reader(n_views)
    first, second = (kept.read(rows, 5 + other)[:, 0].numpy() for other in (0, OTHER_VIEW))
    assert (first != second).all()
    for drawn in (first, second):
        counts = np.bincount(drawn.astype(int), minlength=n_views)
        # standard deviations of the counts are below 13
        assert np.abs(counts - N / n_views).max() < 50
    # what else was read in between changes nothing, nor do other rows
    kept.read(rows, 6)
    assert (kept.read(rows[::2], 5 + OTHER_VIEW)[:, 0].numpy() == second[::2]).all()
    assert (reader(n_views).read(rows, 5)[:, 0].numpy() == first).all()
    assert (kept.read(rows, 6)[:, 0].numpy() != first).any()
    assert (kept.read(rows, None) == -1).all()
