from __future__ import annotations

import pytest
import torch

from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import (
    apply_by_group,
    blocks,
    comparable_rows,
    group_means,
    known_rows,
    mean_over_parts,
    minibatch_rows,
    minibatches,
    no_penalty,
    permutation_within,
)

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


def test_permutation_within_keeps_groups_and_leaves_nobody_in_place_who_has_company() -> None:
    group = torch.tensor([2, 0, 2, 1, 0, 2, 0, 3])
    g, seen = torch.Generator().manual_seed(0), set()
    for _ in range(40):
        order = permutation_within(group, g)
        assert sorted(order.tolist()) == list(range(8))
        assert torch.equal(group[order], group)
        alone = order == torch.arange(8)
        assert alone.tolist() == [False, False, False, True, False, False, False, True]
        seen.add(tuple(order.tolist()))
    assert len(seen) == 4  # two cycles of three in either of two groups


def test_comparable_rows_have_company_in_their_class_and_weight() -> None:
    y = torch.tensor([0, 0, 1, 2, 2, 2])
    weight = torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0, 1.0])
    known = torch.tensor([True, True, True, True, True, True])
    sample = Sample(z=torch.arange(6.0)[:, None], c=torch.zeros(6, 1), y=y, weight=weight, known=known)
    assert comparable_rows(sample, torch.float32, None).z.flatten().tolist() == [0, 1, 2, 4, 5]
    assert comparable_rows(sample, torch.float32, 3).z.flatten().tolist() == [0, 1, 4, 5]
    assert comparable_rows(sample, torch.float32, 3, least=3).z.flatten().tolist() == []


def test_group_means_and_maps_by_group_against_loops() -> None:
    g = torch.Generator().manual_seed(0)
    values, group = torch.randn(12, 2, generator=g), torch.randint(0, 3, (12,), generator=g)
    weight, maps = torch.rand(12, generator=g), torch.randn(4, 2, 5, generator=g)
    means, mapped = group_means(values, weight, group, 4), apply_by_group(values, maps, group)
    for i in range(12):
        chosen = group == group[i]
        mean = (weight[chosen, None] * values[chosen]).sum(dim=0) / weight[chosen].sum()
        torch.testing.assert_close(means[i], mean)
        torch.testing.assert_close(mapped[i], values[i] @ maps[group[i]])


def test_minibatches_are_the_whole_sample_or_the_rows_drawn() -> None:
    z = torch.arange(10.0)[:, None]
    sample = Sample(z=z, c=torch.zeros(10, 1), y=None, weight=None, known=torch.ones(10, dtype=torch.bool))
    drawn = minibatch_rows(10, 4, 3, torch.Generator().manual_seed(0), CPU)
    parts = list(minibatches(sample, 4, 3, torch.Generator().manual_seed(0)))
    assert [part.z.flatten().tolist() for part in parts] == drawn.view(3, 4).tolist()
    assert [len(part) for part in minibatches(sample, None, 2, torch.Generator())] == [10, 10]


def test_blocks_are_whole_or_share_out_all_rows() -> None:
    z = torch.arange(10.0)[:, None]
    sample = Sample(z=z, c=torch.zeros(10, 1), y=None, weight=None, known=torch.ones(10, dtype=torch.bool))
    g = torch.Generator().manual_seed(0)
    before = g.get_state()
    (whole,) = blocks(sample, 10, g)
    assert whole is sample
    assert torch.equal(before, g.get_state())
    parts = blocks(sample, 4, g)
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(torch.cat([part.z for part in parts]).flatten().tolist()) == list(range(10))
    means = mean_over_parts(parts, [len(part) for part in parts], lambda part: [part.z.mean(), part.z.sum() * 0 + 1])
    assert [float(mean) for mean in means] == pytest.approx([4.5, 1.0])
