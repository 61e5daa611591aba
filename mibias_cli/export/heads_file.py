"""What stands beside the backbone in an exported folder: heads.safetensors and mibias.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mibias_cli import __version__
from mibias_cli.backbone.bottleneck import BottleneckShape
from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.extractor import Extractor, Pool
from mibias_cli.backbone.timm_config import CONFIG
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.backbone.weights.model_folder import portable_state
from mibias_cli.data.input_rules import InputRules
from mibias_cli.errors import ExportError
from mibias_cli.export.onnx_file import ONNX_FILE
from mibias_cli.heads.target import HeadKind, TargetHead
from mibias_cli.methods.erasers.linear_eraser import LinearEraser
from mibias_cli.methods.erasers.transport import TransportEraser
from mibias_cli.methods.image_filter import ImageFilter
from mibias_cli.output.text import shown

__all__ = [
    "HEADS",
    "INFO",
    "ExportInfo",
    "check_files",
    "info_of",
    "load_heads",
    "read_info",
    "what_weights_give",
    "write_heads",
    "write_info",
]

HEADS, INFO = "heads.safetensors", "mibias.json"
_REPORT = "report/leakage.json"
FORMAT = 1
FORMAT_ERASED = 2
"""Of a folder with an eraser, which a reader of format 1 would leave out without a word."""
FORMAT_MLP = 3
"""Of a folder whose bottleneck is not the one ReLU layer that formats 1 and 2 know."""
FORMAT_TRANSPORT = 4
"""Of a folder whose eraser is not linear."""
FORMAT_FILTERED = 5
"""Of a folder with a filter of images."""
# where the fields of ExportInfo stand in mibias.json, in this order
_BACKBONE = ("name", "kind", "architecture", "input_shape", "n_features", "base_weights", "licence", "fingerprint")
_REPRESENTATION = ("bottleneck", "layers", "pool", "features_dim", "erased", "erased_by", "folded", "filtered")


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """What `mibias.json` says of an exported folder.

    Args:
        name, kind, architecture: Of the backbone, as in :class:`mibias_cli.backbone.catalogue.Backbone`.
        n_features: Width of the backbone's pooled features: what timm gives.
        bottleneck: Width of a linear + ReLU layer, or the shape of an MLP; None: there is none.
        layers, pool: What was penalised in training.
        features_dim: Width of the representation, which the report speaks of.
        class_names: Names of the head's outputs: the target's classes, its labels, or its columns of numbers.
        base_weights: What training started from.
        fingerprint: sha256 over the backbone's exported state dict.
        erased: Attributes that were erased from the representation; None: it has no eraser.
        erased_by: What kind of layer its eraser is.
        target_kind: What the task head gives: classes, multilabel or regression; None: there was no target.
        folded: Bottleneck and eraser are timm's own classifier too, so that timm alone gives the representation.
        unfinished: What the run had not done yet when it was exported; None: it had ended.
        inputs: How new data are read as the training data were; None in exports of older versions.
        filtered: A filter of images stands before the backbone.
    """

    mibias_version: str
    name: str
    kind: str
    architecture: str
    input_shape: tuple[int, ...]
    n_features: int
    bottleneck: int | BottleneckShape | None
    layers: tuple[str, ...]
    pool: Pool
    features_dim: int
    class_names: tuple[str, ...]
    has_head: bool
    base_weights: str
    licence: str | None
    fingerprint: str
    erased: tuple[str, ...] | None = None
    erased_by: Literal["linear", "transport"] = "linear"
    target_kind: HeadKind | None = "classes"
    folded: bool = False
    unfinished: str | None = None
    inputs: InputRules | None = None
    filtered: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether the representation is the backbone's pooled features of inputs as they are."""
        return self.bottleneck is None and self.erased is None and not self.filtered

    @property
    def alone_debiased(self) -> bool:
        """Whether the model file gives the representation without what is in heads.safetensors."""
        return self.folded or self.is_bare


