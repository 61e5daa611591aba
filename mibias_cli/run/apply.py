"""A trained extractor on new data: features and predictions into files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.input_rules import EmbeddingRules, ImageRules, InputRules, TableRules
from mibias_cli.errors import MibiasError
from mibias_cli.export.feature_shards import FeatureShards, begin_shards, check_out_folder, write_shards
from mibias_cli.export.load import LoadedExtractor, extractor_of, load_extractor
from mibias_cli.export.new_rows import FEATURE_FILES, PREDICTION_FILES, EmbeddedRows, PredictedRows, check_out
from mibias_cli.progress import Progress, Silent
from mibias_cli.ranks.place import Share, find_place
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.data import (
    DigitsData,
    EmbeddingsData,
    ImageFolderData,
    ManifestData,
    MnistData,
    TableData,
    WebDatasetData,
)
from mibias_cli.run.build import build_backbone, build_reading
from mibias_cli.run.evaluate import with_backbone
from mibias_cli.training.fabric import keep_freed_memory, own_device

__all__ = ["apply", "embed_shards", "load_target"]


def apply(
    target: str,
    data: Path,
    out: Path,
    *,
    predict: bool,
    recipe: Recipe | None = None,
    device: str = "auto",
    offline: bool = False,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> EmbeddedRows | PredictedRows:
    """Write the features of new data, or what the task head says of them, to a file that does not exist yet.

    Args:
        target: An exported folder, a run, or a timm model name.
        data: As `LoadedExtractor.embed` takes them.
        out: A .csv file for predictions, a .parquet or .safetensors file for features.
        recipe: Says how new data are read (path column, root, key, encoding, …) in place of the export; for a timm
            name also its weights and input size.
        device: auto, cpu or cuda.
        offline: Whether to refuse downloads.
        num_workers: Processes that read images for features; 0: this one does.
        progress: Told of what happens; None: nobody is.

    Raises:
        MibiasError: Whatever the user can mend; each kind is a subclass.
    """
    told = progress or Silent()
    check_out(out, PREDICTION_FILES if predict else FEATURE_FILES)
    loaded = _on_device(target, recipe, own_device(device), offline, told)
    told.stage("predicting" if predict else "embedding")
    root, follow = _places(recipe)
    rows: EmbeddedRows | PredictedRows
    if predict:
        rows = loaded.predict(data, root=root, follow_links=follow)
    else:
        rows = loaded.embed(data, root=root, follow_links=follow, num_workers=num_workers)
    rows.write(out)
    for note in rows.notes:
        told.note(note)
    return rows


def embed_shards(
    target: str,
    data: Path,
    out: Path,
    *,
    rows_per_shard: int,
    suffix: str = ".parquet",
    recipe: Recipe | None = None,
    device: str = "auto",
    offline: bool = False,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> FeatureShards:
    """Write the features of new data to a folder, some rows a file; files of it that are there already stay.

    Of several ranks, which torchrun, srun or `mibias embed --devices` has started, each writes every W-th file on its
    own device. They exchange nothing.

    Args:
        target, data, recipe, device, offline, num_workers, progress: As of `apply`.
        out: A new folder, or one that an earlier call with the same arguments has begun.
        rows_per_shard: Rows of each file but the last. So many are in memory at a time.
        suffix: .parquet or .safetensors.

    Raises:
        MibiasError: Whatever the user can mend; each kind is a subclass.
    """
    told, place = progress or Silent(), find_place(os.environ)
    check_out_folder(out)
    loaded = _on_device(target, recipe, own_device(device, place), offline, told)
    told.stage("reading what to embed")
    root, follow = _places(recipe)
    new = loaded.open(data, root=root, follow_links=follow)
    for note in new.notes:
        told.note(note)
    shards = begin_shards(loaded, new, out, rows_per_shard=rows_per_shard, suffix=suffix, target=target)
    told.stage("embedding")
    share = Share() if place is None else Share(rank=place.rank, size=place.size)
    write_shards(loaded, new, shards, share=share, num_workers=num_workers, progress=told)
    return shards


def _on_device(
    target: str, recipe: Recipe | None, device: torch.device, offline: bool, told: Progress
) -> LoadedExtractor:
    told.stage("loading the extractor")
    loaded = load_target(target, recipe=recipe, offline=offline)
    keep_freed_memory(device)
    loaded.model.to(device)
    if not Path(target).is_dir():
        told.warn(f"{target}: a timm model as it is, nothing in it is debiased")
    if loaded.unfinished is not None:
        told.warn(f"{target}: its run had not ended: {loaded.unfinished}")
    return loaded


def _places(recipe: Recipe | None) -> tuple[Path | None, Path | None]:
    """Where a recipe says that paths of images start, and below which folder links are followed."""
    section = None if recipe is None else recipe.data
    images = section if isinstance(section, ManifestData | ImageFolderData) else None
    return (None, None) if images is None else (images.root, images.follow_links)


def load_target(target: str, *, recipe: Recipe | None = None, offline: bool = False) -> LoadedExtractor:
    """The extractor of an exported folder or a run, or a timm model as it is; a recipe's rules replace its own.

    Raises:
        MibiasError: It cannot be loaded, or the recipe's data are of another kind.
    """
    place = Path(target)
    if place.is_file():
        raise MibiasError(f"{target}: is a file; name an exported folder, a run, or a timm model")
    # timm's names have no slash but after hf-hub: or local-dir:
    if "/" in target and ":" not in target and not place.exists():
        raise MibiasError(f"{target}: no such folder; name an exported folder, a run, or a timm model")
    if place.is_dir():
        loaded = load_extractor(place)
    else:
        # without a recipe the weights that timm has of this name: random ones are nobody's features
        if recipe is None:
            backbone = create_backbone(target, weights="pretrained", offline=offline)
        else:
            backbone = build_backbone(with_backbone(recipe, target), (), offline=offline)
        loaded = extractor_of(backbone, Extractor(backbone.module, backbone.n_features), inputs=None, source=target)
    return loaded if recipe is None else replace(loaded, inputs=_rules(recipe, loaded))


def _rules(recipe: Recipe, loaded: LoadedExtractor) -> InputRules | None:
    """How the recipe says that data are read; what was fitted on training rows stays that of the export."""
    section, own = recipe.data, loaded.inputs
    # rows of numbers and images cannot stand for each other, nor a table for embeddings
    wanted = {TableData: "table", EmbeddingsData: "embeddings"}.get(type(section), "images")
    takes_images = len(loaded.input_shape) == 3
    if (wanted != own.kind) if own else ((wanted == "images") != takes_images):
        kind = own.kind if own else "images" if takes_images else "rows of numbers"
        raise MibiasError(f"{loaded.source}: takes {kind}, but the recipe's data.source is {section.source}")
    if isinstance(section, DigitsData | MnistData):
        return ImageRules(fills_frame=True)
    if isinstance(section, EmbeddingsData):
        return EmbeddingRules(key=section.key, prefix=section.prefix)
    if isinstance(section, TableData):
        if isinstance(own, TableRules):
            own = replace(own, unseen=section.unseen, reading=build_reading(section))
        # without rules of its own nothing is known of the columns: reading will say so
        return own
    image = section.image if isinstance(section, WebDatasetData) else None
    return ImageRules(path=section.columns.path, image=image, reading=build_reading(section))
