"""Leakage measured during training: attribute heads made afresh, fitted on training and scored on validation rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.estimators.protocol import Estimator, Sample
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.seeds import derive_seed, scoped_torch_rng
from mibias_cli.training.queue import split_sample

__all__ = ["LeakageMeter"]

_ROUNDS = 8
"""Held-out scores while a head learns; the best of them counts, so that a head which overfits does not hide leakage."""


@dataclass(frozen=True, kw_only=True)
class LeakageMeter:
    """Held-out leakage of the features in bits, by heads that training never fought.

    The critic that training works against lags behind, so a budget cannot rest on it. Each measurement makes new heads
    (a linear one and an MLP), fits them on features of training rows and takes the best held-out bound on validation
    rows. It only steers λ: the report's figures come from the audit's probes on other data.

    `make_bounds` has for each attribute what makes fresh bounds for features of a width. On several ranks each embeds
    its share of the rows, and the figures are rank 0's.
    """

    make_bounds: Mapping[str, Callable[[int], Sequence[Estimator]]]
    data: BiasedData
    max_samples: int
    batch_size: int
    num_workers: int
    device: torch.device
    seed: int
    ranks: Ranks = ALONE

    def measure(self, extractor: Extractor, turn: int) -> dict[str, float]:
        """Leakage in bits by attribute (of its channel that leaks most); nan where no row of an attribute is known."""
        rows, held_rows = self._rows(turn), np.arange(len(self.data.validation))
        fit_z = self._features(extractor, self.data.train, rows)
        held_z = self._features(extractor, self.data.validation, held_rows)
        mean, spread = fit_z.mean(dim=0), fit_z.std(dim=0)
        scale = torch.where(spread > 1e-6, spread, torch.inf)  # a constant feature becomes 0
        fit_z, held_z = (fit_z - mean) / scale, (held_z - mean) / scale
        found = {}
        for name, make in self.make_bounds.items():
            fitted = split_sample(self.data.train, rows, name, fit_z)
            held = split_sample(self.data.validation, held_rows, name, held_z)
            # the heads' initial weights: a function of the place in the run, whatever was drawn before
            with scoped_torch_rng():
                torch.manual_seed(derive_seed(self.seed, "meter", name, turn))
                bounds = make(fit_z.shape[1])
            # each bounds the leakage from below: the largest is the tightest
            nats = [self._best(bound, fitted, held, name, turn) for bound in bounds]
            found[name] = max(nats) / math.log(2)
        return self.ranks.agreed(found)

    def _best(self, bound: Estimator, fitted: Sample, held: Sample, name: str, turn: int) -> float:
        bound.to(self.device)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "meter-rows", name, turn))
        values = []
        for _ in range(_ROUNDS):
            bound.fit(fitted, generator)
            values.append(bound.estimate(held, generator))
        return float(np.max(values))  # nan where one is

    def _rows(self, turn: int) -> np.ndarray:
        n = len(self.data.train)
        generator = np.random.default_rng(derive_seed(self.seed, "meter", turn))
        return np.sort(generator.choice(n, size=min(n, self.max_samples), replace=False))

    def _features(self, extractor: Extractor, split: Split, rows: np.ndarray) -> Tensor:
        batch_size, workers, device = self.batch_size, self.num_workers, self.device
        own = rows[self.ranks.share.of(len(rows))]
        found = embed(extractor, split, batch_size=batch_size, device=device, num_workers=workers, rows=own)
        return self.ranks.gather(torch.from_numpy(found.features).to(device), len(rows))
