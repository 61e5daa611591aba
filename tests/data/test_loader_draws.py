"""Rows that are drawn for the estimator beside an epoch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mibias_cli.data.batch import Batch, Split
from mibias_cli.data.loader import batches

N, WEIGHTS = 50, np.array([0.0] * 40 + [1.0] * 8 + [10.0] * 2)


class Numbers:
    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        return torch.from_numpy(rows).float()[:, None]


def numbers() -> Split:
    rows = np.arange(N)
    return Split(
        name="train", y=rows % 3, c={"a": rows[:, None] % 2}, known={"a": rows > 4}, group=None, rows=rows,
        row_names=[str(i) for i in rows], reader=Numbers(),
    )  # fmt: skip


def epoch_of(epoch: int, **options: Any) -> list[Batch]:
    return list(batches(numbers(), batch_size=16, epoch=epoch, seed=1, shuffle=True, draw_by=WEIGHTS, **options))


def test_own_rows_are_the_epoch_and_drawn_rows_follow_the_weights() -> None:
    own = np.concatenate([b.own.index.numpy() for b in epoch_of(0)])
    assert sorted(own) == list(range(N))
    plain = np.concatenate([b.index.numpy() for b in batches(numbers(), batch_size=16, epoch=0, seed=1, shuffle=True)])
    assert np.array_equal(own, plain)
    drawn = np.concatenate([b.drawn.index.numpy() for e in range(400) for b in epoch_of(e)])
    counts = np.bincount(drawn, minlength=N)
    expected = WEIGHTS / WEIGHTS.sum() * len(drawn)
    assert len(drawn) == 400 * N
    # 20,000 draws: five standard deviations of the commonest count, a false alarm in fewer than 1 of 100,000 runs
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())
    assert counts[:40].sum() == 0


def test_every_field_is_cut_and_the_last_batch_too() -> None:
    last = epoch_of(3)[-1]
    assert len(last.own.index) == len(last.drawn.index) == N % 16
    for part in (last.own, last.drawn):
        assert torch.equal(part.x[:, 0].long(), part.index)
        assert torch.equal(part.y, part.index % 3)
        assert torch.equal(part.c["a"][:, 0], part.index % 2)
        assert torch.equal(part.known["a"], part.index > 4)
        assert part.n_own is None
        assert part.own is part
        assert part.drawn is part


def test_a_share_of_the_batch_is_drawn_and_two_rows_at_least() -> None:
    parts = epoch_of(0, draw_share=0.25)
    assert [(len(b.own), len(b.drawn)) for b in parts] == [(16, 4), (16, 4), (16, 4), (2, 2)]
    assert np.array_equal(
        np.concatenate([b.own.index for b in parts]), np.concatenate([b.own.index for b in epoch_of(0)])
    )
    assert set(np.concatenate([b.drawn.index for b in parts])) <= set(range(40, N))


@pytest.mark.parametrize("options", [{"start_step": 2}, {"num_workers": 2}, {"start_step": 1, "draw_share": 0.5}])
def test_the_same_draws_from_the_middle_and_by_workers(options: dict[str, Any]) -> None:
    whole, other = epoch_of(2, draw_share=options.get("draw_share", 1.0)), epoch_of(2, **options)
    for a, b in zip(whole[options.get("start_step", 0) :], other, strict=True):
        assert torch.equal(a.index, b.index)
        assert a.n_own == b.n_own
