from __future__ import annotations

import pytest

from mibias_cli.backbone.spectrum import has_collapsed


@pytest.mark.parametrize(
    ("rank", "before", "n_classes", "kept", "collapsed"),
    [
        (0.0, None, 0, None, True),
        (0.0, 12.0, 10, (0.8, 0.8), True),  # constant features, whatever is said of the task
        (1.5, None, 10, None, True),
        (1.5, None, 3, None, False),  # three classes need two directions
        (1.5, None, 10, (0.8, 0.8), False),
        (3.0, 40.0, 10, None, True),
        (3.0, 40.0, 10, (0.8, 0.5), True),
        (3.0, 40.0, 10, (0.8, 0.79), False),
        (3.0, 40.0, 10, (0.01, 0.04), True),  # next to chance, nothing is kept
        (1.9, 3.0, 10, (0.8, 0.1), False),  # not below half of what it was
    ],
)
def test_collapse(
    rank: float, before: float | None, n_classes: int, kept: tuple[float, float] | None, collapsed: bool
) -> None:
    assert has_collapsed(rank, before, n_classes=n_classes, kept=kept) == collapsed