def what_weights_give(info: ExportInfo) -> str:
    """What one gets of an exported folder by its model file alone, for config.json and the terminal."""
    pooled = f"the backbone's pooled features ({info.n_features} wide)"
    if info.folded:
        return (
            f"timm alone gives the debiased features ({info.features_dim} wide): what stands behind the backbone is "
            f"folded into timm's classifier. Without the classifier it gives {pooled}, which are not debiased."
        )
    if info.is_bare:
        return f"The weights alone give the debiased features, {pooled}."
    if info.filtered:
        return (
            f"The backbone alone is not debiased: it is to see images that have passed the filter in {HEADS}, which "
            f"timm cannot load. Load the whole with mibias_cli.load_extractor(FOLDER), or {ONNX_FILE} if it is there."
        )
    return (
        f"The backbone alone is not debiased: it gives {pooled}; the debiased ones ({info.features_dim} wide) need "
        f"{HEADS} too. Load the whole with mibias_cli.load_extractor(FOLDER), or as README.md says."
    )


def info_of(
    backbone: Backbone,
    extractor: Extractor,
    head: nn.Module | None,
    *,
    class_names: Sequence[str],
    layers: Sequence[str],
    base_weights: str,
    erased: Sequence[str],
    folded: bool = False,
    unfinished: str | None = None,
    inputs: InputRules | None = None,
) -> ExportInfo:
    """What `mibias.json` will say."""
    return ExportInfo(
        mibias_version=__version__,
        name=backbone.name,
        kind=backbone.kind,
        architecture=backbone.architecture,
        input_shape=tuple(backbone.input_shape),
        n_features=extractor.n_features,
        bottleneck=extractor.bottleneck_shape,
        layers=tuple(layers),
        pool=extractor.pool,
        features_dim=extractor.features_dim,
        class_names=tuple(class_names),
        has_head=head is not None,
        base_weights=base_weights,
        licence=backbone.licence,
        fingerprint=weights_fingerprint(extractor.backbone),
        erased=None if extractor.eraser is None else tuple(erased),
        erased_by="transport" if isinstance(extractor.eraser, TransportEraser) else "linear",
        target_kind=head.kind if isinstance(head, TargetHead) else "classes" if class_names else None,
        folded=folded,
        unfinished=unfinished,
        inputs=inputs,
        filtered=extractor.filter is not None,
    )


def write_heads(extractor: Extractor, head: nn.Module | None, folder: Path) -> None:
    """Write filter, bottleneck, eraser and task head to heads.safetensors, if there is any."""
    parts = {
        "filter": extractor.filter,
        "bottleneck": extractor.bottleneck,
        "eraser": extractor.eraser,
        "head": head,
    }
    # names begin with the part: "bottleneck.0.weight", "eraser.bias", "head.linear.weight"
    state = portable_state(nn.ModuleDict({name: module for name, module in parts.items() if module is not None}))
    if state:
        save_file(state, folder / HEADS, metadata={"format": "pt"})


def load_heads(extractor: Extractor, info: ExportInfo, folder: Path) -> TargetHead | None:
    """Fill the extractor's parts beside the backbone and build the task head, in evaluation mode.

    Raises:
        ExportError: The file is missing, or does not hold what mibias.json says.
    """
    if info.is_bare and not info.has_head:
        return None
    path = folder / HEADS
    if not path.is_file():
        raise ExportError(f"{folder}: {HEADS} is missing, {INFO} says that it holds filter, bottleneck, eraser or head")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ExportError(f"{path}: not a readable safetensors file ({error})") from error
    # empty modules of the right shapes first, then their weights
    head = None
    if info.has_head and info.target_kind is not None:
        head = TargetHead(info.features_dim, len(info.class_names), kind=info.target_kind).eval()
    if info.erased is None:
        extractor.eraser = None
    elif info.erased_by == "linear":
        extractor.eraser = LinearEraser.identity(info.features_dim)
    else:
        extractor.eraser = _transport_eraser(state, info, path)
    extractor.filter = _image_filter(state, path) if info.filtered else None
    # one by one and strictly: a missing, superfluous or misshapen tensor is an error that names its part
    for part, module in (("bottleneck", extractor.bottleneck), ("eraser", extractor.eraser), ("head", head)):
        if module is None:
            continue
        own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ExportError(
                f"{path}: its {part} does not fit what {INFO} says: it is of another export, or was edited; export anew"
            ) from error
    return head


def _transport_eraser(state: dict[str, Tensor], info: ExportInfo, path: Path) -> TransportEraser:
    """The eraser of these tensors, whose shapes the file alone knows."""
    try:
        return TransportEraser.of_file(state, "eraser.", info.features_dim)
    except (KeyError, ValueError) as error:
        raise ExportError(f"{path}: its eraser does not fit what {INFO} says ({error})") from error


