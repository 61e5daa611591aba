"""A toy with a known bias for the methods of the field, and plain training of a linear model on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Attribute, Batch, BiasedData, Split
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.loader import batches
from mibias_cli.data.target import classes_target
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.method import Method, MethodSpec
from mibias_cli.training.model import TaskModel

__all__ = ["Outputs", "linear_model", "make_spec", "steps", "toy", "train", "train_plainly", "worst_group"]

SEX = Attribute(name="sex", kind="categorical", channels=("sex",), n_classes=(2,), class_names=(("f", "m"),))
Outputs = dict[str, torch.Tensor]


def toy(n: int = 1000, aligned: float = 0.95, n_unknown: int = 0, seed: int = 0) -> BiasedData:
    """y moves one feature and the bias another one, twice as clearly; c is y in most training rows, and never mind y in
    the audited ones."""
    g = np.random.default_rng(seed)

    def split(name: str, share: float, n: int) -> Split:
        y = g.integers(2, size=n)
        c = np.where(g.random(n) < share, y, 1 - y)
        x = g.standard_normal((n, 4)).astype(np.float32)
        x[:, 0] += 2 * y - 1
        x[:, 1] += 2 * (2 * c - 1)
        known = np.ones(n, dtype=bool)
        known[:n_unknown] = False
        return Split(
            name=name, y=y, c={"sex": c[:, None]}, known={"sex": known}, group=None, rows=np.arange(n),
            row_names=[""] * n, reader=ArrayReader(x),
        )  # fmt: skip

    return BiasedData(
        train=split("train", aligned, n), validation=split("validation", aligned, n // 2),
        audit=split("audit", 0.5, 2000), attributes={"sex": SEX}, target=classes_target(("0", "1")), input_shape=(4,),
        fingerprint="",
    )  # fmt: skip


def linear_model(seed: int = 0) -> TaskModel:
    """A linear classifier of the toy's features as they are, in float64."""
    torch.manual_seed(seed)
    return TaskModel(Extractor(nn.Identity(), 4), TargetHead(4, 2), ["features"]).double()


def make_spec(data: BiasedData, model: TaskModel, **settings: float) -> MethodSpec:
    def features(of: TaskModel, split: Split) -> np.ndarray:
        return embed(of.extractor, split, batch_size=500).features

    def trained_by(make: Callable[[MethodSpec], Method], epochs: int) -> Method:
        method = make(replace(spec, model=linear_model(2)))
        train(method, method.spec.model, data, epochs=epochs)
        return method

    spec = MethodSpec(
        model=model, data=data, attributes=("sex",), settings=settings, seed=0, batch_size=100,
        new_model=lambda: linear_model(1),
        trained_by=trained_by, embed=features, gather=lambda rows, n: rows,
    )  # fmt: skip
    return spec


def steps(data: BiasedData, epochs: int, batch_size: int) -> Iterator[Batch]:
    """The batches of training, inputs in float64."""
    for epoch in range(epochs):
        for batch in batches(data.train, batch_size=batch_size, epoch=epoch, shuffle=True):
            yield replace(batch, x=batch.x.double())


def train(
    method: Method, model: TaskModel, data: BiasedData, *, epochs: int = 10, batch_size: int = 100, rate: float = 0.3
) -> None:
    """Prepare, train by plain SGD, and finish, as a run does."""
    method.double()
    method.prepare()
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=rate)
    for batch in steps(data, epochs, batch_size):
        optimizer.zero_grad()
        method(batch, model(batch.x)).backward()
        optimizer.step()
    method.finish()


def train_plainly(data: BiasedData, model: TaskModel, *, epochs: int = 10) -> TaskModel:
    train(Method(make_spec(data, model)), model, data, epochs=epochs)
    return model


def worst_group(model: TaskModel, data: BiasedData) -> float:
    """Accuracy on audited rows in the (y, c) group where it is least."""
    split = data.audit
    with torch.no_grad():
        scores = model(split.reader.read(split.rows, None).double())["logits"]
    right, group = scores.argmax(dim=1).numpy() == split.y, 2 * split.y + split.c["sex"][:, 0]
    return float(min(right[group == g].mean() for g in range(4)))
