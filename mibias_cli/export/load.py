"""An exported folder back into an extractor and a task head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.timm_config import CONFIG, LOCAL, read_config
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.backbone.weights.model_folder import WEIGHTS
from mibias_cli.errors import ExportError
from mibias_cli.export.heads_file import ExportInfo, load_heads, read_info
from mibias_cli.heads.target import TargetHead
from mibias_cli.run_folder import is_run

__all__ = ["LoadedExport", "LoadedExtractor", "load_export", "load_extractor"]


@dataclass(frozen=True, kw_only=True)
class LoadedExport:
    """An exported folder in memory, in evaluation mode, on the CPU; the backbone's module is the extractor's."""

    backbone: Backbone
    extractor: Extractor
    head: TargetHead | None
    info: ExportInfo


@dataclass(frozen=True, kw_only=True)
class LoadedExtractor:
    """A debiased extractor for programs: call it with a batch of preprocessed inputs, and it gives features.

    Args:
        model: Backbone, bottleneck and eraser, in evaluation mode, on the CPU.
        n_features: Width of what it gives, d: the representation that the report speaks of.
        input_shape: Shape of one input: (channels, height, width), or (columns,).
        mean, std: By image channel, what inputs in [0, 1] are standardised with; empty where inputs stay as they are.
        head: The task head, from features to classes, labels or numbers; None where there was no target.
        class_names: Names of the head's outputs.
    """

    model: Extractor
    n_features: int
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: TargetHead | None
    class_names: tuple[str, ...]

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Debiased features (n, n_features) of inputs (n, *input_shape), on the device where the model is."""
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise ExportError(
                f"inputs: expected shape (n, {', '.join(map(str, self.input_shape))}), found {tuple(inputs.shape)}"
            )
        features: Tensor = self.model(inputs).features
        return features


def load_extractor(folder: Path | str) -> LoadedExtractor:
    """Load the debiased extractor of an exported folder, or of a run that has one.

    Args:
        folder: What `mibias export` wrote, or a run's folder, whose `export/` is meant.

    Raises:
        ExportError: The folder or one of its files is missing or damaged, or weights are not those that were exported.
    """
    place = Path(folder)
    own = place / "export"
    loaded = load_export(own if is_run(place) and own.is_dir() else place)
    config = loaded.backbone.data_config
    return LoadedExtractor(
        model=loaded.extractor,
        n_features=loaded.info.features_dim,
        input_shape=loaded.info.input_shape,
        mean=tuple(config.get("mean", ())),
        std=tuple(config.get("std", ())),
        head=loaded.head,
        class_names=loaded.info.class_names,
    )


def load_export(folder: Path) -> LoadedExport:
    """Load a folder that `write_export` wrote, for an audit or as the start of another training.

    Raises:
        ExportError: The folder or one of its files is missing or damaged, or weights are not those that were exported.
        BackboneError: timm here does not know the architecture.
    """
    info = read_info(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: {name} is missing")
    backbone = _backbone(folder, info)
    # two checks: that every tensor found its place, and that they are the very weights that were audited
    report = backbone.load_report
    if report is not None and report.warnings():
        raise ExportError("\n".join([f"{folder}: {WEIGHTS} does not fill the model", *report.warnings()]))
    if weights_fingerprint(backbone.module) != info.fingerprint:
        raise ExportError(f"{folder}: {WEIGHTS} does not hold the weights that were exported (their sha256 differs)")
    extractor = Extractor(
        backbone.module, info.n_features, bottleneck=info.bottleneck, layers=info.layers, pool=info.pool
    )
    head = load_heads(extractor, info, folder)
    # fresh modules start in training mode
    extractor.eval()
    return LoadedExport(backbone=backbone, extractor=extractor, head=head, info=info)


def _backbone(folder: Path, info: ExportInfo) -> Backbone:
    # offline: the folder holds all there is to load
    if info.kind == "timm":
        loaded = create_backbone(f"{LOCAL}{folder}", offline=True)
    else:
        loaded = create_backbone(
            info.kind,
            weights=f"{LOCAL}{folder}",
            options=read_config(folder).get("arguments"),
            input_shape=info.input_shape,
            offline=True,
        )
    if loaded.n_features != info.n_features:
        raise ExportError(f"{folder}: gives {loaded.n_features} features, mibias.json says {info.n_features}")
    # the folder is called what the recipe called the backbone
    return dataclasses.replace(loaded, name=info.name, licence=info.licence)
