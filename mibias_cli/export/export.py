"""Write an exported folder, reload it, and only then put it in place."""

from __future__ import annotations

import copy
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.backbone.weights.model_folder import load_by_timm, write_model_folder
from mibias_cli.errors import ExportError, RunError
from mibias_cli.export.heads_file import INFO, ExportInfo, info_of, write_heads, write_info
from mibias_cli.export.load import load_export
from mibias_cli.export.model_card import model_card
from mibias_cli.export.onnx_file import write_onnx
from mibias_cli.report.document import Report

__all__ = ["Exported", "write_export"]

TOLERANCE = 1e-6
FORMATS = ("safetensors", "onnx")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Args:
        folder: Where.
        files: Paths below it, sorted.
        max_difference: Largest difference between features before export and after reloading.
        onnx_difference: Largest difference of ONNX features, relative to the largest feature; None without ONNX.
        fingerprint: sha256 over the backbone's weights.
    """

    folder: Path
    files: tuple[str, ...]
    max_difference: float
    onnx_difference: float | None
    fingerprint: str


def write_export(
    folder: Path,
    *,
    backbone: Backbone,
    extractor: Extractor,
    head: nn.Module | None,
    class_names: Sequence[str],
    layers: Sequence[str],
    report: Report | None,
    report_folder: Path | None,
    sample_inputs: Tensor,
    formats: Sequence[str] = ("safetensors",),
    base_weights: str = "none",
    erased: Sequence[str] = (),
    overwrite: bool = False,
) -> Exported:
    """Export an extractor: a folder that timm loads by itself, with heads, model card and report beside the weights.

    Everything is written to a hidden folder next to the wanted one, reloaded from there and compared; it takes its name
    only when features are the same, so that a folder of that name is always a whole and checked export.

    Args:
        folder: Where; its parent is made if need be.
        backbone: What the extractor's backbone is an instance of.
        extractor: Whose weights are exported, as float32.
        head: The task head, or None.
        class_names: Names of the target's classes, labels or columns; empty where there is no target.
        layers: What was penalised (bottleneck and pool are the extractor's own).
        report: For the model card, or None.
        report_folder: A folder that is copied to `report/`, or None.
        sample_inputs: Inputs (n, …) on which features are compared.
        formats: safetensors (always written) and onnx.
        base_weights: What training started from, for the model card.
        erased: Attributes that the extractor's eraser takes away, where it has one.
        overwrite: Replace an export that is there already.

    Raises:
        RunError: The folder exists (without `overwrite`), or is not an export.
        ExportError: What was written does not give the same features, or onnx is not installed. Nothing is left behind.
    """
    for name in formats:
        if name not in FORMATS:
            raise ExportError(f"export.formats: unknown format '{name}', choose from {', '.join(FORMATS)}")
    _check_free(folder, overwrite)
    # copies: the caller's model keeps its device, precision and mode
    frozen = copy.deepcopy(extractor).to("cpu", torch.float32).eval()
    frozen_head = None if head is None else copy.deepcopy(head).to("cpu", torch.float32).eval()
    x = sample_inputs.detach().to("cpu", torch.float32)
    info = info_of(
        backbone,
        frozen,
        frozen_head,
        class_names=class_names,
        layers=layers,
        base_weights=base_weights,
        fingerprint=weights_fingerprint(frozen.backbone),
        erased=erased,
    )
    # beside the wanted folder, so on the same file system: the last step is one rename
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir(parents=True)
    try:
        _write(partial, backbone, frozen, frozen_head, info, report, report_folder, tuple(formats))
        difference = _reload_and_compare(partial, frozen, frozen_head, x)
        onnx_difference = write_onnx(frozen, x, partial) if "onnx" in formats else None
        _open_up(partial)
        files = tuple(sorted(str(p.relative_to(partial)) for p in partial.rglob("*") if p.is_file()))
        _put_in_place(partial, folder)
    except BaseException:  # Ctrl-C too: half an export is never left behind
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Exported(
        folder=folder,
        files=files,
        max_difference=difference,
        onnx_difference=onnx_difference,
        fingerprint=info.fingerprint,
    )


def _write(
    folder: Path,
    backbone: Backbone,
    extractor: Extractor,
    head: nn.Module | None,
    info: ExportInfo,
    report: Report | None,
    report_folder: Path | None,
    formats: tuple[str, ...],
) -> None:
    write_model_folder(backbone, extractor.backbone, folder)
    write_heads(extractor, head, folder)
    write_info(info, folder)
    (folder / "README.md").write_text(model_card(info, report=report, formats=formats), encoding="utf-8")
    if report_folder is not None:
        shutil.copytree(report_folder, folder / "report")


@torch.no_grad()
def _reload_and_compare(folder: Path, extractor: Extractor, head: nn.Module | None, x: Tensor) -> float:
    """Largest difference over pooled features, representation and logits, between memory and what was written."""
    wanted = extractor(x)
    loaded = load_export(folder)
    given = loaded.extractor(x)
    pairs = [
        ("the backbone's features", wanted.backbone_features, given.backbone_features),
        ("the representation", wanted.features, given.features),
    ]
    # what users of timm will get, by its own reader
    if loaded.backbone.kind == "timm":
        pairs.append(("the backbone's features", wanted.backbone_features, load_by_timm(folder)(x)))
    if head is not None and loaded.head is not None:
        pairs.append(("the task head's logits", head(wanted.features), loaded.head(given.features)))
    largest = 0.0
    for what, a, b in pairs:
        difference = float((a - b).abs().max()) if a.shape == b.shape and a.numel() else float(a.shape != b.shape)
        if not difference <= TOLERANCE:  # said so, NaN is refused too
            raise ExportError(
                f"export: {what} differ by {difference:.3g} after reloading (allowed are {TOLERANCE:g}); "
                "nothing was written"
            )
        largest = max(largest, difference)
    return largest


def _open_up(folder: Path) -> None:
    """Give every file the rights of those that Python makes (safetensors writes what its owner alone may read)."""
    mode = (folder / INFO).stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: is a file, choose another folder")
    if not any(folder.iterdir()):
        return
    # --overwrite replaces exports, never anyone's other files
    if not overwrite:
        raise RunError(f"{folder}: exists already; choose another folder with --out, or replace it with --overwrite")
    if not (folder / INFO).is_file():
        raise RunError(f"{folder}: holds files that are no export of mibias (no {INFO}), so it is not replaced")


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename; an export that is in the way is moved aside first and removed last."""
    aside = None
    if folder.exists():
        aside = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.old"
        folder.rename(aside)
    try:
        partial.rename(folder)
    except OSError:
        if aside is not None:
            with suppress(OSError):
                aside.rename(folder)
        raise
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
