"""Unlearning against plain loops: how rows are drawn and read, information, the loss, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_toys import linear_model, make_spec, toy
from torch import nn
from torch.nn import functional

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.loader import batches
from mibias_cli.errors import MibiasError
from mibias_cli.estimators.critics import StatisticsNetwork
from mibias_cli.methods.unlearn import Retrain, Unlearn, group_information, retained_weights

SETTINGS = {"weight": 2.0, "forget_epochs": 2, "warmup_steps": 20, "critic_steps": 3, "critic_rate": 1e-3}


def marked(n_forget: int = 60, n: int = 400, n_unknown: int = 0) -> BiasedData:
    """Of the rows of the target's class 1 with sex m the first are to be forgotten."""
    data = toy(n=n, aligned=0.7, n_unknown=n_unknown)
    train = data.train
    cell = np.flatnonzero((train.y == 1) & (train.c["sex"][:, 0] == 1))
    forget = np.zeros(n, dtype=bool)
    forget[cell[:n_forget]] = True
    return replace(data, train=replace(train, forget=forget))


def test_retained_rows_are_drawn_as_the_groups_were() -> None:
    """Four rows of group 0, of which one is left, count as four; by hand."""
    group, forget = np.array([0, 0, 0, 0, 1, 1, -1, -1]), np.array([True, True, True, *[False] * 4, True])
    assert retained_weights(group, forget).tolist() == [0, 0, 0, 4, 1, 1, 2, 0]


def test_the_draws_of_a_run_have_the_original_groups() -> None:
    data = marked()
    train = data.train
    assert train.forget is not None
    method = Retrain(make_spec(data, linear_model()))
    assert method.prepare() == "retrain: 60 of 400 training rows are left out"
    drawn = Counter[tuple[int, int]]()
    for epoch in range(50):
        stream = batches(train, batch_size=100, epoch=epoch, shuffle=True, sample_by=method.sample_by)
        for index in (batch.index.numpy() for batch in stream):
            assert not train.forget[index].any()
            drawn.update(zip(train.y[index].tolist(), train.c["sex"][index, 0].tolist(), strict=True))
    for y in (0, 1):
        for c in (0, 1):
            share = float(((train.y == y) & (train.c["sex"][:, 0] == c)).mean())
            # 20,000 draws: five standard deviations
            assert drawn[y, c] / 20_000 == pytest.approx(share, abs=5 * (share * (1 - share) / 20_000) ** 0.5)


def test_rows_to_forget_are_read_once_before_all_others_in_the_first_epochs() -> None:
    data = marked()
    forget = data.train.forget
    assert forget is not None
    method = Unlearn(make_spec(data, linear_model(), **SETTINGS))
    for epoch in range(4):
        stream = batches(
            data.train, batch_size=40, epoch=epoch, shuffle=True, sample_by=method.sample_by,
            first_until=method.first_until,
        )  # fmt: skip
        read = [batch.index.numpy() for batch in stream]
        assert len(read) == 10
        first, later = (read[:2], read[2:]) if epoch < 2 else ([], read)
        if first:
            assert sorted(np.concatenate(first)) == np.flatnonzero(forget).tolist()
        assert not forget[np.concatenate(later)].any()


def test_information_is_the_bound_over_all_pairs_of_rows_and_groups() -> None:
    torch.manual_seed(0)
    critic, z, group = (
        StatisticsNetwork(3, 4, [8]).double(),
        torch.randn(6, 3).double(),
        torch.tensor([0, 1, 1, 3, 2, 0]),
    )
    frequency = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)

    def score(row: int, g: int) -> float:
        with torch.no_grad():
            return float(critic(z[row : row + 1], functional.one_hot(torch.tensor([g]), 4).double()))

    joint = sum(score(row, int(group[row])) for row in range(6)) / 6
    product = sum(float(frequency[g]) * np.exp(score(row, g)) / 6 for row in range(6) for g in range(4))
    assert group_information(critic, z, group, frequency).item() == pytest.approx(joint - np.log(product), abs=1e-12)


def test_a_critic_learns_how_much_features_tell_of_groups() -> None:
    """The toy's own features, two of four: I(z; g) of two unit Gaussians in each of two columns is known by sums."""
    data = marked(n=4000)
    spec = make_spec(data, linear_model(), **(SETTINGS | {"warmup_steps": 1500, "critic_rate": 2e-3}))
    method = Unlearn(spec).double()
    method.begin_epoch(0)
    train = data.train
    x = train.reader.read(train.rows, None).double()
    found = group_information(method.critics[0].critic, x, method.group, method.frequency).item()
    # log p(x | g) − log p(x), with the columns' true means: ±1 by y, ±2 by c
    means = {g: ((2 * y - 1), 2 * (2 * c - 1)) for g, (y, c) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1)))}
    log_p = torch.stack([-((x[:, 0] - a) ** 2 + (x[:, 1] - b) ** 2) / 2 for a, b in means.values()], dim=1)
    mixed = torch.logsumexp(log_p + method.frequency.double().log(), dim=1)
    true = (log_p.gather(1, method.group[:, None])[:, 0] - mixed).mean().item()
    assert true > 0.7
    assert found == pytest.approx(true, abs=0.08)


