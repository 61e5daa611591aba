"""What the last fit reads: copies of samples in the styles of others, for the penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_runs import tiny
from torch import nn

from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.heads.passes import COPIES_COUNT, Pass, one_pass
from mibias_cli.run.stages import stage_debiaser

RECIPE = (
    "representation={layers: [features], bottleneck: {width: 9, hidden: []}}", "original=null",
    "training.head_last=0.05", "debias.estimator=closed_form", "debias.objective=conditional",
    "debias.queue_batches=32", "debias.balance=critic", "data.variance=0.02",
)  # fmt: skip
MIX = "debias.mix={layer: conv2, share: 0.5}"


def first_pass(parts: Parts, read: list[torch.Tensor] | None = None) -> Pass:
    """The first pass over training samples; `read` gets what the mixed layer reads, batch by batch."""
    model = parts.new_model().eval()
    debiaser = stage_debiaser(parts, model, last_fit=True)
    if read is not None:
        layer = dict(model.extractor.backbone.named_modules())["conv2"]
        layer.register_forward_hook(lambda module, given, out: read.append(given[0]))
    with torch.no_grad():
        return one_pass(model, parts, np.arange(len(parts.data.train)), debiaser, 0)


def test_copies_carry_statistics_and_attribute_of_another_sample_and_their_own_target() -> None:
    read: list[torch.Tensor] = []
    one = first_pass(assemble(tiny(*RECIPE, MIX), offline=True), read)
    assert one.copies is not None
    assert torch.equal(one.copies.y, one.plain.y)
    assert torch.equal(one.copies.index, one.plain.index)
    assert bool((one.copies.c["colour"] != one.plain.c["colour"]).any(dim=1).all())
    # of the first batch: as it is, mixed, and copied
    plain, _, copied = (maps.mean((2, 3)) for maps in read[:3])
    distance, partner = torch.cdist(copied, plain).min(dim=1)
    assert float(distance.max()) < 1e-3
    n = len(plain)
    assert torch.equal(one.plain.c["colour"][:n][partner], one.copies.c["colour"][:n])


def test_copies_share_the_weights_of_their_cells() -> None:
    parts = assemble(tiny(*RECIPE, MIX), offline=True)
    one = first_pass(parts)
    assert one.copies is not None
    before = torch.from_numpy(parts.weights.train["colour"])
    attribute, train = parts.data.attributes["colour"], parts.data.train
    cells = np.unique(np.column_stack([train.y, attribute.classes(train.c["colour"])]), axis=0, return_inverse=True)[1]
    cells = cells.reshape(-1)
    n = torch.from_numpy(np.bincount(cells)[cells])
    copied = np.column_stack([one.copies.y.numpy(), attribute.classes(one.copies.c["colour"].numpy())])
    plain = np.column_stack([train.y, attribute.classes(train.c["colour"])])
    taken = torch.tensor([tuple(cell) in set(map(tuple, copied)) for cell in plain])
    before_n = torch.where(taken, n / (n + COPIES_COUNT), 1.0)
    torch.testing.assert_close(one.plain.weight["colour"], before * before_n.to(before))
    seen = one.penalised(nn.Identity())
    assert torch.equal(seen.x, torch.cat([one.plain.x, one.copies.x]))
    half = one.at(torch.arange(len(train)) % 2 == 0)
    assert torch.equal(half.copies.index if half.copies else torch.empty(0), half.plain.index)


@pytest.mark.parametrize("overrides", [(), (MIX, "debias.balance=none")])
def test_without_mixing_or_weights_the_penalty_sees_samples_as_they_are(overrides: tuple[str, ...]) -> None:
    one = first_pass(assemble(tiny(*RECIPE, *overrides), offline=True))
    assert one.copies is None
    assert torch.equal(one.penalised(nn.Identity()).x, one.plain.x)
