"""Conditional contrastive learning against a loop over views, and on a toy in which the bias is easy and loud."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from method_toys import make_spec, toy
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from mibias_cli.backbone.bottleneck import StandardFeatures
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Batch
from mibias_cli.data.loader import batches
from mibias_cli.methods.contrastive import ConditionalContrast, conditional_info_nce
from mibias_cli.training.model import TaskModel


def by_loops(first: torch.Tensor, second: torch.Tensor, c: list[int], temperature: float) -> float:
    """The mean over views of −log of the partner's share among all other views of the same class."""
    views, classes, n = [*first, *second], [*c, *c], len(c)
    losses = []
    for i, view in enumerate(views):
        share = {
            k: math.exp(float(view @ other / (view.norm() * other.norm())) / temperature)
            for k, other in enumerate(views)
            if k != i and classes[k] == classes[i]
        }
        losses.append(-math.log(share[(i + n) % (2 * n)] / sum(share.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("c", [[0, 1, 0, 2, 1, 0], [0] * 6, [0, 1, 2, 3, 4, 5]])
def test_the_loss_is_that_of_a_loop_over_views(c: list[int]) -> None:
    g = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 6, 5, dtype=torch.float64, generator=g)
    found = conditional_info_nce(first, second, torch.tensor(c), 0.3)
    assert found.item() == pytest.approx(by_loops(first, second, c, 0.3), abs=1e-12)
    # with as many classes as images there is nothing to tell an image from
    assert (found.item() == 0) == (len(set(c)) == 6)


def features_model(width: int) -> TaskModel:
    torch.manual_seed(0)
    return TaskModel(Extractor(nn.Linear(4, width), width), StandardFeatures(width), ["features"]).double()


def two_views(n_unknown: int = 0, epochs: int = 1) -> Iterator[Batch]:
    """Batches of the toy whose second half are the first half's rows with other noise in two of their features."""
    train = toy(n=600, aligned=0.5, n_unknown=n_unknown).train
    for epoch in range(epochs):
        for batch in batches(train, batch_size=100, epoch=epoch, shuffle=True, n_views=2):
            g = torch.Generator().manual_seed(epoch * 1000 + int(batch.index[0]))
            noise = torch.randn(len(batch), 2, dtype=torch.float64, generator=g)
            yield replace(batch, x=torch.cat([batch.x[:, :2].double(), noise], dim=1))


def test_rows_whose_attribute_is_missing_take_no_part() -> None:
    data, model = toy(n=600, aligned=0.5, n_unknown=200), features_model(3)
    method = ConditionalContrast(make_spec(data, model, temperature=0.5)).double()
    batch = next(two_views(n_unknown=200))
    known = torch.from_numpy(data.train.known["sex"])[batch.index]
    assert 0 < int((~known).sum()) < len(batch)
    output = model(batch.x)
    first, second = output["features"][known].detach().chunk(2)
    c = torch.from_numpy(data.train.c["sex"][:, 0])[batch.index][known].chunk(2)[0]
    torch.testing.assert_close(
        method(batch, output).item(), by_loops(first, second, c.tolist(), 0.5), rtol=0, atol=1e-12
    )
    # a batch of such rows alone teaches nothing, and breaks nothing
    nobody = batch.at((~known).nonzero().flatten())
    assert method(nobody, model(nobody.x)).item() == 0


def learnt(conditional: bool) -> tuple[float, float]:
    """How well directions learnt from two views tell the bias, and on which side of a line lies what the views share.

    A view is a point of a circle, which it shares with its partner, the bias, twice as loud, and noise of its own.
    """
    g = torch.Generator().manual_seed(0)
    angle, c = 2 * math.pi * torch.rand(400, generator=g), torch.randint(2, (400,), generator=g)

    def view() -> torch.Tensor:
        noise = torch.randn(400, generator=g)
        return torch.stack([angle.cos(), angle.sin(), 2.0 * (2 * c - 1), noise], dim=1)

    weight = (torch.eye(4) + 0.1 * torch.randn(4, 4, generator=g)).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        classes = c if conditional else torch.zeros_like(c)
        conditional_info_nce(view() @ weight, view() @ weight, classes, 0.5).backward()
        optimizer.step()
    z = functional.normalize(view() @ weight.detach(), dim=1).numpy()
    probes = [
        LogisticRegression().fit(z[:200], truth[:200]).score(z[200:], truth[200:]) for truth in (c, angle < math.pi)
    ]
    return probes[0], probes[1]


def test_negatives_of_the_same_class_leave_the_bias_out_of_what_is_learnt() -> None:
    told, kept = learnt(conditional=True)
    assert told < 0.65
    assert kept > 0.9
    # the same loss with all negatives goes by the bias, which is there to be told
    assert learnt(conditional=False)[0] > 0.95
