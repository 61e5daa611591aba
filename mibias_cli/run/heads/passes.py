"""What the last fit reads of training samples: pooled features as they are, in augmented views, in others' styles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mibias_cli.backbone.stored_prefix import AugmentedView
from mibias_cli.data.batch import Batch
from mibias_cli.data.groups import are_counted, weights_with_copies
from mibias_cli.data.loader import batches
from mibias_cli.run.assemble import Parts
from mibias_cli.seeds import derived_generator
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.model import TaskModel

__all__ = ["Pass", "held_samples", "n_passes", "of_held_samples", "one_pass", "passes_of", "with_shares"]

COPIES_COUNT = 2.0
"""How many samples of a cell of target and attribute its copies are worth to the penalty."""
_MOST_ROWS = 200_000
"""Rows of pooled features that fits of heads hold in memory: fewer augmented views, then fewer samples."""
_SOME = 0x50E


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Pooled features of training samples, in place of inputs.

    Args:
        plain: The samples as they are, or augmented.
        mixed: The same with channel statistics partly another sample's: for the task.
        copies: The same with all statistics another sample's, and with that one's attribute values: for the penalty.
        samples: Their positions (n,) in the training split.
        shares: Weights (n,) of samples in the penalty, by attribute, where copies have a share: see `with_shares`.
    """

    plain: Batch
    mixed: Batch | None
    copies: Batch | None
    samples: NDArray[np.int64]
    shares: Mapping[str, Tensor] = field(default_factory=dict)

    def penalised(self, bottleneck: nn.Module) -> Batch:
        """What the penalty sees, with z (n, d) in place of inputs: the samples, and behind them their copies."""
        own = replace(self.plain, weight={**self.plain.weight, **self.shares})
        seen = [own] if self.copies is None else [own, self.copies]
        return Batch.joined([replace(batch, x=bottleneck(batch.x)) for batch in seen])

    def at(self, chosen: Tensor) -> Pass:
        """The rows of samples that are chosen (n_train,) bool."""
        return self.take(chosen[torch.from_numpy(self.samples)].nonzero()[:, 0])

    def take(self, rows: Tensor, samples: NDArray[np.int64] | None = None) -> Pass:
        """Some rows, on the CPU, without shares; `samples` (n,) is what they are called from now on."""

        def of(batch: Batch | None) -> Batch | None:
            return None if batch is None else batch.at(rows.to(batch.y.device))

        plain = of(self.plain)
        assert plain is not None, "it was given"
        samples = self.samples[rows.numpy()] if samples is None else samples
        return Pass(plain=plain, mixed=of(self.mixed), copies=of(self.copies), samples=samples)


@torch.no_grad()
def passes_of(model: TaskModel, parts: Parts, debiaser: Debiaser | None) -> Iterator[Pass]:
    """All training samples as they are, then in augmented views, each in an order of its own."""
    for view in range(n_passes(parts)):
        # mixed are samples of one batch: of an order by chance, for data may be sorted by class
        order = derived_generator(parts.recipe.seed, view).permutation(len(parts.data.train))
        yield one_pass(model, parts, order, debiaser, view)


