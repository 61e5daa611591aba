"""Learning from Failure against a plain loop of two networks and two optimizers."""

from __future__ import annotations

import math

import pytest
import torch
from method_toys import linear_model, make_spec, steps, toy
from torch.nn import functional

from mibias_cli.methods.lff import FromFailure, generalised_cross_entropy


def test_steps_are_those_of_algorithm_1() -> None:
    """Row by row in plain Python: averages from each row's first loss on, the largest of a class, two optimizers."""
    data, model, own, biased = toy(n=120), linear_model(), linear_model(), linear_model(1)
    method = FromFailure(make_spec(data, model, q=0.7, decay=0.6)).double()
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.3)
    others = [torch.optim.SGD(net.parameters(), lr=0.3) for net in (own, biased)]
    kept_biased, kept_own = dict[int, float](), dict[int, float]()
    y_of = dict(enumerate(data.train.y.tolist()))
    for batch in steps(data, 3, 40):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()

        scores, easy = own(batch.x)["logits"], biased(batch.x)["logits"]
        losses = functional.cross_entropy(scores, batch.y, reduction="none")
        losses_biased = functional.cross_entropy(easy, batch.y, reduction="none")
        rows = batch.index.tolist()
        for kept, found in ((kept_biased, losses_biased), (kept_own, losses)):
            for row, loss in zip(rows, found.tolist(), strict=True):
                kept[row] = 0.6 * kept[row] + 0.4 * loss if row in kept else loss
        weights = []
        for row in rows:
            top_biased, top_own = (
                max(v for r, v in kept.items() if y_of[r] == y_of[row]) for kept in (kept_biased, kept_own)
            )
            b, d = kept_biased[row] / top_biased, kept_own[row] / top_own
            weights.append(b / (b + d + 1e-8))
        p = easy.softmax(dim=1).gather(1, batch.y[:, None])[:, 0]
        total = (torch.tensor(weights).double() * losses).mean() + ((1 - p**0.7) / 0.7).mean()
        for one in others:
            one.zero_grad()
        total.backward()
        for one in others:
            one.step()
    for ours, theirs in ((model, own), (method.network, biased)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # weights pass through float32 here


def test_rows_against_the_bias_come_to_weigh_more() -> None:
    data, model = toy(n=600), linear_model()
    method = FromFailure(make_spec(data, model, q=0.7, decay=0.7)).double()
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.3)
    for batch in steps(data, 10, 60):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()
    with torch.no_grad():
        against = torch.from_numpy(data.train.y != data.train.c["sex"][:, 0])
        kept = method.loss_biased
    assert float(kept[against].mean()) > 5 * float(kept[~against].mean())


@pytest.mark.parametrize("p", [0.9, 0.2, 1e-30])
def test_generalised_cross_entropy(p: float) -> None:
    logits = torch.tensor([[math.log(p), math.log1p(-p)]], dtype=torch.float64, requires_grad=True)
    loss = generalised_cross_entropy(logits, torch.tensor([0]), 0.7)
    loss.sum().backward()
    assert loss.item() == pytest.approx((1 - p**0.7) / 0.7, rel=1e-9)
    # its gradient is p^q times that of cross-entropy
    assert logits.grad is not None
    assert float(logits.grad[0, 0]) == pytest.approx(-(p**0.7) * (1 - p), rel=1e-6)
