"""An exported folder back into an extractor and a task head."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.timm_config import CONFIG, LOCAL, read_config
from mibias_cli.backbone.transforms import transforms_of
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.backbone.weights.model_folder import WEIGHTS
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.input_rules import ImageRules, InputRules
from mibias_cli.data.inputs import Transforms
from mibias_cli.data.new_inputs import NewInputs, read_new
from mibias_cli.errors import DataError, ExportError
from mibias_cli.export.heads_file import ExportInfo, check_files, load_heads, read_info
from mibias_cli.export.new_rows import EmbeddedRows, PredictedRows
from mibias_cli.heads.target import TargetHead
from mibias_cli.run_folder import is_run, refuse_devices

__all__ = ["LoadedExport", "LoadedExtractor", "extractor_of", "load_export", "load_extractor"]

_BATCH = 64
_PART = 1024 * _BATCH
"""Rows that are read and embedded at a time."""


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

    `embed` and `predict` read new data from files, as the training data were read.

    Args:
        model: Filter, backbone, bottleneck and eraser, in evaluation mode, on the CPU.
        n_features: Width of what it gives, d: the representation that the report speaks of.
        input_shape: Shape of one input: (channels, height, width), or (columns,).
        mean, std: By image channel, what inputs in [0, 1] are standardised with; empty where inputs stay as they are.
        head: The task head, from features to classes, labels or numbers; None where there was no target.
        class_names: Names of the head's outputs.
        inputs: How new data are read; None in exports of older versions.
        transforms: What it asks of images.
        source: What it was loaded from.
        unfinished: What its run had not done yet; None: it had ended, or there is none.
        made_by: Its architecture, with its arguments, and what it asks of images.
    """

    model: Extractor
    n_features: int
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: TargetHead | None
    class_names: tuple[str, ...]
    inputs: InputRules | None
    transforms: Transforms
    source: str
    unfinished: str | None = None
    made_by: str = ""

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Debiased features (n, n_features) of inputs (n, *input_shape), tensor or array, on the model's device."""
        try:
            inputs = torch.as_tensor(inputs).to(next(self.model.parameters(), torch.zeros(())))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ExportError(f"inputs: cannot be read as a tensor ({error})") from error
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise ExportError(
                f"inputs: expected shape (n, {', '.join(map(str, self.input_shape))}), found {tuple(inputs.shape)}"
            )
        features: Tensor = self.model(inputs).features
        return features

    def embed(
        self,
        data: Path | str,
        *,
        root: Path | str | None = None,
        follow_links: Path | str | None = None,
        num_workers: int = 0,
    ) -> EmbeddedRows:
        """Debiased features of new data, on the device where the model is; targets and attributes are not asked for.

        Args:
            data: As the model was trained: a folder of images (in the order of their sorted paths) or a manifest with a
                column of paths; a table, whose columns are found by name; or a file of embeddings.
            root: Folder that the paths of a manifest start from; None: the manifest's own.
            follow_links: Links of images to what lies below this folder are followed, too.
            num_workers: Processes that read images; 0: this one does.

        Raises:
            DataError: Columns or values are missing, unknown or cannot be read; the error names column and rows.
            ExportError: An export of an older version does not say how rows of numbers are read.
        """
        new = self.open(data, root=root, follow_links=follow_links)
        parts = [
            self.embed_part(new, start, min(start + _PART, len(new)), num_workers=num_workers)
            for start in range(0, len(new), _PART)
        ]
        features = np.concatenate([part.features for part in parts])
        return EmbeddedRows(id_name=new.id_name, ids=tuple(new.ids), features=features, notes=new.notes)

    def open(
        self, data: Path | str, *, root: Path | str | None = None, follow_links: Path | str | None = None
    ) -> NewInputs:
        """New data, of which `embed_part` then embeds some rows at a time; for arguments and errors see `embed`."""
        if not isinstance(data, str | Path):
            raise DataError(
                f"data must be a path, found {type(data).__name__}; of a batch of inputs take extractor(batch)"
            )
        return read_new(
            Path(data),
            self._rules(),
            input_shape=self.input_shape,
            transforms=self.transforms,
            root=None if root is None else Path(root),
            follow=None if follow_links is None else Path(follow_links),
        )

    def embed_part(self, new: NewInputs, start: int, stop: int, *, num_workers: int = 0) -> EmbeddedRows:
        """Debiased features of the rows of new data from `start` up to `stop`; no others are read.

        Raises:
            DataError: An input cannot be read, or its features are not finite.
        """
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        part = new.held(start, stop)
        z = embed(self.model, part, batch_size=_BATCH, device=device, num_workers=num_workers).features
        # numbers too large for float32, say: better an error than predictions of nothing
        wrong = np.flatnonzero(~np.isfinite(z).all(axis=1))
        if len(wrong):
            names = first_rows([part.row_names[int(row)] for row in wrong])
            raise DataError(
                f"{new.path}: the features of {len(wrong)} input(s) are not finite: {names}; look at their values"
            )
        ids = tuple(new.ids[row] for row in range(start, stop))
        return EmbeddedRows(id_name=new.id_name, ids=ids, features=z)

    @property
    def fingerprints(self) -> dict[str, str]:
        """What its features depend on beside the data, each as one sha256: its weights, and how inputs are read."""
        reading = json.dumps([self.made_by, self._rules()], sort_keys=True, default=repr)
        return {"weights": weights_fingerprint(self.model), "reading": hashlib.sha256(reading.encode()).hexdigest()}

    def predict(
        self, data: Path | str, *, root: Path | str | None = None, follow_links: Path | str | None = None
    ) -> PredictedRows:
        """What the task head says of new data; for the arguments see `embed`.

        Raises:
            DataError: As for `embed`.
            ExportError: There is no task head; or as for `embed`.
        """
        if self.head is None:
            raise ExportError(f"{self.source}: has no task head, so it predicts nothing; `embed` gives its features")
        rows = self.embed(data, root=root, follow_links=follow_links)
        values = self.head.predict(torch.from_numpy(rows.features).to(self.head.linear.weight.device)).cpu().numpy()
        return PredictedRows(
            id_name=rows.id_name,
            ids=rows.ids,
            kind=self.head.kind,
            names=self.class_names,
            values=values,
            notes=rows.notes,
        )

    def _rules(self) -> InputRules:
        if self.inputs is not None:
            return self.inputs
        # images need no more than config.json says
        if len(self.input_shape) == 3:
            return ImageRules()
        raise ExportError(
            f"{self.source}: was exported by an older mibias, which did not keep how rows of numbers are read; export "
            "its run again: mibias export RUN --out FOLDER"
        )


