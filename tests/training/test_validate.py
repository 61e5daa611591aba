"""Figures of a validation split whose target is numbers, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

from mibias_cli.data.batch import Split
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.target import Target
from mibias_cli.training.validate import validate


class Given(nn.Module):
    """Predicts what its inputs are."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": x, "features": x}


@pytest.mark.parametrize("k", [1, 2])
def test_errors_of_one_column_have_its_unit_and_of_several_none(k: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, k)).astype(np.float32)
    predicted = (y + rng.normal(size=(60, k)) * [1.0, 0.2][:k]).astype(np.float32)
    target = Target(
        kind="regression", columns=("age", "height")[:k], class_names=("all",), mean=(40.0, 1.7)[:k],
        scale=(12.0, 0.1)[:k], bin_edges=((),) * k, levels=((0,) * k,),
    )  # fmt: skip
    split = Split(
        name="validation", y=y, c={}, known={}, group=None, rows=np.arange(60), row_names=[""] * 60,
        reader=ArrayReader(predicted), stratum=np.zeros(60, dtype=np.int64),
    )  # fmt: skip
    found = validate(
        Given(), split, target=target, debiaser=None, weights={}, batch_size=16, num_workers=0,
        device=torch.device("cpu"), seed=0,
    )  # fmt: skip
    # standardised values are in deviations already
    truth, guess = (y, predicted) if k > 1 else (target.in_units(y), target.in_units(predicted))
    assert found["validation/mae"] == pytest.approx(mean_absolute_error(truth, guess), rel=1e-5)
    assert found["validation/rmse"] == pytest.approx(root_mean_squared_error(truth, guess), rel=1e-5)
    assert found["validation/r2"] == pytest.approx(r2_score(truth, guess), rel=1e-5)
