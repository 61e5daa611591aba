"""From recipe sections to objects: the only place that knows which name stands for what.

The tables map the names that a recipe may use to `module:object`; nothing is imported before it is asked for, so that
`mibias validate` knows every name without loading torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibias_cli.errors import MibiasError
from mibias_cli.recipe.schema import (
    BackboneSection,
    EmbeddingsData,
    Recipe,
    TableData,
    TrainingSection,
)
from mibias_cli.recipe.tables import ESTIMATORS

if TYPE_CHECKING:
    from torch import nn

    from mibias_cli.backbone.catalogue import Backbone
    from mibias_cli.data.batch import BiasedData
    from mibias_cli.data.inputs import Transforms
    from mibias_cli.training.model import TaskModel
    from mibias_cli.training.settings import OptimSettings

__all__ = [
    "DATA_SOURCES",
    "ESTIMATORS",
    "Assembly",
    "assemble",
    "build_backbone",
    "build_bare_model",
    "build_data",
    "build_head",
    "build_model",
    "optim_settings",
    "resolve",
    "with_embeddings",
]

DATA_SOURCES: Mapping[str, str] = {
    "digits": "mibias_cli.data.sources.digits:load_digits",
    "embeddings": "mibias_cli.data.sources.embeddings:load_embeddings",
    "imagefolder": "mibias_cli.data.sources.imagefolder:load_imagefolder",
    "manifest": "mibias_cli.data.sources.manifest:load_manifest",
    "mnist": "mibias_cli.data.sources.mnist:load_mnist",
    "table": "mibias_cli.data.sources.table:load_table",
}


def resolve(reference: str) -> Any:
    """The object that `module:object` names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Everything of a run that does not change while it trains."""

    data: BiasedData
    backbone: Backbone


def assemble(recipe: Recipe, *, offline: bool) -> Assembly:
    """Data and backbone of a recipe, each told what the other asks for.

    Raises:
        MibiasError: The data's target is not one that the recipe's debiasing can do.
    """
    data = build_data(recipe, offline=offline)
    if recipe.debias.bias_product and data.target.kind != "classes":
        raise MibiasError(
            f"debias.bias_product: adds to the scores of target classes, but this data's target is of kind "
            f"{data.target.kind}; leave it out"
        )
    return Assembly(data=data, backbone=build_backbone(recipe, data, offline=offline))


def build_data(recipe: Recipe, *, offline: bool) -> BiasedData:
    """The data of a recipe, with the transforms that its backbone asks for."""
    from mibias_cli.data.files.tabular import AttributeColumn, Columns, SplitRule

    section = recipe.data
    arguments: dict[str, Any] = {k: getattr(section, k) for k in type(section).model_fields if k != "source"}
    if "columns" in arguments:
        named = arguments["columns"].model_dump()
        several = tuple(named["target"]) if isinstance(named["target"], list) else named["target"]
        arguments["columns"] = Columns(
            **(named | {"target": several}),
            kept=tuple(recipe.evaluation.fidelity_columns),
            target_kind=arguments.pop("target_kind"),
        )
        arguments["splits"] = SplitRule(**arguments["splits"].model_dump())
        arguments["attributes"] = {
            name: AttributeColumn(column=a.column or name, kind=a.kind, bins=a.bins)
            for name, a in arguments["attributes"].items()
        }
    if not isinstance(section, TableData | EmbeddingsData):
        arguments["transforms"] = _transforms(recipe.backbone, augment=recipe.training.augment, offline=offline)
    loaded: BiasedData = resolve(DATA_SOURCES[section.source])(**arguments, seed=recipe.seed)
    return loaded


def _transforms(section: BackboneSection, *, augment: bool, offline: bool) -> Transforms:
    from mibias_cli.backbone.transforms import transforms_for

    return transforms_for(
        section.name,
        weights=section.weights,
        channels=section.channels,
        input_size=section.input_size,
        augment=augment,
        offline=offline,
    )


def build_backbone(recipe: Recipe, data: BiasedData, *, offline: bool) -> Backbone:
    """The backbone with its weights, for inputs as the data give them."""
    from mibias_cli.backbone.catalogue import create_backbone

    section = recipe.backbone
    backbone = create_backbone(
        section.name,
        weights=section.weights,
        options=dict(section.options),
        channels=section.channels,
        input_size=section.input_size,
        input_shape=data.input_shape,
        offline=offline,
        seed=recipe.seed,
    )
    return backbone if section.licence is None else replace(backbone, licence=section.licence)


def build_model(recipe: Recipe, assembly: Assembly) -> TaskModel:
    """A fresh task model around a copy of the backbone as loaded: extractor, target head, and what is penalised."""
    import copy

    import torch

    from mibias_cli.backbone.extractor import Extractor
    from mibias_cli.seeds import derive_seed, scoped_torch_rng
    from mibias_cli.training.model import TaskModel

    section = recipe.representation
    extractor = Extractor(
        copy.deepcopy(assembly.backbone.module),
        assembly.backbone.n_features,
        bottleneck=section.bottleneck,
        layers=section.layers,
        pool=section.pool,
        seed=recipe.seed,
    )
    with scoped_torch_rng():
        torch.manual_seed(derive_seed(recipe.seed, "head"))
        head = build_head(assembly.data, extractor.features_dim)
    return TaskModel(extractor, head, section.layers)


def build_head(data: BiasedData, n_features: int) -> nn.Module:
    """An untrained head for the target; without one, what brings features to the scale of the original's."""
    from mibias_cli.heads.original import StandardFeatures
    from mibias_cli.heads.target import TargetHead

    target = data.target
    if target.kind == "none":
        return StandardFeatures(n_features)
    return TargetHead(n_features, target.n_outputs, kind=target.kind, mean=target.mean, scale=target.scale)


def with_embeddings(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with its embeddings read from another file.

    Raises:
        MibiasError: Its data are no embeddings.
    """
    if not isinstance(recipe.data, EmbeddingsData):
        raise MibiasError(
            f"{path}: a file is audited as stored embeddings, but the recipe's data.source is {recipe.data.source}; "
            "set it to embeddings, or name a model or a run"
        )
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": path})})


def build_bare_model(data: BiasedData) -> TaskModel:
    """A task model that hands its inputs, rows of numbers, through: stored embeddings are audited as they are."""
    from torch import nn

    from mibias_cli.backbone.extractor import Extractor
    from mibias_cli.training.model import TaskModel

    return TaskModel(Extractor(nn.Identity(), data.input_shape[0]), nn.Identity(), ["features"])


def optim_settings(section: TrainingSection, *, epochs: int | None = None, rate: float | None = None) -> OptimSettings:
    """The recipe's `training` section as the loop takes it, with epochs and learning rate replaced if given."""
    from dataclasses import fields

    from mibias_cli.training.settings import OptimSettings, SelectSettings

    values = {f.name: getattr(section, f.name) for f in fields(OptimSettings)}
    values["select"] = SelectSettings(**section.select.model_dump())
    values["epochs"] = epochs or section.epochs
    values["learning_rate"] = rate or section.learning_rate
    values["final_share"] = section.final_share or 0.0
    return OptimSettings(**values)


def run_folder(recipe: Recipe, timestamp: str) -> Path:
    """Where a run goes that was given no folder: runs/<name>/<timestamp>."""
    return Path("runs") / recipe.name / timestamp