def load_extractor(folder: Path | str) -> LoadedExtractor:
    """Load the debiased extractor of an exported folder, or of a run that has one.

    Args:
        folder: What `mibias export` wrote, or a run's folder, whose `export/` is meant.

    Raises:
        ExportError: The folder or one of its files is missing or damaged, or weights are not those that were exported.
    """
    place = Path(folder)
    own = place / "export"
    if is_run(place) and not own.is_dir():
        raise ExportError(f"{place}: this run has no export yet; let it end, or write one: mibias export {place}")
    loaded = load_export(own if is_run(place) else place)
    return dataclasses.replace(
        extractor_of(loaded.backbone, loaded.extractor, inputs=loaded.info.inputs, source=str(place)),
        head=loaded.head,
        class_names=loaded.info.class_names,
        unfinished=loaded.info.unfinished,
    )


def extractor_of(
    backbone: Backbone, extractor: Extractor, *, inputs: InputRules | None, source: str
) -> LoadedExtractor:
    """An extractor around a backbone, without a task head, for programs."""
    config = backbone.data_config
    return LoadedExtractor(
        model=extractor.eval(),
        n_features=extractor.features_dim,
        input_shape=tuple(backbone.input_shape),
        mean=tuple(config.get("mean", ())),
        std=tuple(config.get("std", ())),
        head=None,
        class_names=(),
        inputs=inputs,
        transforms=transforms_of(backbone),
        source=source,
        made_by=json.dumps([backbone.architecture, backbone.arguments, config], sort_keys=True, default=repr),
    )


def load_export(folder: Path) -> LoadedExport:
    """Load a folder that `write_export` wrote, for an audit or as the start of another training.

    Raises:
        ExportError: The folder or one of its files is missing or damaged, or weights are not those that were exported.
        BackboneError: timm here does not know the architecture.
    """
    refuse_devices(folder)
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
        raise ExportError(
            f"{folder}: {WEIGHTS} does not hold the weights that were exported (their sha256 differs); export anew"
        )
    extractor = Extractor(
        backbone.module, info.n_features, bottleneck=info.bottleneck, layers=info.layers, pool=info.pool
    )
    head = load_heads(extractor, info, folder)
    # what fits may still be another export's, or edited
    check_files(folder)
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
