"""From recipe sections to data, backbone, heads and settings; which name of a recipe stands for which code.

The tables map names to `module:object`, which is imported when it is asked for: a recipe of digits needs no reader of
Parquet files.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from mibias_cli.backbone.bottleneck import BottleneckShape, StandardFeatures
from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.trainable import head_groups, parameter_groups, refuse_no_checkpointing
from mibias_cli.backbone.transforms import transforms_for
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.tabular import Reading
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.method import Method
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.backbone import BottleneckSection, RepresentationSection
from mibias_cli.recipe.sections.data import (
    DigitsData,
    EmbeddingsData,
    ImageFolderData,
    ManifestData,
    MnistData,
    NewValue,
    TableData,
    WebDatasetData,
)
from mibias_cli.recipe.sections.training import TrainingSection
from mibias_cli.recipe.tables import ESTIMATORS
from mibias_cli.recipe.values import Section
from mibias_cli.training.model import TaskModel
from mibias_cli.training.settings import OptimSettings, SelectSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "DATA_SOURCES", "ESTIMATORS", "bottleneck_shape", "build_backbone", "build_data", "build_head", "build_reading",
    "from_section", "method_groups", "optim_settings", "optimizer_groups", "resolve",
]  # fmt: skip

DATA_SOURCES: Mapping[str, str] = {
    "digits": "mibias_cli.data.sources.digits:load_digits",
    "embeddings": "mibias_cli.data.sources.embeddings:load_embeddings",
    "imagefolder": "mibias_cli.data.sources.imagefolder:load_imagefolder",
    "manifest": "mibias_cli.data.sources.manifest:load_manifest",
    "mnist": "mibias_cli.data.sources.mnist:load_mnist",
    "table": "mibias_cli.data.sources.table:load_table",
    "webdataset": "mibias_cli.data.sources.webdataset:load_webdataset",
}
T = TypeVar("T", bound="DataclassInstance")


def resolve(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = reference.partition(":")
    made: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return made


def from_section(kind: type[T], section: Section, **changed: object) -> T:
    """Settings whose fields are named as the keys of a recipe section, with some values given instead."""
    same = {f.name: getattr(section, f.name) for f in fields(kind) if f.name not in changed}
    return kind(**same, **changed)


def build_data(recipe: Recipe, *, offline: bool) -> BiasedData:
    """The data of a recipe, with the transforms that its backbone asks for."""
    section, backbone = recipe.data, recipe.backbone
    arguments: dict[str, object] = {name: getattr(section, name) for name in type(section).model_fields}
    del arguments["source"]

    # the user's own files: the recipe says which columns hold what
    if not isinstance(section, DigitsData | MnistData):
        columns = section.columns.model_dump()
        target = section.columns.target
        columns["target"] = tuple(target) if isinstance(target, list) else target
        kept = tuple(recipe.evaluation.fidelity_columns)
        arguments["columns"] = Columns(**columns, kept=kept, target_kind=section.target_kind)
        arguments["splits"] = SplitRule(**section.splits.model_dump())
        arguments["attributes"] = {
            name: AttributeColumn(column=a.column or name, kind=a.kind, bins=a.bins)
            for name, a in section.attributes.items()
        }
        arguments["reading"] = build_reading(section)
        del arguments["target_kind"], arguments["encoding"], arguments["missing"], arguments["values"]

    # images are resized and normalised as the backbone was trained to see them; rows of numbers are not
    if not isinstance(section, TableData | EmbeddingsData):
        arguments["transforms"] = transforms_for(
            backbone.name,
            weights=backbone.weights,
            channels=backbone.in_chans,
            input_size=backbone.input_size,
            augment=recipe.training.augment,
            offline=offline,
        )
    loaded: BiasedData = resolve(DATA_SOURCES[section.source])(**arguments, seed=recipe.seed)
    return loaded


def build_reading(section: ManifestData | ImageFolderData | TableData | EmbeddingsData | WebDatasetData) -> Reading:
    """How a recipe's tables are read."""
    values = {name: {old: _cell(new) for old, new in olds.items()} for name, olds in section.values.items()}
    return Reading(encoding=section.encoding, missing=tuple(section.missing), values=values)


