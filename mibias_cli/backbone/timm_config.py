"""How timm describes a model's weights and inputs, and the config.json of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from timm.data import resolve_data_config

from mibias_cli.errors import BackboneError

__all__ = [
    "CONFIG", "HUB", "LOCAL", "InputConfig", "InputSize", "PretrainedConfig", "input_config", "one_side", "read_config",
]  # fmt: skip

CONFIG, LOCAL, HUB = "config.json", "local-dir:", "hf-hub:"


class InputConfig(TypedDict, total=False):
    """What a timm model asks of its inputs, under timm's names; digit_cnn has an input_size alone, mlp nothing."""

    input_size: tuple[int, int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str


class PretrainedConfig(InputConfig, total=False):
    """timm's description of weights (`pretrained_cfg`), as far as mibias reads it."""

    license: str | None
    hf_hub_id: str | None
    hf_hub_filename: str | None
    url: str | None
    file: str | None
    custom_load: bool
    fixed_input_size: bool


InputSize: TypeAlias = int | tuple[int, int]
"""Side of a square input in pixels, or height and width."""


def one_side(name: str, input_size: InputSize) -> int:
    """The side of a square input; a BackboneError for height and width."""
    if isinstance(input_size, int):
        return input_size
    raise BackboneError(f"backbone {name}: takes square inputs; set backbone.input_size to one side")


def input_config(
    pretrained_cfg: PretrainedConfig, *, channels: int | None, input_size: InputSize | None
) -> InputConfig:
    """What a timm model asks of its inputs: input_size (C, H, W), interpolation, mean, std, crop_pct, crop_mode.

    With another number of image channels than timm's, mean and std are their means over timm's channels, as in timm.
    """
    try:
        # timm refuses an empty description without a size: say its own default
        config = resolve_data_config({} if pretrained_cfg else {"img_size": 224}, pretrained_cfg=dict(pretrained_cfg))
        c, height, width = config["input_size"]
        c = channels or c
        if input_size is not None:
            height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        fitted: InputConfig = {**config, "input_size": (c, height, width)}
        for key in ("mean", "std"):
            values = tuple(float(v) for v in config[key])
            fitted[key] = values if len(values) == c else (sum(values) / len(values),) * c
    except (TypeError, ValueError, AttributeError, AssertionError, KeyError, ZeroDivisionError) as error:
        raise BackboneError(
            f"the model's description of its inputs cannot be used ({type(error).__name__}: {error}); mend {CONFIG}"
        ) from error
    return fitted


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder, timm's or our own; a BackboneError where none can be read."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise BackboneError(f"{LOCAL}{folder}: this folder does not exist")
    if not path.is_file():
        raise BackboneError(
            f"{LOCAL}{folder}: no {CONFIG} in it; for bare weights set backbone.weights to the file itself"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{path}: not a timm config ({type(error).__name__}: {error})") from error
    if not isinstance(config, dict):
        raise BackboneError(f"{path}: not a timm config (a JSON object is expected)")
    return config
