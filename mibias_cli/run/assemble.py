"""What a recipe stands for, made once: data, device, backbone and sample weights, for every command alike."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.embed import fit_input_scale
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.prefix import Prefix
from mibias_cli.data.batch import BiasedData
from mibias_cli.errors import MibiasError, RunError
from mibias_cli.export.heads_file import INFO
from mibias_cli.export.load import load_export
from mibias_cli.methods.erasers.linear_eraser import LinearEraser
from mibias_cli.methods.erasers.transport import TransportEraser
from mibias_cli.methods.image_filter import ImageFilter
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.debias import DebiasSection
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.run.build import bottleneck_shape, build_backbone, build_data, build_head
from mibias_cli.run.weights import SampleWeights, bias_log_probabilities, build_weights
from mibias_cli.run_folder import RunFolder, is_run
from mibias_cli.seeds import derive_seed, scoped_torch_rng
from mibias_cli.training.checkpoint import load_weights
from mibias_cli.training.fabric import keep_freed_memory, make_fabric
from mibias_cli.training.model import TaskModel
from mibias_cli.training.settings import Balance

__all__ = ["Parts", "assemble", "load_original", "load_run_model"]


_FLOAT_BYTES = 4


class Reading(TypedDict):
    """How splits are read and embedded: what everything that embeds asks for."""

    batch_size: int
    num_workers: int
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything of a run that does not change while it trains.

    Data and device are there from the start. Backbone and sample weights are made when they are first asked for, and
    kept: the audit of an export needs neither.

    Where the data are what a frozen prefix made of them (see `cached_parts`), `computed` is that prefix. `ranks` are
    the processes that train together; every one of them has all parts.
    """

    recipe: Recipe
    data: BiasedData
    fabric: Fabric
    load_backbone: Callable[[], Backbone]
    computed: Prefix | None = None
    ranks: Ranks = ALONE

    @property
    def backbone(self) -> Backbone:
        """The backbone as it was loaded; models train copies of it."""
        return self.load_backbone()

    @property
    def debiased(self) -> list[str]:
        """Names of the attributes that the recipe debiases, in the data's order."""
        chosen = self.recipe.debias.attributes
        return [name for name in self.data.attributes if chosen is None or name in chosen]

    @property
    def debias(self) -> DebiasSection:
        """The recipe's `debias` as training heeds it: by another method than mi nothing is balanced or penalised."""
        section = self.recipe.debias
        if self.recipe.method == MI:
            return section
        return DebiasSection(attributes=section.attributes, erase=section.erase, estimator="none", balance="none")

    @property
    def head_last(self) -> float | None:
        """`training.head_last`, which a method of the field leaves out: what is fitted there is not the method's."""
        has_head = self.data.target.kind != "none"
        return self.recipe.training.head_last if self.recipe.method == MI and has_head else None

    @property
    def balance(self) -> Balance:
        """Where samples are balanced: nowhere without a target, from which the weights are made."""
        return "none" if self.data.target.kind == "none" else self.debias.balance

    @property
    def budgets(self) -> dict[str, float]:
        """Leakage budget in bits of every debiased attribute that has one."""
        bits, names = self.debias.budget_bits, self.debiased
        if isinstance(bits, dict):
            return {name: bits[name] for name in names if name in bits}
        return {} if bits is None else dict.fromkeys(names, bits)

    @property
    def reading(self) -> Reading:
        """Batch size, workers and device, as training has them."""
        section = self.recipe.training
        return {"batch_size": section.batch_size, "num_workers": section.num_workers, "device": self.fabric.device}

    @cached_property
    def weights(self) -> SampleWeights:
        """Balancing weights, and what a product of experts adds to class scores."""
        return build_weights(self)

    @cached_property
    def bias_log_probabilities(self) -> Mapping[str, np.ndarray]:
        """What the attributes alone say of the classes of validation rows: what every model is compared with."""
        return bias_log_probabilities(self)

    @property
    def retained(self) -> Parts:
        """The same without the training rows that are to be forgotten; these parts themselves where there are none."""
        train = self.data.train
        if train.forget is None:
            return self
        return replace(self, data=replace(self.data, train=train.at(train.retained)))

    def new_model(self) -> TaskModel:
        """A fresh task model around a copy of the backbone: extractor, target head, and what is penalised."""
        section, seed = self.recipe.representation, self.recipe.seed
        extractor = Extractor(
            copy.deepcopy(self.backbone.module),
            self.backbone.n_features,
            bottleneck=bottleneck_shape(section),
            layers=section.layers,
            pool=section.pool,
            seed=seed,
        )
        extractor.computed = self.computed
        # seeded apart from everything else, so that two models of one recipe start alike
        with scoped_torch_rng():
            torch.manual_seed(derive_seed(seed, "head"))
            head = build_head(self.data, extractor.features_dim)
        return TaskModel(extractor, head, section.layers)

    def first_model(self) -> TaskModel:
        """A fresh task model to be trained: in front of an MLP bottleneck pooled features are standardised.

        By mean and deviation on the training split, as the backbone was loaded; files of trained models hold both.
        """
        model = self.new_model()
        fit_input_scale(model.extractor, self.data.train, **self.reading)
        # embedding leaves the extractor on the device; all of a new model is on the CPU
        return model.to("cpu")