def _cell(new: NewValue) -> str | None:
    """A new value of `data.values` as a table's cell: a list with bars between its items, one bar where it is empty."""
    if isinstance(new, list):
        return "|".join(new) or "|"
    # 1.0 as 1, as whole numbers of typed files are read
    return None if new in (None, "") else f"{new:.15g}" if isinstance(new, float) else str(new)


def build_backbone(recipe: Recipe, input_shape: tuple[int, ...], *, offline: bool) -> Backbone:
    """The backbone with its weights, for inputs as the data give them."""
    section = recipe.backbone
    backbone = create_backbone(
        section.name,
        weights=section.weights,
        options=dict(section.options),
        channels=section.in_chans,
        input_size=section.input_size,
        input_shape=input_shape,
        offline=offline,
        seed=recipe.seed,
    )
    if section.grad_checkpointing:
        refuse_no_checkpointing(section.name, backbone.module)
    return backbone if section.licence is None else replace(backbone, licence=section.licence)


def bottleneck_shape(section: RepresentationSection) -> int | BottleneckShape | None:
    """What the recipe puts behind the pooled features, as an extractor takes it."""
    found = section.bottleneck
    if isinstance(found, BottleneckSection):
        return from_section(BottleneckShape, found, hidden=tuple(found.hidden))
    return found


def build_head(data: BiasedData, n_features: int) -> nn.Module:
    """An untrained head for the target; without a target, a scaling of features to those of the original."""
    target = data.target
    if target.kind == "none":
        return StandardFeatures(n_features)
    return TargetHead(n_features, target.n_outputs, kind=target.kind, mean=target.mean, scale=target.scale)


def optim_settings(section: TrainingSection, **changed: object) -> OptimSettings:
    """The recipe's `training` section as the loop takes it, with some values given instead."""
    select = from_section(SelectSettings, section.select)
    given = {"select": select, "final_share": section.final_share or 0.0, "n_views": 1} | changed
    return from_section(OptimSettings, section, **given)


def optimizer_groups(recipe: Recipe, model: TaskModel, settings: OptimSettings) -> list[dict[str, Any]]:
    """Optimizer groups: the extractor's stages at their own rates, and bottleneck and head at the full one."""
    section, decay = recipe.backbone, settings.head_weight_decay
    # heads that learn otherwise than the backbone need groups of their own
    if decay is None and settings.backbone_rate != 1:
        decay = settings.weight_decay
    groups = parameter_groups(
        model.extractor,
        train=section.train,
        learning_rate=settings.learning_rate * settings.backbone_rate,
        layer_decay=section.layer_decay,
        weight_decay=settings.weight_decay,
        batchnorm_frozen=section.freeze_batchnorm,
        with_bottleneck=decay is None,
    )
    if decay is not None:
        new = (model.extractor.bottleneck, model.head)
        return groups + head_groups(new, learning_rate=settings.learning_rate, weight_decay=decay)
    head = list(model.head.parameters())
    if head:
        groups.append({"params": head, "lr": settings.learning_rate, "weight_decay": settings.weight_decay})
    return groups


def method_groups(recipe: Recipe, method: Method, settings: OptimSettings) -> list[dict[str, Any]]:
    """Optimizer groups of what a method trains beside the model: a second model as the first, all else as its head."""
    groups, decay = [], settings.head_weight_decay
    if method.network is not None:
        groups += optimizer_groups(recipe, method.network, settings)
    own = [p for name, p in method.named_parameters() if p.requires_grad and not name.startswith("network.")]
    if own:
        rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay if decay is None else decay}
        groups.append({"params": own, **rates})
    return groups
