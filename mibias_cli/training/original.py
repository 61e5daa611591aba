"""The original extractor, frozen: without a target, what the features are to stay close to."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Split
from mibias_cli.heads.original import StandardFeatures
from mibias_cli.training.model import TaskModel

__all__ = ["FrozenOriginal", "freeze_original"]

_MAX_ROWS = 10_000
"""Rows from which means and deviations are taken: within 1 % of those of any number of rows."""


class FrozenOriginal:
    """A frozen copy of an extractor in evaluation mode, whose standardised features are the targets of distillation.

    It is no part of the model that trains, so that it is neither trained nor saved: a resumed run makes it anew from
    the weights that training began with.

    Args:
        extractor: The original; it is copied.
        scaled: Brings features to the original's scale; it is copied.
        precision: Type in which features are computed.

    References: Hinton et al., "Distilling the knowledge in a neural network", arXiv 1503.02531; of features: Romero et
        al., "FitNets", arXiv 1412.6550.
    """

    def __init__(
        self, extractor: Extractor, scaled: StandardFeatures, *, precision: torch.dtype = torch.float32
    ) -> None:
        self._extractor = copy.deepcopy(extractor).to(precision).eval().requires_grad_(False)
        self._scaled = copy.deepcopy(scaled).to(precision)
        self._precision = precision

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Standardised features (n, d) of inputs (n, …)."""
        targets: Tensor = self._scaled(self._extractor(x.to(self._precision)).features)
        return targets


def freeze_original(
    model: TaskModel,
    split: Split,
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    precision: str = "32",
) -> FrozenOriginal:
    """Freeze a copy of a model's extractor as it is now, and give the model's head the scale of its features.

    Args:
        model: Whose head is a `StandardFeatures`, on its device.
        split: The training split, of 10,000 evenly spread rows of which means and deviations are taken.
        batch_size, num_workers, device: How the split is embedded.
        precision: Of the run; the original's features are computed in double precision for 64, else in single.
    """
    head, n = model.head, len(split)
    assert isinstance(head, StandardFeatures), "without a target the head is the original's scale"
    # evenly spread over the split, which may be sorted by class or by source
    rows = np.unique(np.linspace(0, n - 1, min(n, _MAX_ROWS)).round().astype(np.int64))
    found = embed(model.extractor, split, batch_size=batch_size, num_workers=num_workers, device=device, rows=rows)
    head.fit(torch.from_numpy(found.features).to(head.mean.device))
    return FrozenOriginal(model.extractor, head, precision=torch.float64 if precision == "64" else torch.float32)
