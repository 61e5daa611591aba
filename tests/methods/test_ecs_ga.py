"""ECS + GA against plain loops: the peers' picks, the ensemble of their scores, the balance of gradients, the gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group
from sklearn.metrics import average_precision_score
from torch.nn import functional

from mibias_cli.methods.ecs_ga import ConflictScores, GradientAlignment


def test_peers_learn_what_both_find_easy() -> None:
    """Row by row in plain Python, with two optimizers; the second epoch unlearns what one peer alone finds easy."""
    data, model = toy(n=120, aligned=0.8), linear_model()
    method = ConflictScores(make_spec(data, model, confidence=0.6)).double()
    nets = [linear_model(), linear_model(1)]
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.3)
    others = [torch.optim.SGD(net.parameters(), lr=0.3) for net in nets]
    kept, counts = dict[int, list[float]](), {"both": 0, "one": 0, "none": 0}
    for i, batch in enumerate(steps(data, 3, 40)):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()

        losses = [functional.cross_entropy(net(batch.x)["logits"], batch.y, reduction="none") for net in nets]
        p = [[float(np.exp(-loss)) for loss in of_net.tolist()] for of_net in losses]
        y = batch.y.tolist()
        easy = [
            [v > 0.6 * max(w for w, k in zip(of_net, y, strict=True) if k == y[row]) for row, v in enumerate(of_net)]
            for of_net in p
        ]
        total = losses[0].new_zeros(())
        for row in range(len(y)):
            first, second = easy[0][row], easy[1][row]
            counts["both" if first and second else "one" if first or second else "none"] += 1
            if first and second:
                total = total + (losses[0][row] + losses[1][row]) / len(y)
            elif i >= 3 and (first or second):
                total = total - 0.0001 * losses[0 if first else 1][row] / len(y)
            kept.setdefault(int(batch.index[row]), []).append((p[0][row] + p[1][row]) / 2)
        for one in others:
            one.zero_grad()
        total.backward()
        for one in others:
            one.step()
    assert min(counts.values()) > 5
    for ours, theirs in ((model, nets[0]), (method.network, nets[1])):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    expected = torch.tensor([1 - float(np.mean(kept[row])) for row in range(120)])
    torch.testing.assert_close(method.score(), expected, rtol=0, atol=1e-6)


def test_either_kind_of_rows_moves_the_model_alike() -> None:
    """Weights of a loop; and by them the gradients' sizes of all rows balance, γ times over."""
    data, model = toy(n=200), linear_model()
    method = GradientAlignment(make_spec(data, model, gamma=1.6)).double()
    conflicting = torch.from_numpy(np.random.default_rng(0).random(200) < 0.1)
    method.conflicting.copy_(conflicting)
    size = [1.0] * 200
    for batch in steps(data, 1, 50):
        output = model(batch.x)
        losses = functional.cross_entropy(output["logits"], batch.y, reduction="none").tolist()
        for row, loss in zip(batch.index.tolist(), losses, strict=True):
            size[row] = 1 - np.exp(-loss)
        of_hard = sum(v for v, hard in zip(size, conflicting, strict=True) if hard)
        of_easy = sum(v for v, hard in zip(size, conflicting, strict=True) if not hard)
        weights = [1.0 if hard else of_hard / (1.6 * of_easy) for hard in conflicting]
        mean = sum(weights) / 200
        expected = sum(weights[row] / mean * loss for row, loss in zip(batch.index.tolist(), losses, strict=True)) / 50
        assert method(batch, output).item() == pytest.approx(expected, rel=1e-9)
    sums = [sum(w * v for w, v, h in zip(weights, size, conflicting, strict=True) if h == hard) for hard in (0, 1)]
    assert sums[1] == pytest.approx(1.6 * sums[0])


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_where_all_rows_are_of_one_kind_it_trains_plainly(threshold: float) -> None:
    data, model = toy(n=100), linear_model()
    method = GradientAlignment(make_spec(data, model, epochs=2, confidence=0.5, threshold=threshold, gamma=1.6))
    assert "all weigh alike" in method.double().prepare()
    batch = next(steps(data, 1, 100))
    output = model(batch.x)
    expected = functional.cross_entropy(output["logits"], batch.y)
    torch.testing.assert_close(method(batch, output), expected)


def test_conflicting_rows_are_found_and_the_worst_group_gains() -> None:
    data, model = toy(), linear_model()
    method = GradientAlignment(make_spec(data, model, epochs=20, confidence=0.5, threshold=0.8, gamma=1.0))
    train(method, model, data)
    against = data.train.y != data.train.c["sex"][:, 0]
    assert average_precision_score(against, method.score.numpy()) > 0.6
    plain = worst_group(train_plainly(data, linear_model()), data)
    assert plain < 0.5
    assert worst_group(model, data) > plain + 0.15