def _image_filter(state: dict[str, Tensor], path: Path) -> ImageFilter:
    """The filter of these tensors, whose shapes the file alone knows."""
    try:
        return ImageFilter.of_file(state, "filter.")
    except (KeyError, ValueError) as error:
        raise ExportError(f"{path}: its filter does not fit what {INFO} says ({error})") from error


def write_info(info: ExportInfo, folder: Path) -> None:
    """Write mibias.json, the last of a folder's files but for the model card: it knows the sha256 of the others."""
    values = asdict(info)
    content = {
        "format": _format_of(info),
        "mibias_version": info.mibias_version,
        "backbone": {name: values[name] for name in _BACKBONE},
        "representation": {name: values[name] for name in _REPRESENTATION},
        "head": {"n_features": info.features_dim, "n_classes": len(info.class_names)} if info.has_head else None,
        "target_kind": info.target_kind,
        "class_names": info.class_names,
        **({} if info.inputs is None else {"inputs": values["inputs"]}),
        **({} if info.unfinished is None else {"unfinished": info.unfinished}),
    }
    content["sha256"] = {INFO: _sha256_of(content), **_sha256_of_files(folder)}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / INFO).write_text(shown(text), encoding="utf-8")


def _check_itself(content: dict[str, object], path: Path) -> None:
    """Refuse a mibias.json that was edited, before anything is built by what it says."""
    wanted = content.get("sha256")
    if isinstance(wanted, dict) and wanted.get(INFO) != _sha256_of({k: v for k, v in content.items() if k != "sha256"}):
        raise ExportError(f"{path.parent}: {INFO} is not the file that was exported (its sha256 differs); export anew")


def check_files(folder: Path) -> None:
    """Compare an export's files with what mibias.json says of them; one of an older version says nothing.

    The weights of the backbone have a fingerprint of their own. What users may take away or edit (the model card, pages
    of the report) has none.

    Raises:
        ExportError: A file is not the one that was exported.
    """
    wanted = json.loads((folder / INFO).read_text(encoding="utf-8")).get("sha256")
    if wanted is None:
        return
    for name, digest in _sha256_of_files(folder).items():
        # a file that was not exported is none of ours
        if name in wanted and wanted[name] != digest:
            raise ExportError(f"{folder}: {name} is not the file that was exported (its sha256 differs); export anew")


def _sha256_of_files(folder: Path) -> dict[str, str]:
    """sha256 of the files that an export has beside the backbone's weights; of JSON it is of what it means."""
    found = {}
    for name in (CONFIG, _REPORT):
        if (folder / name).is_file():
            try:
                found[name] = _sha256_of(json.loads((folder / name).read_bytes()))
            except (ValueError, RecursionError) as error:
                raise ExportError(f"{folder / name}: damaged ({error})") from error
    for name in (HEADS, ONNX_FILE):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _sha256_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _format_of(info: ExportInfo) -> int:
    """The first format whose readers leave nothing of this folder out."""
    if info.filtered:
        return FORMAT_FILTERED
    if info.erased is not None and info.erased_by == "transport":
        return FORMAT_TRANSPORT
    if isinstance(info.bottleneck, BottleneckShape):
        return FORMAT_MLP
    return FORMAT if info.erased is None else FORMAT_ERASED


def read_info(folder: Path) -> ExportInfo:
    """Read mibias.json; an ExportError where it is missing, of a later format, or damaged."""
    path = folder / INFO
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "this folder does not exist"
        raise ExportError(f"{folder}: {what}; name a folder that `mibias export` or `mibias train` wrote")
    if not path.is_file():
        raise ExportError(f"{folder}: no {INFO} in it, so it is not a folder that mibias exported")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] not in range(FORMAT, FORMAT_FILTERED + 1):
            formats = f"{FORMAT} to {FORMAT_FILTERED}"
            raise ExportError(f"{path}: format {content['format']}, this mibias ({__version__}) reads {formats}")
        _check_itself(content, path)
        # older files may lack `erased`, `erased_by`, `target_kind`, `folded`, `filtered`: defaults say what they meant
        names = ("mibias_version", "class_names", "target_kind", "unfinished", "inputs")
        flat = {name: content[name] for name in names if name in content}
        values = {**flat, **content["backbone"], **content["representation"], "has_head": content["head"] is not None}
        return TypeAdapter(ExportInfo).validate_python(values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(f"{path}: damaged ({type(error).__name__}: {error})") from error