def assemble(recipe: Recipe, *, offline: bool, fabric: Fabric | None = None, ranks: Ranks = ALONE) -> Parts:
    """The parts of a recipe: the only way in which a command comes by data or a backbone.

    Without a fabric, device and precision are those of the recipe's training, in this process alone.

    Raises:
        MibiasError: The data's target is not one that the recipe's debiasing can do.
    """
    section = recipe.training
    # the device first: that there is no GPU is better said before a large data set is read
    fabric = fabric or make_fabric(section.device, section.precision, deterministic=section.deterministic)
    data = build_data(recipe, offline=offline)
    keep_freed_memory(fabric.device)
    if recipe.method != MI and METHODS[recipe.method].takes_target and data.target.kind != "classes":
        raise MibiasError(
            f"method: {recipe.method} predicts classes, but this data's target is of kind {data.target.kind}; write mi"
        )
    if recipe.debias.bias_product and data.target.kind not in ("classes", "multilabel"):
        raise MibiasError(
            f"debias.bias_product: adds to the scores of classes or labels, but this data's target is of kind "
            f"{data.target.kind}; leave it out"
        )
    _refuse_giants(recipe, data)
    # one that is cached, not a property: parts with other data (a discovered attribute) share the backbone
    load_backbone = cache(partial(build_backbone, recipe, data.input_shape, offline=offline))
    return Parts(recipe=recipe, data=data, fabric=fabric, load_backbone=load_backbone, ranks=ranks)


def _refuse_giants(recipe: Recipe, data: BiasedData) -> None:
    """Refuse a batch that no memory of this machine can hold, before hours of work lead there."""
    n_rows = min(recipe.training.batch_size, len(data.train))
    n_bytes = _FLOAT_BYTES * n_rows * math.prod(data.input_shape)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > there:
        shape = " × ".join(map(str, data.input_shape))
        raise MibiasError(
            f"training.batch_size: {n_rows:,} inputs of {shape} take {n_bytes / 2**30:,.0f} GiB, and this machine has "
            f"{there / 2**30:,.0f}; lower it, or backbone.input_size"
        )


def _eraser(recipe: Recipe, weights: Path, n_features: int) -> LinearEraser | TransportEraser:
    """A run's eraser, which the file's weights fill."""
    # a file that is missing is said by who loads the weights
    if recipe.debias.erase != "transport" or not weights.is_file():
        return LinearEraser.identity(n_features)
    try:
        return TransportEraser.of_file(load_file(weights), "extractor.eraser.", n_features)
    except (KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"{weights}: holds no eraser of this recipe ({error}); was the recipe changed?") from error


def _filter(recipe: Recipe, weights: Path) -> ImageFilter | None:
    """A run's filter of images; None where its method has none, or the file is of the model before the method."""
    has_one = recipe.method != MI and METHODS[recipe.method].filters
    if not has_one or weights.name == RunFolder(weights).original.name or not weights.is_file():
        return None
    try:
        return ImageFilter.of_file(load_file(weights), "extractor.filter.")
    except (KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"{weights}: holds no filter of this recipe ({error}); was the recipe changed?") from error


def load_run_model(parts: Parts, weights: Path) -> TaskModel:
    """A run's model with the weights of one of its files, and with filter and eraser where that file has them."""
    model = parts.new_model()
    model.extractor.filter = _filter(parts.recipe, weights)
    if weights.name == RunFolder(weights).erased.name:
        model.extractor.eraser = _eraser(parts.recipe, weights, model.extractor.features_dim)
    load_weights(weights, model)
    return model


def load_original(parts: Parts) -> TaskModel:
    """The model of `original.weights`: of an earlier run, whose erased weights it is not, of an export, or of a file.

    Raises:
        RunError: The weights are of another model than the recipe's.
        ExportError: The export is damaged.
    """
    section, model = parts.recipe.original, parts.new_model()
    place = None if section is None else section.weights
    assert place is not None, "called where they are named"
    if not (place / INFO).is_file():
        load_weights(RunFolder(place).best if is_run(place) else place, model)
        return model
    loaded = load_export(place)
    state = TaskModel(loaded.extractor, loaded.head or nn.Identity(), model.layers).state_dict()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"original.weights: {place} is an export of another model than the recipe's (it may be folded, or have an "
            f"eraser or a filter); name the run's folder. {error}"
        ) from error
    return model
