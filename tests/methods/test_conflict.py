"""Conflicting rows and the average precision with which a score finds them, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.methods.conflict import conflicting_rows, scored

Y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
C = np.array([2, 2, 1, 2, 0, -1, 0, 3])


def test_rows_of_another_bias_class_than_most_of_their_class() -> None:
    known = C >= 0
    assert np.flatnonzero(known)[conflicting_rows(Y[known], C[known])].tolist() == [2, 7]


@pytest.mark.parametrize(
    ("score", "precision"),
    # ranks 1 and 2; ranks 1 and 4: (1/1 + 2/4)/2. The row whose bias is unknown counts nowhere
    [([0, 0, 2, 0, 0, 9, 0, 1.0], "1.00"), ([5, 4, 9, 0, 0, 9, 0, 3.0], "0.75")],
)
def test_average_precision_of_a_score(score: list[float], precision: str) -> None:
    said = scored(np.array(score), Y, C)
    assert f"2 of 7 do conflict, and are found with an average precision of {precision} (0.29 by chance)" in said


@pytest.mark.parametrize("c", [np.full(8, -1), np.zeros(8, dtype=np.int64)])
def test_nothing_is_said_where_none_conflicts(c: np.ndarray) -> None:
    assert scored(np.arange(8.0), Y, c) == ""
