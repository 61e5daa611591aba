"""A run on what the frozen part of its backbone makes of the data: computed once, kept, and read in place of images."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.prefix import NoPrefix, Prefix, frozen_prefix
from mibias_cli.backbone.stored_prefix import NoiseReader, StoredPrefix, augmented, batch_sizes
from mibias_cli.backbone.trainable import choose_trainable
from mibias_cli.backbone.weights.cache import user_cache
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.data.batch import Split
from mibias_cli.data.files.images import ImageReader
from mibias_cli.data.loader import n_drawn
from mibias_cli.progress import Progress, Silent
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.run.assemble import Parts
from mibias_cli.seeds import scoped_torch_rng

__all__ = ["cached_parts", "shares_prefix", "stand_in_parts"]

_FORMAT = 1
"""Part of every key: a change to how inputs are read or outputs are kept raises it."""
_PACKAGES = ("torch", "torchvision", "timm", "pillow", "numpy")


def cached_parts(parts: Parts, progress: Progress, chosen: Mapping[str, np.ndarray]) -> Parts:
    """The parts with the outputs of the backbone's frozen prefix in place of inputs, and models that take these.

    They are as they were where `backbone.cache` is off, nothing is frozen, or the outputs cannot stand in for inputs to
    the bit, which the user is told.

    Args:
        chosen: By the name of a split, positions of the samples that will be read; other splits stay.

    Raises:
        DataError: An input cannot be read.
    """
    recipe, data = parts.recipe, parts.data
    if not _may_keep(parts):
        return parts
    splits = {split.name: split for split in (data.train, data.validation, data.audit)}
    try:
        _check_setting(recipe, parts)
        # rank 0 of each machine computes and writes them, the others read them
        with parts.ranks.in_turn(), scoped_torch_rng(parts.fabric.device):
            store = _store(parts, progress)
            for name, positions in chosen.items():
                sizes, views = _sizes(parts, name, len(positions)), recipe.backbone.cache_views
                splits[name] = store.reading(
                    splits[name],
                    positions,
                    sizes=sizes,
                    n_views=views if name == data.train.name and recipe.training.augment else 0,
                    seed=recipe.seed,
                )
    except NoPrefix as reason:
        progress.note(f"backbone.cache: not used, images are read in every epoch: {reason}")
        return parts
    return _reading(parts, splits, store.prefix)


def _may_keep(parts: Parts) -> bool:
    """Whether outputs of a frozen prefix are wanted; rows of numbers are no work to read."""
    section = parts.recipe.backbone
    return section.cache != "off" and section.train != "all" and len(parts.data.input_shape) == 3


def _reading(parts: Parts, splits: Mapping[str, Split], prefix: Prefix) -> Parts:
    """The parts with these splits, which read what a prefix made of the data."""
    train, validation, audit = splits.values()
    data = replace(parts.data, train=train, validation=validation, audit=audit, input_shape=prefix.shape)
    # outputs are read faster than worker processes start
    training = parts.recipe.training.model_copy(update={"num_workers": 0})
    recipe = parts.recipe.model_copy(update={"training": training})
    return replace(parts, recipe=recipe, data=data, computed=prefix)


def stand_in_parts(parts: Parts) -> tuple[Parts, float]:
    """Parts for measuring how long training takes, and the seconds that computing a frozen prefix's outputs will take.

    Where `cached_parts` would keep outputs, noise of their shape stands in for them; else the parts are as they were,
    and nothing is computed beforehand. Outputs that another run kept already take no time.

    Raises:
        DataError: An input cannot be read.
    """
    if not _may_keep(parts):
        return parts, 0.0
    recipe, data = parts.recipe, parts.data
    try:
        _check_setting(recipe, parts)
        with scoped_torch_rng(parts.fabric.device):
            store = _store(parts, Silent())
            some = data.train.at(np.arange(min(2 * recipe.training.batch_size, len(data.train))))
            views = recipe.backbone.cache_views if recipe.training.augment else 0
            seconds = 0.0
            if not store.has(data.train):
                store.compute(some)  # the first pass pays for kernels and files
                seconds = len(data.validation) / len(some) * _timed(store, some)
                seconds += len(data.train) / len(some) * _timed(store, some)
            if views and not store.has(data.train, view=views - 1, seed=recipe.seed):
                seconds += views * len(data.train) / len(some) * _timed(store, augmented(some))
    except NoPrefix:
        return parts, 0.0
    noise = NoiseReader(store.prefix.shape)
    splits = {one.name: replace(one, reader=noise) for one in (data.train, data.validation, data.audit)}
    return _reading(parts, splits, store.prefix), seconds


def _timed(store: StoredPrefix, part: Split) -> float:
    start = time.monotonic()
    store.compute(part)
    return time.monotonic() - start


def shares_prefix(extractor: Extractor, parts: Parts) -> bool:
    """Whether an extractor's frozen weights are those of the parts' backbone, of which outputs are kept."""
    if extractor.backbone.state_dict().keys() != parts.backbone.module.state_dict().keys():
        return False
    names = _frozen_names(parts.backbone.module, parts.recipe)
    return weights_fingerprint(extractor.backbone, names) == weights_fingerprint(parts.backbone.module, names)


def _check_setting(recipe: Recipe, parts: Parts) -> None:
    """What no look at the network is needed for."""
    if recipe.method != MI and METHODS[recipe.method].filters:
        raise NoPrefix(f"method: {recipe.method} changes images before frozen stages see them")
    if recipe.training.augment and recipe.backbone.cache_views == 1:
        raise NoPrefix(
            "training.augment makes another image of each in every epoch; set backbone.cache_views to the number of "
            "augmented views to keep of each, for example 8"
        )
    precision = parts.fabric.strategy.precision.precision
    if precision != "32-true":
        raise NoPrefix(f"outputs are kept in single precision, training is in {precision}; set training.precision: 32")
    # augmented views differ from those of a run without kept outputs anyway: rounding may differ, too
    if recipe.training.channels_last and not recipe.training.augment:
        raise NoPrefix("training.channels_last lets training compute in another order than the audit; set it to false")


def _store(parts: Parts, progress: Progress) -> StoredPrefix:
    """Where the recipe's outputs are kept, and the frozen prefix that gives them."""
    recipe, data, device = parts.recipe, parts.data, parts.fabric.device
    section = recipe.backbone
    extractor = parts.new_model().extractor
    choose_trainable(extractor, train=section.train, batchnorm_frozen=section.freeze_batchnorm)
    backbone = extractor.backbone.to(device).eval()
    # two samples, as they are read: their shape may differ from what the data say of it
    x = data.train.reader.read(data.train.rows[:2], None).to(device)
    prefix = frozen_prefix(backbone, x)
    for layer in extractor.inner_layers:
        if prefix.holds(layer):
            raise NoPrefix(f"representation.layers names '{layer}', which is frozen: no penalty changes it")
    mix = parts.debias.mix
    if mix is not None and prefix.holds(mix.layer):
        raise NoPrefix(
            f"debias.mix.layer names '{mix.layer}', which is frozen: what is mixed there changes every output"
        )
    cache = user_cache() if section.cache == "auto" else Path(section.cache)
    return StoredPrefix(
        folder=cache / "features" / _key(parts, prefix),
        prefix=prefix,
        backbone=backbone,
        batch_size=recipe.training.batch_size,
        num_workers=recipe.training.num_workers,
        device=device,
        progress=progress,
        channels_last=recipe.training.channels_last,
    )


