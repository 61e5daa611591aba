"""Pooled features of all training samples, as the last fit sees them: plain, mixed, and as they look unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.stored_prefix import AugmentedView
from mibias_cli.data.batch import Batch, Split
from mibias_cli.data.loader import batches
from mibias_cli.run.assemble import Parts
from mibias_cli.seeds import derived_generator
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.model import TaskModel

__all__ = ["CrossFitted", "Pass", "passes_of"]

_MOST_ROWS = 100_000
"""Rows of pooled features that the last fit holds in memory: fewer augmented views where there are many samples."""


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """A model that was trained without some samples: their positions in the training split (k,)."""

    model: TaskModel
    unseen: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Pooled features of training samples, in place of inputs.

    Args:
        plain: What the task sees.
        penalised: What the penalty sees: the same, and some samples once more, as models see them that have not.
        mixed: With channel statistics of other samples.
        samples: Positions in the training split of the rows of `plain` and `mixed` (n,).
        penalised_samples: Those of the rows of `penalised`.
    """

    plain: Batch
    penalised: Batch
    mixed: Batch | None
    samples: NDArray[np.int64]
    penalised_samples: NDArray[np.int64]

    def at(self, chosen: Tensor) -> Pass:
        """The rows of samples that are chosen (n_train,) bool."""
        device = self.plain.y.device
        rows, told = (chosen[torch.from_numpy(samples)] for samples in (self.samples, self.penalised_samples))
        return Pass(
            plain=self.plain.at(rows.to(device)),
            penalised=self.penalised.at(told.to(device)),
            mixed=None if self.mixed is None else self.mixed.at(rows.to(device)),
            samples=self.samples[rows.numpy()],
            penalised_samples=self.penalised_samples[told.numpy()],
        )


@torch.no_grad()
def passes_of(
    model: TaskModel, parts: Parts, debiaser: Debiaser | None, cross_fitted: Sequence[CrossFitted]
) -> Iterator[Pass]:
    """All training samples as they are, then in augmented views, each in an order of its own."""
    recipe, train = parts.recipe, parts.data.train
    views = recipe.backbone.cache_views if recipe.training.augment else 0
    for view in range(1 + min(views, max(0, _MOST_ROWS // len(train) - 1))):
        # mixed are samples of one batch: of an order by chance, for data may be sorted by class
        order = derived_generator(recipe.seed, view).permutation(len(train))
        split = replace(train, reader=AugmentedView(train.reader, view - 1)) if view else train
        yield _with_unseen(_pass(model, parts, split, order, debiaser, view), split, parts, cross_fitted)


def _with_unseen(seen: Pass, split: Split, parts: Parts, cross_fitted: Sequence[CrossFitted]) -> Pass:
    """A pass whose penalty sees samples once more by the models that were trained without them, each at half weight."""
    if not cross_fitted:
        return seen
    place, device = np.argsort(seen.samples), seen.plain.y.device
    every = np.concatenate([one.unseen for one in cross_fitted])
    twice = torch.from_numpy(np.isin(seen.samples, every)).to(device)
    halved = {key: value.clone() for key, value in seen.plain.weight.items()}
    for value in halved.values():
        value[twice] /= 2
    plain, again = replace(seen.plain, weight=halved), list[Batch]()
    for one in cross_fitted:
        found = embed(one.model.eval().extractor, split, rows=one.unseen, **parts.reading).backbone_features
        rows = plain.at(torch.from_numpy(place[one.unseen]).to(device))
        again.append(replace(rows, x=torch.from_numpy(found).to(rows.x)))
    told = np.concatenate([seen.samples, every])
    return replace(seen, penalised=Batch.joined([plain, *again]), penalised_samples=told)


def _pass(
    model: TaskModel, parts: Parts, train: Split, order: NDArray[np.int64], debiaser: Debiaser | None, view: int
) -> Pass:
    """Training samples, as they are or augmented, in an order."""
    split = train.at(order)
    weights = {name: values[order] for name, values in parts.weights.train.items()}
    device, extractor = parts.fabric.device, model.extractor
    dtype = next(model.head.parameters()).dtype
    plain, mixed = list[Batch](), list[Batch]()
    size, workers = parts.recipe.training.batch_size, parts.recipe.training.num_workers
    ranks = parts.ranks
    stream = batches(split, batch_size=size, shuffle=False, num_workers=workers, weights=weights, share=ranks.share)
    for i, batch in enumerate(stream):
        batch = batch.to(device)
        x = batch.x.to(dtype) if batch.x.is_floating_point() else batch.x
        plain.append(replace(batch, x=ranks.gather(extractor(x).backbone_features, len(batch))))
        if debiaser is not None and debiaser.mixer is not None:
            with debiaser.mixing(batch, i + view * len(split)):
                mixed.append(replace(batch, x=ranks.gather(extractor(x).backbone_features, len(batch))))
    joined = Batch.joined(mixed) if mixed else None
    whole = Batch.joined(plain)
    return Pass(plain=whole, penalised=whole, mixed=joined, samples=order, penalised_samples=order)
