"""A trained extractor on new data: features and predictions into files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.input_rules import EmbeddingRules, ImageRules, InputRules, TableRules
from mibias_cli.errors import MibiasError
from mibias_cli.export.load import LoadedExtractor, extractor_of, load_extractor
from mibias_cli.export.new_rows import FEATURE_FILES, PREDICTION_FILES, EmbeddedRows, PredictedRows, check_out
from mibias_cli.progress import Progress, Silent
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
from mibias_cli.training.fabric import keep_freed_memory, make_fabric

__all__ = ["apply", "load_target"]


def apply(
    target: str,
    data: Path,
    out: Path,
    *,
    predict: bool,
    recipe: Recipe | None = None,
    device: str = "auto",
    offline: bool = False,
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
        progress: Told of what happens; None: nobody is.

    Raises:
        MibiasError: Whatever the user can mend; each kind is a subclass.
    """
    told = progress or Silent()
    check_out(out, PREDICTION_FILES if predict else FEATURE_FILES)
    told.stage("loading the extractor")
    loaded = load_target(target, recipe=recipe, offline=offline)
    on = make_fabric(device, "32", deterministic=False).device
    keep_freed_memory(on)
    loaded.model.to(on)
    if not Path(target).is_dir():
        told.warn(f"{target}: a timm model as it is, nothing in it is debiased")
    if loaded.unfinished is not None:
        told.warn(f"{target}: its run had not ended: {loaded.unfinished}")
    told.stage("predicting" if predict else "embedding")
    section = None if recipe is None else recipe.data
    images = section if isinstance(section, ManifestData | ImageFolderData) else None
    root, follow = (None, None) if images is None else (images.root, images.follow_links)
    read = loaded.predict if predict else loaded.embed
    rows = read(data, root=root, follow_links=follow)
    rows.write(out)
    for note in rows.notes:
        told.note(note)
    return rows


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
