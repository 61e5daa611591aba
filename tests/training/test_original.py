from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mibias_cli.backbone.bottleneck import StandardFeatures
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.mlp import MLP
from mibias_cli.data.batch import Split
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.target import TargetKind
from mibias_cli.training.model import TaskModel
from mibias_cli.training.original import freeze_original
from mibias_cli.training.step import task_loss

X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


def split() -> Split:
    rows = np.arange(len(X))
    return Split(
        name="train", y=np.zeros(40, dtype=np.int64), c={}, known={}, group=None, rows=rows,
        row_names=[str(k) for k in rows], reader=ArrayReader(X),
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["32", "64"])
def test_the_frozen_original_stays_what_it_was_while_the_model_trains(precision: str) -> None:
    torch.manual_seed(0)
    model = TaskModel(Extractor(MLP(5, hidden=[6], features=3, dropout=0.5), 3), StandardFeatures(3), ["features"])
    original = freeze_original(
        model, split(), batch_size=16, num_workers=0, device=torch.device("cpu"), precision=precision
    )  # fmt: skip
    assert model.training
    x = torch.from_numpy(X)
    first = original(x)
    assert first.dtype == (torch.float64 if precision == "64" else torch.float32)
    model.eval()
    features = model.extractor(x).features
    spread = features.std(dim=0, correction=0)
    alive = spread > 0
    expected = ((features - features.mean(dim=0)) / spread)[:, alive]
    torch.testing.assert_close(first[:, alive].float(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(x)["logits"], first.float(), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert isinstance(model.head, StandardFeatures)
    model.head.mean.add_(1.0)
    torch.testing.assert_close(original(x), first, rtol=0, atol=0)
    assert not any("original" in key for key in model.state_dict())


@pytest.mark.parametrize("kind", ["classes", "multilabel", "regression", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_task_losses_are_means_over_samples_of_the_losses_by_hand(kind: TargetKind, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, w = torch.randn(7, 3, generator=generator), torch.rand(7, generator=generator)
    y = torch.randint(3, (7,), generator=generator)
    each = -torch.log_softmax(logits, dim=1)[torch.arange(7), y]
    if kind == "multilabel":
        y = torch.randint(2, (7, 3), generator=generator).float()
        each = -torch.where(y > 0, functional.logsigmoid(logits), functional.logsigmoid(-logits)).mean(dim=1)
    elif kind in ("regression", "none"):
        y = torch.randn(7, 3, generator=generator)
        each = ((logits - y) ** 2).mean(dim=1)
    expected = (each * w).sum() / w.sum() if weighted else each.mean()
    torch.testing.assert_close(task_loss(logits, y, w if weighted else None, kind), expected)
