"""What would stop a run hours later, found before its first step: layers, metrics, the audited rows, files, formats."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch

from mibias_cli.backbone.extractor import evaluating
from mibias_cli.backbone.layers import layer_outputs
from mibias_cli.backbone.mix import StatisticsMixer
from mibias_cli.backbone.trainable import trains_batchnorm
from mibias_cli.errors import BackboneError, ExportError
from mibias_cli.export.onnx_file import ONNX_PACKAGES
from mibias_cli.methods.erasers.erase import eraser_fit
from mibias_cli.progress import Silent
from mibias_cli.run.assemble import Parts, load_original
from mibias_cli.run.audit import check_audit
from mibias_cli.run.before.files import check_files
from mibias_cli.run.build import optimizer_groups
from mibias_cli.run.debiaser import build_debiaser, check_varies
from mibias_cli.run.methods.build import build_method
from mibias_cli.run.stages import stage_settings
from mibias_cli.training.control.recycle import Recycler
from mibias_cli.training.model import TaskModel, z_width
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
    groups = optimizer_groups(recipe, model, settings)
    check_formats(recipe.export.formats)
    require_trackers(recipe.logging)
    # layers that the audit shows: that they are there, are called, and give tensors
    backbone = model.extractor.backbone
    with layer_outputs(backbone, recipe.evaluation.layers, "grid", setting="evaluation.layers"):
        width = z_width(model, data.input_shape)
    _check_trains(parts, model, some=bool(groups))
    _check_batches(parts)
    check_audit(parts)
    check_files(parts, everything=all_files)
    # an attribute that is still to be discovered has a name, but no values yet
    if recipe.discover is not None:
        return
    if recipe.original is not None and recipe.original.weights is not None:
        load_original(parts)
    build_method(parts, model, Silent())
    check_varies(parts)
    if recipe.debias.erase != "none":
        eraser_fit(recipe.debias.erase, parts.retained.data, parts.debiased, model.extractor.features_dim, recipe.seed)
    debiaser = build_debiaser(parts, width)
    if debiaser is None:
        return
    if recipe.debias.mix is not None:
        mixer = StatisticsMixer(backbone, **recipe.debias.mix.model_dump())
        # a pass through it: whether there is anything to mix shows in the layer's input
        with mixer.mixing(torch.arange(2), torch.Generator()):
            z_width(model, data.input_shape)
    if recipe.debias.recycle_every_steps is not None:
        Recycler(backbone, recipe.representation.layers, every_steps=recipe.debias.recycle_every_steps)
    if settings.select.metric is not None:
        weights = {**parts.weights.validation, **parts.bias_log_probabilities}
        check_metric(settings.select.metric, debiaser, weights, data.target.kind)


def _check_trains(parts: Parts, model: TaskModel, *, some: bool) -> None:
    """Raise where nothing learns, or where no penalty could change what it is of."""
    fix = "set backbone.train: all, or give it a representation.bottleneck"
    if not some:
        raise BackboneError(f"backbone.train: nothing of the extractor trains, nor is there a target's head; {fix}")
    recipe, section = parts.recipe, parts.debias
    # an eraser changes features whatever trains, and with a weight of 0 the rest of `debias` is what is asked for
    if section.estimator == "none" or section.erase != "none" or section.weight == 0:
        return
    with evaluating(model), torch.enable_grad():
        z = model(torch.zeros(2, *parts.data.input_shape))["z"]
    if not z.requires_grad:
        raise BackboneError(
            f"representation.layers: nothing that trains comes before {', '.join(recipe.representation.layers)}, so "
            f"that no penalty changes it; {fix}, or debias.estimator: none"
        )


def _check_batches(parts: Parts) -> None:
    """Raise where a rank would pass one sample by itself through a BatchNorm that has no statistics of it."""
    size, n, n_ranks = parts.recipe.training.batch_size, len(parts.data.train), parts.ranks.share.size
    # a last batch of one is joined to the one before it; on GPUs statistics are those of all ranks
    least = min(size, n) if n % size < 2 else n % size
    if least // n_ranks > 1 or (n_ranks > 1 and parts.fabric.device.type == "cuda"):
        return
    model = parts.new_model()
    optimizer_groups(parts.recipe, model, stage_settings(parts, "debias"))
    if not trains_batchnorm(model.train()):
        return
    try:
        model(torch.zeros(1, *parts.data.input_shape))
    except ValueError as error:
        raise BackboneError(
            f"training.batch_size: {size} leaves one sample by itself{'' if n_ranks == 1 else ' to a rank'}, of which "
            f"BatchNorm has no variance; set another one, or backbone.freeze_batchnorm: true ({error})"
        ) from error


def check_formats(formats: Sequence[str]) -> None:
    """Raise an ExportError where a format of the export needs packages that are not installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if "onnx" in formats and missing:
        raise ExportError(
            f"export.formats: onnx needs {', '.join(missing)}; pip install 'mibias[onnx]', or leave onnx out"
        )
