from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from known_mi import make_spec
from torch import nn

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Split
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.training.control.meter import LeakageMeter


class Rows:
    def __init__(self, values: np.ndarray) -> None:
        self.values = torch.from_numpy(values)

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        return self.values[torch.from_numpy(rows)]


def split(name: str, n: int, shift: float, seed: int) -> Split:
    """c = 0 or 1 moves a Gaussian by `shift`; y = 0 or 1 agrees with c in 80 %."""
    g = np.random.default_rng(seed)
    c = g.integers(2, size=n)
    y = np.where(g.random(n) < 0.8, c, 1 - c)
    z = g.standard_normal((n, 3)).astype(np.float32)
    z[:, 0] += shift * c
    known = np.ones(n, dtype=bool)
    return Split(
        name=name, y=y, c={"sex": c[:, None]}, known={"sex": known}, group=None, rows=np.arange(n),
        row_names=[str(i) for i in range(n)], reader=Rows(z),
    )  # fmt: skip


def meter(data: Any, *, given: bool = False) -> LeakageMeter:
    def make(width: int) -> list[ClassifierBound]:
        options = {"steps": 60, "batch_size": 256, "given_target": given, "n_targets": 2}
        return [
            ClassifierBound(make_spec(n_features=width, n_classes=(2,), hidden=hidden, learning_rate=rate, **options))
            for hidden, rate in (((), 1e-2), ((64,), 2e-3))
        ]

    return LeakageMeter(
        make_bounds={"sex": make}, data=data, max_samples=4000, batch_size=500, num_workers=0,
        device=torch.device("cpu"), seed=0,
    )  # fmt: skip


def known_bits(shift: float) -> float:
    """I(z; c) of two unit Gaussians `shift` apart, by quadrature."""
    z = np.linspace(-10, 10 + shift, 200_001)
    p0, p1 = (np.exp(-((z - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, shift))
    p = (p0 + p1) / 2
    terms = [np.where(q > 0, q * np.log2(np.maximum(q, 1e-300) / np.maximum(p, 1e-300)), 0.0) for q in (p0, p1)]
    return float(sum(np.trapezoid(t, z) for t in terms) / 2)


@pytest.mark.parametrize("shift", [0.0, 0.6, 2.0])
def test_measures_the_known_leakage(shift: float) -> None:
    """The standard error of a bound from 3,000 held-out rows is at most .015 bits: three of them are allowed."""
    data = SimpleNamespace(train=split("train", 6000, shift, 1), validation=split("validation", 3000, shift, 2))
    found = meter(data).measure(Extractor(nn.Identity(), 3), turn=0)
    assert found["sex"] == pytest.approx(known_bits(shift), abs=0.045)
    assert found == meter(data).measure(Extractor(nn.Identity(), 3), turn=0)


def test_given_the_target_only_what_is_beyond_it_counts() -> None:
    data = SimpleNamespace(train=split("train", 6000, 0.0, 1), validation=split("validation", 3000, 0.0, 2))
    for part in (data.train, data.validation):  # features that say y, and through it .28 bits of c, and nothing else
        part.reader.values[:, 1] += 4.0 * torch.from_numpy(part.y).float()
    marginal = meter(data).measure(Extractor(nn.Identity(), 3), turn=0)["sex"]
    conditional = meter(data, given=True).measure(Extractor(nn.Identity(), 3), turn=0)["sex"]
    assert marginal > 0.2
    assert conditional == pytest.approx(0.0, abs=0.02)
