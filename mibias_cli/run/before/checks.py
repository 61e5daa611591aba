"""What would stop a run hours later, found before its first step: layers, metrics, the audited rows, files, formats."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch

from mibias_cli.backbone.layers import layer_outputs
from mibias_cli.backbone.mix import StatisticsMixer
from mibias_cli.errors import ExportError
from mibias_cli.export.onnx_file import ONNX_PACKAGES
from mibias_cli.progress import Silent
from mibias_cli.run.assemble import Parts, load_original
from mibias_cli.run.audit import check_audit
from mibias_cli.run.before.files import check_files
from mibias_cli.run.build import optimizer_groups
from mibias_cli.run.debiaser import build_debiaser, check_varies
from mibias_cli.run.methods.build import build_method
from mibias_cli.run.stages import stage_settings
from mibias_cli.training.model import z_width
from mibias_cli.training.trackers.tracker import require_trackers
from mibias_cli.training.validate import check_metric

__all__ = ["check_start"]


def check_start(parts: Parts, *, all_files: bool = False) -> None:
    """Raise what the stages, the audit and the export would of a recipe that does not fit its data or its backbone.

    So a run's folder is not claimed, and no run replaced, for a misspelt layer, a constant attribute or a broken image.

    Args:
        all_files: Whether every image of every split is read, and not some of those that are audited.

    Raises:
        MibiasError: Whatever it is.
    """
    recipe, data, model = parts.recipe, parts.data, parts.new_model()
    settings = stage_settings(parts, "debias")
    optimizer_groups(recipe, model, settings)
    check_formats(recipe.export.formats)
    require_trackers(recipe.logging)
    # layers that the audit shows: that they are there, are called, and give tensors
    backbone = model.extractor.backbone
    with layer_outputs(backbone, recipe.evaluation.layers, "grid", setting="evaluation.layers"):
        width = z_width(model, data.input_shape)
    check_audit(parts)
    check_files(parts, everything=all_files)
    # an attribute that is still to be discovered has a name, but no values yet
    if recipe.discover is not None:
        return
    if recipe.original is not None and recipe.original.weights is not None:
        load_original(parts)
    build_method(parts, model, Silent())
    check_varies(parts)
    debiaser = build_debiaser(parts, width)
    if debiaser is None:
        return
    if recipe.debias.mix is not None:
        mixer = StatisticsMixer(backbone, **recipe.debias.mix.model_dump())
        # a pass through it: whether there is anything to mix shows in the layer's input
        with mixer.mixing(torch.arange(2), torch.Generator()):
            z_width(model, data.input_shape)
    if settings.select.metric is not None:
        weights = {**parts.weights.validation, **parts.bias_log_probabilities}
        check_metric(settings.select.metric, debiaser, weights, data.target.kind)


def check_formats(formats: Sequence[str]) -> None:
    """Raise an ExportError where a format of the export needs packages that are not installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if "onnx" in formats and missing:
        raise ExportError(
            f"export.formats: onnx needs {', '.join(missing)}; pip install 'mibias[onnx]', or leave onnx out"
        )
