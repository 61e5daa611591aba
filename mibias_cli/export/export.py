"""Write an exported folder, reload it, and only then put it in place."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.weights.model_folder import load_by_timm, write_model_folder
from mibias_cli.data.input_rules import InputRules
from mibias_cli.errors import ExportError, RunError
from mibias_cli.export.folding import FOLDED_TOLERANCE, folded, relative_difference
from mibias_cli.export.heads_file import INFO, ExportInfo, info_of, what_weights_give, write_heads, write_info
from mibias_cli.export.load import load_export
from mibias_cli.export.model_card import model_card
from mibias_cli.export.onnx_file import ONNX_FILE, write_onnx
from mibias_cli.output.machine import writing
from mibias_cli.output.text import shown
from mibias_cli.output.whole_files import is_leftover, partial_of
from mibias_cli.progress import Progress, Silent
from mibias_cli.report.document import Report

__all__ = ["write_export"]

TOLERANCE = 1e-6
FORMATS = ("safetensors", "onnx")


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
    unfinished: str | None = None,
    inputs: InputRules | None = None,
    progress: Progress | None = None,
) -> ExportInfo:
    """Export an extractor: a folder that timm loads by itself, with heads, model card and report beside the weights.

    Everything is written to a hidden folder next to the wanted one, reloaded from there and compared; it takes its name
    only when features are the same, so that a folder of that name is always a whole and checked export.

    Args:
        folder: Where: a folder that does not exist yet, or an empty one; its parent is made if need be.
        extractor: Whose weights are exported, as float32.
        class_names: Names of the target's classes, labels or columns; empty where there is no target.
        layers: What was penalised (bottleneck and pool are the extractor's own).
        report_folder: A folder that is copied to `report/`, or None.
        sample_inputs: Inputs (n, …) on which features are compared.
        formats: safetensors (always written) and onnx.
        base_weights: What training started from, for the model card.
        erased: Attributes that the extractor's eraser takes away, where it has one.
        unfinished: What the run had not done yet; None: it had ended.
        inputs: How new data are read as the training data were.
        progress: Warned where ONNX cannot be written; the folder is then without it.

    Returns:
        What `mibias.json` says of the folder.

    Raises:
        RunError: The folder exists and is not empty.
        ExportError: What was written does not give the same features. Nothing is left behind.
    """
    _check(folder, formats)
    # copies: the caller's model keeps its device, precision and mode
    frozen = copy.deepcopy(extractor).to("cpu", torch.float32).eval()
    frozen_head = None if head is None else copy.deepcopy(head).to("cpu", torch.float32).eval()
    x = sample_inputs.detach().to("cpu", torch.float32)
    # behind the backbone there may be no more than timm's own classifier can hold
    whole = folded(backbone, frozen, x)
    info = info_of(
        backbone, frozen, frozen_head, class_names=class_names, layers=layers, base_weights=base_weights,
        erased=erased, folded=whole is not None, unfinished=unfinished, inputs=inputs,
    )  # fmt: skip
    # beside the wanted folder, so on the same file system: the last step is one rename
    partial = partial_of(folder)
    try:
        with writing(folder):
            partial.mkdir(parents=True)
            _write_weights(partial, backbone, whole or frozen.backbone, info)
            write_heads(frozen, frozen_head, partial)
            has_onnx = "onnx" in formats and _try_onnx(frozen, x, partial, progress or Silent())
            _write_card(partial, info, report, FORMATS if has_onnx else FORMATS[:1])
            if report_folder is not None:
                _copy_report(report_folder, partial / "report", progress or Silent())
            write_info(info, partial)
            # read back what was written, as its users will, before anything has the wanted name
            _reload_and_compare(partial, frozen, frozen_head, x)
            _put_in_place(partial, folder)
    except BaseException:  # Ctrl-C too: half an export is never left behind
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return info


def _try_onnx(extractor: Extractor, x: Tensor, folder: Path, progress: Progress) -> bool:
    """Whether model.onnx could be written, and gives the same features; else a warning, and no such file.

    The weights are what an export is for: a further format that fails takes nothing else with it.
    """
    try:
        write_onnx(extractor, x, folder)
    except ExportError as error:
        (folder / ONNX_FILE).unlink(missing_ok=True)
        progress.warn(f"{error}; everything else is exported")
        return False
    return True


def _copy_report(folder: Path, to: Path, progress: Progress) -> None:
    """Copy a report without what a kill left of one, and without links and devices: they name what is not the run's."""

    def not_shipped(place: str, names: list[str]) -> list[str]:
        foreign = [path for name in names if not _is_own(path := Path(place) / name)]
        for path in foreign:
            progress.warn(f"{path}: is a link or no plain file, and is not exported")
        return [*(name for name in names if is_leftover(name)), *(path.name for path in foreign)]

    shutil.copytree(folder, to, ignore=not_shipped)


def _is_own(path: Path) -> bool:
    return not path.is_symlink() and (path.is_file() or path.is_dir())


def _check(folder: Path, formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ExportError(f"export.formats: unknown format '{name}', choose from {', '.join(FORMATS)}")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: exists already; choose another folder with --out, or remove this one")


def _write_weights(folder: Path, backbone: Backbone, module: nn.Module, info: ExportInfo) -> None:
    about = {"debiased": info.alone_debiased, "gives": what_weights_give(info)}
    write_model_folder(backbone, module, folder, n_classes=info.features_dim if info.folded else 0, about=about)


def _write_card(folder: Path, info: ExportInfo, report: Report | None, formats: Sequence[str]) -> None:
    card = model_card(info, report=report, formats=tuple(formats))
    (folder / "README.md").write_text(shown(card), encoding="utf-8")


@torch.no_grad()
def _reload_and_compare(folder: Path, extractor: Extractor, head: nn.Module | None, x: Tensor) -> None:
    """Raise where pooled features, representation or logits differ between memory and what was written."""
    wanted = extractor(x)
    loaded = load_export(folder)
    given = loaded.extractor(x)
    pairs = [
        ("the backbone's features", wanted.backbone_features, given.backbone_features),
        ("the representation", wanted.features, given.features),
    ]
    # what users of timm will get, by its own reader
    if loaded.backbone.kind == "timm":
        alone = load_by_timm(folder)(extractor.filtered(x))
        if not loaded.info.folded:
            pairs.append(("the backbone's features", wanted.backbone_features, alone))
        elif not relative_difference(wanted.features, alone) <= FOLDED_TOLERANCE:
            raise ExportError("export: timm alone does not give the representation; nothing was written")
    if head is not None and loaded.head is not None:
        pairs.append(("the task head's logits", head(wanted.features), loaded.head(given.features)))
    for what, a, b in pairs:
        difference = float((a - b).abs().max()) if a.shape == b.shape and a.numel() else float(a.shape != b.shape)
        if not difference <= TOLERANCE:  # said so, NaN is refused too
            raise ExportError(
                f"export: {what} differ by {difference:.3g} after reloading (allowed are {TOLERANCE:g}); "
                "nothing was written"
            )


def _put_in_place(partial: Path, folder: Path) -> None:
    # safetensors writes files that their owner alone may read: give all the rights of mibias.json, which Python wrote
    mode = (partial / INFO).stat().st_mode & 0o777
    for path in partial.rglob("*"):
        if path.is_file():
            path.chmod(mode)
    # an empty folder of the wanted name gives way
    if folder.is_dir():
        folder.rmdir()
    partial.rename(folder)