def _key(parts: Parts, prefix: Prefix) -> str:
    """One name for everything on which the outputs depend: weights, architecture, data, transform, machine."""
    backbone, data, device = parts.backbone, parts.data, parts.fabric.device
    reader = data.train.reader
    rows = np.concatenate([split.rows for split in (data.train, data.validation, data.audit)])
    on_gpu = device.type == "cuda"
    said = {
        "format": _FORMAT,
        "weights": weights_fingerprint(backbone.module, _frozen_names(backbone.module, parts.recipe)),
        "architecture": [backbone.architecture, backbone.arguments, prefix.start],
        "transform": [backbone.data_config, prefix.input_shape],
        "data": data.fingerprint,
        # the data's fingerprint knows of images' paths and sizes, not of a file that was changed
        "files": reader.images.state(rows) if isinstance(reader, ImageReader) else [],
        "machine": torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }
    if parts.recipe.training.channels_last:
        said["memory"] = "channels_last"
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode()).hexdigest()[:32]


def _frozen_names(module: nn.Module, recipe: Recipe) -> set[str]:
    """Names of the backbone's tensors that no stage of training changes."""
    train = recipe.backbone.train
    trained = train if isinstance(train, list) else []
    return {k for k in module.state_dict() if not any(k == name or k.startswith(f"{name}.") for name in trained)}


def _sizes(parts: Parts, split: str, n: int) -> set[int]:
    """Sizes of the batches in which a run reads a split, beside those of reading all n samples in order."""
    debias, size = parts.debias, parts.recipe.training.batch_size
    if split != parts.data.train.name:
        return set()
    sizes = batch_sizes(n, size)
    # a budget's fresh heads see so many rows
    if debias.budget_bits is not None:
        sizes |= batch_sizes(min(n, debias.budget.max_samples), size)
    # rows that are drawn for the estimator stand beside the epoch's own
    if debias.balance_by == "draws":
        sizes |= {one + n_drawn(one, debias.draw_share) for one in sizes}
    return sizes
