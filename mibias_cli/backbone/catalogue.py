"""Any backbone by its name: timm's models, the paper's digit network, an MLP."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mibias_cli.backbone.digit_cnn import DigitCNN
from mibias_cli.backbone.extractor import evaluating
from mibias_cli.backbone.mlp import MLP
from mibias_cli.backbone.timm_config import HUB, LOCAL, InputConfig, InputSize, PretrainedConfig, input_config, one_side
from mibias_cli.backbone.timm_source import build_timm, find_source
from mibias_cli.backbone.weights.matching import LoadReport, load_weights
from mibias_cli.backbone.weights.state_files import weights_file_of
from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["BUILT_IN", "Backbone", "build_built_in", "create_backbone"]

MAX_WIDTH = 65_536
"""Widest layer of the networks below: what is wider is a slip of the hand, and ends in no memory."""
BUILT_IN: dict[str, type[nn.Module]] = {"digit_cnn": DigitCNN, "mlp": MLP}
"""Networks beside timm's, by name."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A feature extractor and what is needed to build, feed and describe it.

    Args:
        name: As the recipe names it.
        module: Its forward gives pooled features (n, n_features).
        architecture: timm's name of the architecture without a tag, or the kind.
        arguments: Keyword arguments with which timm or the built-in class builds it again.
        input_shape: Shape of one input, (C, H, W) or (n_inputs,).
        data_config: What it asks of images: input_size, interpolation, mean, std, crop_pct, crop_mode; else empty.
        pretrained_cfg: timm's description of the weights, or empty.
        licence: Licence of the base weights, or None where it is unknown.
        load_report: What became of the tensors of a weights file, or None where none was read.
    """

    name: str
    kind: Literal["timm", "digit_cnn", "mlp"]
    module: nn.Module
    n_features: int
    architecture: str
    arguments: dict[str, object]
    input_shape: tuple[int, ...]
    data_config: InputConfig
    pretrained_cfg: PretrainedConfig
    licence: str | None
    load_report: LoadReport | None


def create_backbone(
    name: str,
    *,
    weights: str = "none",
    options: Mapping[str, object] | None = None,
    channels: int | None = None,
    input_size: InputSize | None = None,
    input_shape: tuple[int, ...] | None = None,
    offline: bool = False,
    seed: int = 0,
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        name: A timm model (with or without a tag), `digit_cnn`, `mlp`, or local-dir:FOLDER or hf-hub:ORG/MODEL alone.
        weights: none, pretrained, a weights file, local-dir:FOLDER or hf-hub:ORG/MODEL.
        channels: Image channels of the input; None: what the model asks for.
        input_size: Side of the input in pixels, or height and width; None: what the model asks for.
        input_shape: Shape of one input; needed for an MLP, (n_inputs,).
        offline: Fetch nothing; what is in the cache may be used.
        seed: Seed of weights that are drawn at random; torch's own generator is left as it was.

    Raises:
        BackboneError: An unknown name, option or size, or weights that cannot be had or do not fit.

    Example:
        >>> create_backbone("digit_cnn", options={"width": 4, "hidden": 16, "features": 8}).n_features
        8
    """
    # an empty shape: nothing is known of the inputs yet
    if name != "mlp" and input_shape and len(input_shape) != 3:
        raise BackboneError(
            f"backbone {name}: takes images, and the data are rows of {input_shape[0]} numbers; set backbone.name: mlp"
        )
    if name in BUILT_IN:
        side = one_side(name, input_size or 28)
        return _built_in(name, weights, options or {}, (channels or 3, side), input_shape, seed)
    source = find_source(name, weights, offline=offline)
    module, arguments, report = build_timm(
        source, options=options or {}, channels=channels, input_size=input_size, offline=offline, seed=seed
    )
    data_config = input_config(source.pretrained_cfg, channels=channels, input_size=input_size)
    shape = data_config["input_size"]
    own = input_config(source.pretrained_cfg, channels=channels, input_size=None)["input_size"]
    return Backbone(
        name=source.name,
        kind="timm",
        module=module,
        n_features=_width(source.name, module, shape, own=own),
        architecture=source.architecture,
        arguments=arguments,
        input_shape=shape,
        data_config=data_config,
        pretrained_cfg=source.pretrained_cfg,
        licence=source.licence,
        load_report=report,
    )


