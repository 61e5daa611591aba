"""FAIR against three networks with three optimizers, and which rows come to weigh what."""

from __future__ import annotations

import copy

import torch
from method_toys import linear_model, make_spec, steps, toy
from torch.nn import functional

from mibias_cli.methods.fair import AdversarialWeights


def test_steps_are_those_of_three_players() -> None:
    """Each of them minimises its own loss, with the others' values as numbers; unknown rows weigh and teach nothing."""
    data, model = toy(n=120, n_unknown=9), linear_model()
    method = AdversarialWeights(make_spec(data, model, alpha=0.8, beta=0.1)).double()
    own, adversary, weigh = (copy.deepcopy(one) for one in (model, method.adversary, method.weigh))
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.3)
    players = [torch.optim.SGD(one.parameters(), lr=0.3) for one in (own, adversary, weigh)]
    c_of, known_of = torch.from_numpy(data.train.c["sex"][:, 0]), torch.from_numpy(data.train.known["sex"])
    for batch in steps(data, 3, 40):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()

        c, known = c_of[batch.index], known_of[batch.index]
        x, n = batch.x, len(batch)

        def losses(
            x: torch.Tensor = x, y: torch.Tensor = batch.y, c: torch.Tensor = c
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            of_y = functional.cross_entropy(own(x)["logits"], y, reduction="none")
            return of_y, functional.cross_entropy(adversary(x)[0], c, reduction="none"), weigh(x)[:, 0].sigmoid()

        def number(values: torch.Tensor) -> torch.Tensor:
            return torch.tensor(values.tolist(), dtype=torch.float64)

        of_y, of_c, w = losses()
        asked = (
            (number(w) * of_y).sum() / n,
            (number(w) * of_c)[known].sum() / n,
            (w * number(of_y) - 0.8 * w * number(of_c) - 0.1 * w)[known].sum() / n,
        )
        for player, loss in zip(players, asked, strict=True):
            player.zero_grad()
            loss.backward()
        for player in players:
            player.step()
    for ours, theirs in ((model, own), (method.adversary, adversary), (method.weigh, weigh)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_rows_that_tell_the_bias_come_to_weigh_less() -> None:
    """y moves one feature, c another; rows whose c the adversary tells for sure are those that weigh little."""
    data, model = toy(n=600, aligned=0.7), linear_model()
    method = AdversarialWeights(make_spec(data, model, alpha=1.0, beta=0.0)).double()
    optimizer = torch.optim.Adam([*model.parameters(), *method.parameters()], lr=0.01)
    for batch in steps(data, 30, 60):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()
    x = data.train.reader.read(data.train.rows, None).double()
    with torch.no_grad():
        weight = method.weigh(x)[:, 0].sigmoid()
        told = functional.cross_entropy(
            method.adversary(x)[0], torch.from_numpy(data.train.c["sex"][:, 0]), reduction="none"
        )
    unsure = told > told.quantile(0.8)
    sure = told < told.quantile(0.2)
    assert float(weight[unsure].mean()) > 3 * float(weight[sure].mean())
