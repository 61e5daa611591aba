from __future__ import annotations

import torch

from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import known_rows, minibatch_rows, no_penalty

CPU = torch.device("cpu")


def test_known_rows_leaves_out_the_missing_and_stays_differentiable() -> None:
    z = torch.randn(4, 2, requires_grad=True)
    known = torch.tensor([True, False, True, False])
    c = torch.tensor([[0], [-1], [1], [99]])
    rows = known_rows(Sample(z=z, c=c, y=None, weight=torch.arange(4.0), known=known), torch.float64)
    assert rows.z.dtype == torch.float64
    assert rows.c.flatten().tolist() == [0, 1]
    assert rows.weight is not None
    assert rows.weight.tolist() == [0.0, 2.0]
    rows.z.sum().backward()
    assert z.grad is not None
    assert z.grad[:, 0].tolist() == [1, 0, 1, 0]


def test_minibatches_visit_every_row_before_any_comes_back() -> None:
    rows = minibatch_rows(10, 4, 5, torch.Generator().manual_seed(0), CPU)
    assert len(rows) == 20
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_a_batch_not_smaller_than_the_sample_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert len(minibatch_rows(10, 10, 3, generator, CPU)) == len(minibatch_rows(10, None, 3, generator, CPU)) == 0
    assert torch.equal(before, generator.get_state())


def test_no_penalty_has_a_zero_gradient() -> None:
    z = torch.randn(0, 3, requires_grad=True)
    no_penalty(z).backward()
    assert z.grad is not None
    assert z.grad.shape == (0, 3)