def _built_in(
    name: str,
    weights: str,
    options: Mapping[str, object],
    image: tuple[int, int],
    input_shape: tuple[int, ...] | None,
    seed: int,
) -> Backbone:
    if weights == "pretrained" or weights.startswith(HUB):
        raise BackboneError(
            f"backbone {name}: has no pretrained weights; set weights to none, a file or local-dir:FOLDER"
        )
    if name == "mlp":
        if input_shape is None or len(input_shape) != 1:
            raise BackboneError(f"backbone mlp: takes vectors, the data give inputs of shape {input_shape}")
        arguments: dict[str, object] = {"n_inputs": input_shape[0], **options}
    else:
        arguments = {"channels": image[0], "size": image[1], **options}
    module = build_built_in(name, arguments, seed=seed)
    data_config: InputConfig = {}
    shape = input_shape or ()
    if isinstance(module, DigitCNN):
        # read off the module: the options of an exported folder name channels and size themselves
        shape = data_config["input_size"] = (module.conv1.in_channels, module.size, module.size)
    report = None
    if weights != "none":
        path = Path(weights.removeprefix(LOCAL))
        report = load_weights(module, weights_file_of(path) if weights.startswith(LOCAL) else path)
    return Backbone(
        name=name,
        kind="mlp" if name == "mlp" else "digit_cnn",
        module=module,
        n_features=_width(name, module, shape),
        architecture=name,
        arguments=arguments,
        input_shape=shape,
        data_config=data_config,
        pretrained_cfg={},
        licence=None,
        load_report=report,
    )


def build_built_in(name: str, arguments: Mapping[str, object], *, seed: int = 0) -> nn.Module:
    """A network of `BUILT_IN`, drawn from a seed; a BackboneError for an option or value that it cannot have."""
    known = list(inspect.signature(BUILT_IN[name]).parameters)
    for key in arguments:
        if key not in known:
            raise BackboneError(
                f"backbone.options.{key}: {name} has no such option{did_you_mean(key, known)}; "
                f"it has {', '.join(known)}"
            )
    for key, value in arguments.items():
        widths = [width for width in (value if isinstance(value, list) else [value]) if isinstance(width, int)]
        if max(widths, default=0) > MAX_WIDTH:
            raise BackboneError(
                f"backbone.options.{key}: {max(widths):,} is too much, a layer has at most {MAX_WIDTH:,}"
            )
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        try:
            return BUILT_IN[name](**arguments)
        except (TypeError, ValueError) as error:
            raise BackboneError(f"backbone {name}: {error}") from error


def _width(name: str, module: nn.Module, shape: tuple[int, ...], *, own: tuple[int, ...] = ()) -> int:
    """Width of the pooled features, found by a forward pass that leaves no trace."""
    parameter = next(module.parameters(), None)
    x = torch.zeros(1, *shape, dtype=torch.float32 if parameter is None else parameter.dtype)
    try:
        with evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
            features = module(x)
    except Exception as error:  # whatever a model raises about a size that does not suit it
        suited = f", such as its own [{own[1]}, {own[2]}]" if own and own != shape else ""
        raise BackboneError(
            f"backbone {name}: fails on an input of shape {shape}; try another backbone.input_size{suited} "
            f"({type(error).__name__}: {error})"
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise BackboneError(
            f"backbone {name}: gives {got} for one image, pooled features (1, d) are needed; "
            "remove a global_pool option that switches pooling off, or choose another model"
        )
    return int(features.shape[1])