def test_rows_to_forget_give_their_information_and_others_loss_and_penalty() -> None:
    """The model moves on from the original; rows without an attribute are in the cross-entropy alone."""
    data, model = marked(n_unknown=40), linear_model()
    forget = data.train.forget
    assert forget is not None
    known = data.train.known["sex"]
    data = replace(data, train=replace(data.train, forget=forget & known))
    method = Unlearn(make_spec(data, model, **SETTINGS)).double()
    # a layer that learns, behind which the original's features are no longer the model's
    scale = nn.Parameter(torch.full((4,), 1.5).double())
    method.begin_epoch(0)

    def information(which: int, z: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        rows = torch.from_numpy(known)[index]
        return group_information(
            method.critics[which].critic, z[rows], method.group[index][rows], method.frequency.double()
        )

    index = torch.arange(100)
    index = index[~torch.from_numpy(forget)[index]]
    part = data.train.at(index.numpy())
    batch = replace(next(iter(batches(part, batch_size=100, shuffle=False))), index=index)
    x = batch.x.double()
    batch = replace(batch, x=x)
    z = scale * x
    logits = model.head(z)
    found = method(batch, {"features": z, "logits": logits})
    assert isinstance(found, tuple)
    torch.testing.assert_close(found[0], functional.cross_entropy(logits, batch.y))
    kept = information(1, x, index)
    torch.testing.assert_close(found[1], 2.0 * (information(0, z, index) - kept) ** 2)
    assert found[1].item() > 0
    # the penalty moves features, and no critic
    critics = [p for critic in method.critics for p in critic.critic.parameters()]
    for p in critics:
        p.grad = None
    found[1].backward()
    assert scale.grad is not None
    assert scale.grad.abs().sum() > 0
    assert all(p.grad is None for p in critics)

    index = torch.from_numpy(np.flatnonzero(forget & known))
    batch = replace(next(iter(batches(data.train.at(index.numpy()), batch_size=100, shuffle=False))), index=index)
    z = scale * batch.x.double()
    torch.testing.assert_close(
        method(replace(batch, x=batch.x.double()), {"features": z, "logits": model.head(z)}), information(0, z, index)
    )


def test_its_state_is_all_that_a_resumed_run_needs() -> None:
    data = marked()
    one, other = (Unlearn(make_spec(data, linear_model(), **SETTINGS)).double() for _ in range(2))
    assert not dict(one.named_parameters())
    one.begin_epoch(0)
    other.load_state_dict(one.state_dict())
    for method in (one, other):
        method.begin_epoch(1)
    for a, b in zip(one.critics, other.critics, strict=True):
        for left, right in zip(a.critic.parameters(), b.critic.parameters(), strict=True):
            assert torch.equal(left, right)


def test_what_cannot_be_unlearned_is_refused() -> None:
    with pytest.raises(
        MibiasError, match=r"data.columns.forget: all training rows of 1 group\(s\) are marked \(1 / m\)"
    ):
        Retrain(make_spec(marked(n_forget=400), linear_model()))
    spec = make_spec(marked(n_forget=60, n=180), linear_model(), **SETTINGS)
    with pytest.raises(MibiasError, match=r"training.batch_size: of 1 batch\(es\) of an epoch 1 would hold"):
        Unlearn(replace(spec, batch_size=180))
    with pytest.raises(MibiasError, match=r"data.columns.forget: names no column"):
        Retrain(make_spec(toy(), linear_model()))


def test_without_an_epoch_of_forgetting_rows_are_left_out_and_ask_nothing_of_batches() -> None:
    spec = make_spec(marked(n_forget=60, n=180), linear_model(), **SETTINGS | {"forget_epochs": 0})
    method = Unlearn(replace(spec, batch_size=180))
    assert method.prepare() == "miu: 60 of 180 training rows are left out, and none is unlearned"
    data = spec.data.train
    assert data.forget is not None
    for batch in batches(
        data, batch_size=180, epoch=0, seed=0, shuffle=True, num_workers=0, sample_by=method.sample_by,
        first_until=method.first_until,
    ):  # fmt: skip
        assert not data.forget[batch.index].any()


def test_marked_rows_without_a_group_are_told() -> None:
    data = marked()
    train = data.train
    assert train.forget is not None
    for n, message in ((60, "miu: 60 of 400 training rows are unlearned"), (50, "but 10 of them have no group")):
        known = np.ones(400, dtype=bool)
        known[np.flatnonzero(train.forget)[n:]] = False
        some = replace(data, train=replace(train, known={"sex": known}))
        assert message in Unlearn(make_spec(some, linear_model(), **SETTINGS)).prepare()
    none = replace(data, train=replace(train, known={"sex": ~train.forget}))
    with pytest.raises(MibiasError, match=r"data.columns.forget: no marked row has a value of every attribute"):
        Unlearn(make_spec(none, linear_model(), **SETTINGS))
