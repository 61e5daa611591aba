"""EnD against loops over the pairs of a batch, as its paper writes them, and what it does to features."""

from __future__ import annotations

import itertools

import pytest
import torch
from method_toys import linear_model, make_spec, steps, toy
from torch.nn import functional

from mibias_cli.methods.end import EntangleDisentangle, disentangling, entangling


def by_pairs(z: torch.Tensor, y: list[int], c: list[int]) -> tuple[float, float]:
    """R⊥ and R∥, pair by pair."""
    within, apart = dict[int, list[float]](), list[float]()
    for i, j in itertools.combinations(range(len(z)), 2):
        cosine = float(z[i] @ z[j] / (z[i].norm() * z[j].norm()))
        if c[i] == c[j]:
            within.setdefault(c[i], []).append(cosine)
        elif y[i] == y[j]:
            apart.append((1 - cosine) / 2)
    n_within = sum(map(len, within.values()))
    orthogonal = sum(abs(sum(found)) for found in within.values()) / n_within if n_within else 0.0
    return orthogonal, sum(apart) / len(apart) if apart else 0.0


def test_the_loss_is_that_of_a_loop_over_pairs() -> None:
    """Rows whose attribute is missing are in the cross-entropy alone."""
    data, model = toy(n=80, n_unknown=7), linear_model()
    method = EntangleDisentangle(make_spec(data, model, alpha=0.3, beta=0.7)).double()
    batch = next(steps(data, 1, 60))
    output = model(batch.x)
    known = torch.from_numpy(data.train.known["sex"])[batch.index]
    assert int((~known).sum()) > 0
    c = torch.from_numpy(data.train.c["sex"][:, 0])[batch.index]
    orthogonal, parallel = by_pairs(output["features"][known], batch.y[known].tolist(), c[known].tolist())
    assert min(abs(orthogonal), parallel) > 0.01
    expected = functional.cross_entropy(output["logits"], batch.y) + 0.3 * orthogonal + 0.7 * parallel
    torch.testing.assert_close(method(batch, output), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("y", "c"), [([0, 1, 2], [0, 1, 2]), ([0, 0, 0], [1, 1, 1]), ([0, 0, 1], [0, 1, 2]), ([], [])])
def test_batches_that_lack_one_kind_of_pair(y: list[int], c: list[int]) -> None:
    z = functional.normalize(torch.randn(len(y), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    expected = by_pairs(z, y, c)
    own_y, own_c = torch.tensor(y, dtype=torch.int64), torch.tensor(c, dtype=torch.int64)
    assert (float(disentangling(z, own_c)), float(entangling(z, own_y, own_c))) == pytest.approx(expected, abs=1e-12)


def test_minimised_it_takes_the_bias_out_of_the_cosines() -> None:
    """Free features: those of one class come together whatever their bias; those of one bias class no longer do."""
    g = torch.Generator().manual_seed(0)
    y, c = torch.randint(2, (60,), generator=g), torch.randint(2, (60,), generator=g)
    z = torch.randn(60, 6, generator=g) + 3 * functional.one_hot(c, 6)
    z.requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.05)

    def terms() -> tuple[torch.Tensor, torch.Tensor]:
        unit = functional.normalize(z, dim=1)
        return disentangling(unit, c), entangling(unit, y, c)

    before = [term.item() for term in terms()]
    for _ in range(200):
        optimizer.zero_grad()
        torch.stack(terms()).sum().backward()
        optimizer.step()
    after = [term.item() for term in terms()]
    assert before[0] > 0.3
    assert before[1] > 0.3
    assert max(after) < 0.05
