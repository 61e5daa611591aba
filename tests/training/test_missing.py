"""Samples whose attribute is missing train the task alone."""

from __future__ import annotations

import pytest
import torch
from known_mi import make_spec
from torch import nn

from mibias_cli.data.batch import Batch
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.queue import FeatureQueue
from mibias_cli.training.settings import DebiasSettings
from mibias_cli.training.step import Stepper


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        z = torch.tanh(self.features(x))
        return {"features": z, "z": z, "logits": self.head(z)}


def batch(known: torch.Tensor, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (64,), generator=g)
    x = torch.randn(64, 5, generator=g) + y[:, None]
    c = torch.where(known, y, torch.randint(2, (64,), generator=g))
    return Batch(x=x, y=y, c={"sex": c[:, None]}, known={"sex": known}, index=y)


def debiaser() -> Debiaser:
    torch.manual_seed(1)
    estimator = ClassifierBound(make_spec(n_features=4, n_classes=(2,), hidden=(8,), learning_rate=2e-3, steps=3))
    return Debiaser(
        settings=DebiasSettings(balance="none"), estimators={"sex": estimator}, monitors={"sex": estimator},
        queue=FeatureQueue(256, weighted=False), seed=0,
    )  # fmt: skip


def trained(known: torch.Tensor | None) -> list[torch.Tensor]:
    """Weights after five steps, of plain training where `known` is None."""
    torch.manual_seed(0)
    fabric = make_fabric("cpu", "32", deterministic=False)
    net = Net()
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    debias = None if known is None else debiaser()
    stepper = Stepper(fabric=fabric, model=model, optimizer=optimizer, debiaser=debias)
    for k in range(5):
        stepper.run(batch(torch.ones(64, dtype=torch.bool) if known is None else known, k), k, 1.0, None, log=False)
    return [p.detach().clone() for p in net.parameters()]


def test_where_no_row_says_its_attribute_training_is_plain_training() -> None:
    plain = trained(None)
    assert all(torch.equal(a, b) for a, b in zip(trained(torch.zeros(64, dtype=torch.bool)), plain, strict=True))
    some = trained(torch.arange(64) < 40)
    assert not all(torch.equal(a, b) for a, b in zip(some, plain, strict=True))


@pytest.mark.parametrize("n_known", [2, 40])
def test_rows_that_do_not_say_their_attribute_feel_no_penalty(n_known: int) -> None:
    known = torch.arange(64) < n_known
    b, debias = batch(known), debiaser()
    z = torch.randn(64, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    debias.fit_on_queue(b, z.detach(), 0)
    (gradient,) = torch.autograd.grad(debias.penalty(b, z, 0), z)
    assert gradient[~known].abs().max() == 0
    assert gradient[known].abs().min(dim=0).values.max() > 0