def n_passes(parts: Parts) -> int:
    """How often the last fit reads the training samples: as they are, and in so many augmented views."""
    recipe = parts.recipe
    views = recipe.backbone.cache_views if recipe.training.augment else 0
    return 1 + min(views, max(0, _MOST_ROWS // (len(parts.data.train) * _rows_a_sample(parts)) - 1))


def held_samples(parts: Parts) -> NDArray[np.int64]:
    """Positions in the training split of the samples that heads are fitted on: all, or as many as memory is to hold."""
    n, most = len(parts.data.train), _MOST_ROWS // _rows_a_sample(parts)
    if n <= most:
        return np.arange(n)
    return np.sort(derived_generator(parts.recipe.seed, _SOME).permutation(n)[:most])


def of_held_samples(parts: Parts) -> Parts:
    """The parts with these training samples alone, which are weighed anew."""
    rows = held_samples(parts)
    if len(rows) == len(parts.data.train):
        return parts
    return replace(parts, data=replace(parts.data, train=parts.data.train.at(rows)))


def _rows_a_sample(parts: Parts) -> int:
    """Rows of features for each sample: as it is, mixed and copied."""
    return 1 if parts.recipe.debias.mix is None else 3


def one_pass(model: TaskModel, parts: Parts, order: NDArray[np.int64], debiaser: Debiaser | None, view: int) -> Pass:
    """Training samples in an order: as they are, or, from view 1 on, augmented."""
    split = parts.data.train.at(order)
    if view:
        split = replace(split, reader=AugmentedView(split.reader, view - 1))
    weights = {name: values[order] for name, values in parts.weights.train.items()}
    device, extractor = parts.fabric.device, model.extractor
    dtype = next(model.head.parameters()).dtype
    plain, mixed, copies = list[Batch](), list[Batch](), list[Batch]()
    size, workers = parts.recipe.training.batch_size, parts.recipe.training.num_workers
    ranks, copied = parts.ranks, _copied(parts, debiaser)
    stream = batches(split, batch_size=size, shuffle=False, num_workers=workers, weights=weights, share=ranks.share)
    for i, batch in enumerate(stream):
        batch = batch.to(device)
        x = batch.x.to(dtype) if batch.x.is_floating_point() else batch.x

        def pooled(batch: Batch = batch, x: Tensor = x) -> Batch:
            return replace(batch, x=ranks.gather(extractor(x).backbone_features, len(batch)))

        plain.append(pooled())
        if debiaser is None or debiaser.mixer is None:
            continue
        step = i + view * len(split)
        with debiaser.mixing(batch, step):
            mixed.append(pooled())
        if copied:
            with debiaser.copying(batch, step) as partner:
                copies.append(pooled().with_attributes_of(partner.to(device)))
    joined = [Batch.joined(found) if found else None for found in (mixed, copies)]
    return Pass(plain=Batch.joined(plain), mixed=joined[0], copies=joined[1], samples=order)


def _copied(parts: Parts, debiaser: Debiaser | None) -> list[str]:
    """The attributes whose estimators see copies: where there is a penalty, and cells are weighted by their counts."""
    if debiaser is None or debiaser.mixer is None or not debiaser.weighted:
        return []
    section, train = parts.recipe.debias, parts.data.train
    if not section.balance_strength or not (section.weight == "auto" or debiaser.settings.weight):
        return []
    n_y, attributes = len(parts.data.class_names), parts.data.attributes
    return [n for n in parts.debiased if are_counted(int(train.known[n].sum()), n_y, attributes[n].n_classes)]


def with_shares(one: Pass, parts: Parts, debiaser: Debiaser) -> Pass:
    """A pass whose copies have a share of the estimators' weights.

    Of a cell of target and attribute with n samples the copies have κ / (κ + n), with κ of `COPIES_COUNT`: all where
    there is no sample, next to nothing where there are many. A cell counts what it would if target and attribute were
    independent; no copy more than `debias.balance_clip`. Of all that, the penalty sees `debias.balance_strength`.
    """
    if one.copies is None:
        return one
    clip, strength = parts.recipe.debias.balance_clip, parts.recipe.debias.balance_strength
    copied = _copied(parts, debiaser)
    shares, told = dict[str, Tensor](), dict(one.copies.weight)
    for name in parts.debiased:
        given = one.plain.weight[name]
        told[name] = torch.zeros_like(given)
        if name not in copied:
            continue
        attribute, both = parts.data.attributes[name], (one.plain, one.copies)
        known = [batch.known[name].cpu().numpy() for batch in both]
        y, copied_y = (batch.strata.cpu().numpy()[rows] for batch, rows in zip(both, known, strict=True))
        c, copied_c = (
            attribute.classes(batch.c[name].cpu().numpy()[rows]) for batch, rows in zip(both, known, strict=True)
        )
        # balancing weights as they are, of which those given are a share
        full = (given.cpu().numpy().astype(np.float64)[known[0]] - (1 - strength)) / strength
        own, others = weights_with_copies(full, y, c, (copied_y, copied_c), count=COPIES_COUNT, clip=clip)
        shares[name] = torch.zeros_like(given)
        shares[name][torch.from_numpy(known[0])] = torch.from_numpy(strength * own + (1 - strength)).to(given)
        told[name][torch.from_numpy(known[1])] = torch.from_numpy(strength * others).to(given)
    return replace(one, copies=replace(one.copies, weight=told), shares=shares)
