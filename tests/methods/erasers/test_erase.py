"""Erasure after training: exact on the training features, attribute by attribute; a head that reads what is left."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Attribute, BiasedData, Split
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.target import classes_target
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.erasers import erase as erase_module
from mibias_cli.methods.erasers.erase import erase_features, refit_head
from mibias_cli.training.model import TaskModel
from mibias_cli.training.step import task_loss

N, D = 3000, 10
SEX = Attribute(name="sex", kind="categorical", channels=("sex",), n_classes=(3,), class_names=(("f", "m", "x"),))
AGE = Attribute(
    name="age", kind="continuous", channels=("age",), n_classes=(4,), class_names=(("a", "b", "c", "d"),),
    bin_edges=((30.0, 40.0, 50.0),),
)  # fmt: skip


def drawn(seed: int = 0) -> BiasedData:
    """Sex moves two features, age two others, y a fifth; sex is missing on a fifth of the rows and age on others."""
    g = np.random.default_rng(seed)
    sex, age, y = g.integers(3, size=N), g.normal(40, 10, N).astype(np.float32), g.integers(2, size=N)
    x = g.standard_normal((N, D)).astype(np.float32)
    x[:, 0] += 2 * (sex == 1)
    x[:, 1] += 2 * (sex == 2)
    x[:, 2] += age / 10
    x[:, 3] += 2 * (age > 50)
    x[:, 4] += 2 * y
    known = {"sex": g.random(N) < 0.8, "age": g.random(N) < 0.7}
    split = Split(
        name="train", y=y, c={"sex": sex[:, None], "age": np.where(known["age"], age, np.nan)[:, None]}, known=known,
        group=None, rows=np.arange(N), row_names=[""] * N, reader=ArrayReader(x),
    )  # fmt: skip
    return BiasedData(
        train=split, validation=split, audit=split, attributes={"sex": SEX, "age": AGE},
        target=classes_target(("0", "1")), input_shape=(D,), fingerprint="",
    )  # fmt: skip


def task_model(width: int = D, seed: int = 0) -> TaskModel:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Linear(D, 24), nn.Tanh(), nn.Linear(24, width))
    return TaskModel(Extractor(backbone, width), TargetHead(width, 2), ["features"])


def erased(model: TaskModel, data: BiasedData, **changes: Any) -> erase_module.Erased:
    options: dict[str, Any] = {
        "loss": task_loss, "weight": None, "batch_size": 256, "num_workers": 0, "device": "cpu", "seed": 0,
    } | changes  # fmt: skip
    return erase_features(model, data, ["sex", "age"], **options)


def features(model: TaskModel, data: BiasedData) -> np.ndarray:
    return embed(model.extractor, data.train, batch_size=500).features.astype(np.float64)


def gain(z: np.ndarray, c: np.ndarray) -> float:
    """What a logistic probe gains on its own fitting samples over their frequencies, in nats."""
    probe = LogisticRegression(C=1e6, max_iter=5_000).fit((z - z.mean(0)) / z.std(0), c)
    p = np.bincount(c) / len(c)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum()) - float(
        log_loss(c, probe.predict_proba((z - z.mean(0)) / z.std(0)))
    )


@pytest.mark.parametrize("chunk", [8192, 700])
def test_a_logistic_probe_gains_nothing_on_the_training_features(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase_module, "_CHUNK", chunk)
    data, model = drawn(), task_model(width=16)
    before = features(model, data)
    found = erased(model, data)
    # 2 contrasts of three classes; 3 of four bins, and the value
    assert (found.n_erased, found.n_features) == (6, 16)
    after = features(model, data)
    for name in ("sex", "age"):
        known = data.train.known[name]
        c = data.attributes[name].classes(data.train.c[name][known])[:, 0]
        assert gain(before[known], c) > 0.05, name
        assert abs(gain(after[known], c)) < 1e-3, name
    known = data.train.known["age"]
    age = data.train.c["age"][known]
    assert LinearRegression().fit(after[known], age).score(after[known], age) < 1e-6


def test_the_head_reads_what_is_left_as_well_as_a_logistic_regression_does() -> None:
    data, model = drawn(), task_model()
    found = erased(model, data)
    z = torch.from_numpy(features(model, data)).float()
    loss = float(task_loss(model.head(z), torch.from_numpy(data.train.y), None).detach())
    assert loss == pytest.approx(found.loss_after, abs=1e-5)
    assert found.loss_after < found.loss_before
    reference = LogisticRegression(C=1e6, max_iter=5_000).fit(z.numpy(), data.train.y)
    best = log_loss(data.train.y, reference.predict_proba(z.numpy()))
    assert best - 1e-6 <= found.loss_after <= best + 1e-3


def test_features_come_out_in_one_piece_whatever_the_rows_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase_module, "_MAX_HEAD_ROWS", 500)
    data, model, other = drawn(), task_model(), task_model()
    erased(model, data)
    erased(other, data)
    for one, same in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, same)
    monkeypatch.setattr(erase_module, "_MAX_HEAD_ROWS", 50_000)
    whole = task_model()
    erased(whole, data)
    assert torch.equal(features_of(whole), features_of(model))
    assert not torch.equal(whole.head.linear.weight, model.head.linear.weight)


def features_of(model: TaskModel) -> torch.Tensor:
    assert model.extractor.eraser is not None
    return model.extractor.eraser.weight


def test_a_separable_task_leaves_the_head_finite_and_weights_count_as_repetitions() -> None:
    g = np.random.default_rng(0)
    y = torch.from_numpy(g.integers(2, size=200))
    x = torch.from_numpy(g.standard_normal((200, 3))) + 20 * y[:, None]
    torch.manual_seed(0)
    head = TargetHead(3, 2)
    before, after = refit_head(head, x, y, loss=task_loss)
    assert after < 0.01 < before
    assert float(head.linear.weight.detach().abs().max()) < 10
    # a weight of 2 on every third row, or that row twice; the pull counts rows alone, and is small
    twice = torch.arange(200) % 3 == 0
    noisy = torch.from_numpy(g.standard_normal((200, 3))) + y[:, None]
    heads = [TargetHead(3, 2) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    one = refit_head(heads[0], noisy, y, loss=task_loss, weight=1.0 + twice.double())
    again = torch.cat([torch.arange(200), twice.nonzero().flatten()])
    other = refit_head(heads[1], noisy[again], y[again], loss=task_loss)
    assert one == pytest.approx(other, abs=1e-4)


def test_beside_a_product_of_experts_the_head_learns_what_the_bias_does_not_tell() -> None:
    """p(y = 1) = σ(2 x + 3 c), and x goes with c: without log p of c the slope of x would take what c tells."""
    g = np.random.default_rng(0)
    c = 2.0 * g.integers(2, size=20_000) - 1
    x = g.standard_normal(20_000) + c
    y = torch.from_numpy((g.random(20_000) < 1 / (1 + np.exp(-2 * x - 3 * c))).astype(np.int64))
    offset = torch.from_numpy(np.stack([np.zeros_like(c), 3 * c], axis=1))
    slopes = []
    for added in (offset, None):
        head = TargetHead(1, 2)
        refit_head(head, torch.from_numpy(x)[:, None], y, loss=task_loss, offset=added)
        slopes.append(float((head.linear.weight[1] - head.linear.weight[0]).detach()))
    assert slopes[0] == pytest.approx(2, abs=0.1)
    assert slopes[1] > 2.25


def test_where_attributes_take_every_direction_nothing_is_left() -> None:
    data, model = drawn(), task_model(width=4)
    found = erased(model, data)
    assert found.n_erased == found.n_features == 4
    assert features(model, data).std(axis=0).max() < 1e-5
    assert found.loss_after == pytest.approx(math.log(2), abs=1e-3)
