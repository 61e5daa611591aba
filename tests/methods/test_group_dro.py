"""Group DRO against its algorithm as printed, and on a toy whose worst group is known."""

from __future__ import annotations

import numpy as np
import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group
from torch.nn import functional

from mibias_cli.data.loader import batches
from mibias_cli.methods.group_dro import GroupDRO


def test_steps_are_those_of_algorithm_1() -> None:
    """Loops over groups, weights as a product of exponentials, C/√n added, in float64."""
    data, model, other = toy(n=300, n_unknown=20), linear_model(), linear_model()
    method = GroupDRO(make_spec(data, model, step_size=0.5, adjustment=2.0)).double()
    train_split = data.train
    q = {(y, c): 0.25 for y in (0, 1) for c in (0, 1)}
    c_of = np.where(train_split.known["sex"], train_split.c["sex"][:, 0], -1)
    counts = {(y, c): int(((train_split.y == y) & (c_of == c)).sum()) for y, c in q}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for batch in steps(data, 2, 50):
        optimizer.zero_grad()
        loss = method(batch, model(batch.x))
        loss.backward()
        optimizer.step()

        c = c_of[batch.index.numpy()]
        scores = other(batch.x)["logits"]
        group_losses = {}
        for key in q:
            rows = torch.from_numpy((batch.y.numpy() == key[0]) & (c == key[1]))
            own = functional.cross_entropy(scores[rows], batch.y[rows]) if rows.any() else scores.sum() * 0
            group_losses[key] = own
            q[key] *= float(torch.exp(0.5 * (own.detach() + 2.0 / counts[key] ** 0.5)))
        total = sum(q.values())
        q = {key: value / total for key, value in q.items()}
        expected = sum(q[key] * group_losses[key] for key in q)
        assert isinstance(expected, torch.Tensor)
        gradients = torch.autograd.grad(expected, list(other.parameters()))
        with torch.no_grad():
            for p, g in zip(other.parameters(), gradients, strict=True):
                p -= 0.3 * g
        torch.testing.assert_close(loss, expected, rtol=0, atol=1e-7)  # C/√n passes through float32 here
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_the_worst_group_gains() -> None:
    data, model = toy(), linear_model()
    train(GroupDRO(make_spec(data, model, step_size=0.1, adjustment=0.0)), model, data)
    plain = train_plainly(data, linear_model())
    assert worst_group(plain, data) < 0.5
    assert worst_group(model, data) > 0.7


def test_a_step_that_is_not_finite_leaves_the_weights() -> None:
    data, model = toy(n=100), linear_model()
    method = GroupDRO(make_spec(data, model, step_size=0.5, adjustment=0.0)).double()
    before = method.log_weights.clone()
    batch = next(steps(data, 1, 100))
    batch.x[3, 0] = float("nan")
    method(batch, model(batch.x))
    assert torch.equal(method.log_weights, before)


def test_rows_are_drawn_so_that_groups_occur_alike() -> None:
    """Algorithm 1 draws the group first. Rows without the attribute have none, and are never drawn."""
    data = toy(n=300, n_unknown=20)
    method = GroupDRO(make_spec(data, linear_model(), step_size=0.5, adjustment=0.0))
    options = {"batch_size": 50, "seed": 1, "shuffle": True, "sample_by": method.sample_by}
    drawn = [batch for epoch in range(31) for batch in batches(data.train, epoch=epoch, **options)]
    group = method.group[torch.cat([batch.index for batch in drawn])]
    assert (group >= 0).all()
    # 31 epochs of 300 rows: a share of 1/4 has a standard error of .0045
    torch.testing.assert_close(group.bincount() / len(group), torch.full((4,), 0.25), rtol=0, atol=0.02)
