"""A backbone as a folder that timm loads by itself: model.safetensors and config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.timm_config import CONFIG, LOCAL
from mibias_cli.errors import BackboneError

__all__ = ["WEIGHTS", "load_by_timm", "portable_state", "write_model_folder"]

WEIGHTS = "model.safetensors"
# where the base weights came from, and what is true of them or of their classifier alone
_LEFT_OUT = (
    *("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "custom_load", "architecture"),
    *("label_offset", "label_names", "label_descriptions", "pool_size"),
    *("test_input_size", "min_input_size", "test_crop_pct", "test_pool_size"),
)


def write_model_folder(
    backbone: Backbone,
    module: nn.Module,
    folder: Path,
    *,
    n_classes: int = 0,
    about: Mapping[str, object] | None = None,
) -> None:
    """Write the weights of `module`, an instance of this backbone, so that it can be built again without mibias.

    A timm model's folder loads with `timm.create_model("local-dir:FOLDER", pretrained=True)` in timm 1.0.29 or later
    and then gives pooled features, or what a classifier of `n_classes` outputs makes of them. The config is written
    here and not by timm's helper, which is private and differs between versions. `digit_cnn` and `mlp` get a config of
    the same outline that timm refuses.

    The folder exists already; tensors of floating point become float32. `about` stands in the config as `mibias`, which
    timm passes over.

    Raises:
        BackboneError: An option of the model that JSON cannot hold.
    """
    save_file(portable_state(module), folder / WEIGHTS, metadata={"format": "pt"})
    config: dict[str, object] = {
        "architecture": backbone.architecture,
        "num_classes": n_classes,
        "num_features": backbone.n_features,
        **({"mibias": about} if about else {}),
    }
    if backbone.kind == "timm":
        config |= {"model_args": backbone.arguments, "pretrained_cfg": _pretrained_cfg(backbone, n_classes)}
    else:
        config |= {"library": "mibias", "arguments": backbone.arguments, "input_shape": list(backbone.input_shape)}
    try:
        text = json.dumps(config, indent=2)
    except TypeError as error:
        raise BackboneError(f"backbone {backbone.name}: an option cannot be written to {CONFIG} ({error})") from error
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_by_timm(folder: Path) -> nn.Module:
    """What timm alone makes of an exported folder, in evaluation mode, as its users will; or a BackboneError."""
    try:
        return timm.create_model(f"{LOCAL}{folder}", pretrained=True).eval()
    except Exception as error:  # what timm raises differs between its versions
        raise BackboneError(
            f"{folder}: timm {timm.__version__} cannot load it ({type(error).__name__}: {error}); "
            f"timm before 1.0.29 reads no folder that holds other weights beside {WEIGHTS}; update timm"
        ) from error


def portable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's state dict on the CPU, in float32, each tensor in its own memory as safetensors demands."""
    return {
        name: (t.detach().to("cpu", torch.float32) if t.is_floating_point() else t.detach().cpu()).clone().contiguous()
        for name, t in module.state_dict().items()
    }


def _pretrained_cfg(backbone: Backbone, n_classes: int) -> dict[str, object]:
    """timm's description of the weights, made true of these: their input, and their own classifier or none."""
    cfg = {k: v for k, v in backbone.pretrained_cfg.items() if k not in _LEFT_OUT and v is not None}
    # built so, the model takes any size: timm must not hold it to the one it was trained with
    if backbone.arguments.get("dynamic_img_size") or backbone.arguments.get("strict_img_size") is False:
        cfg["fixed_input_size"] = False
    # weights drawn at random have no licence, whatever timm says of those it knows
    licence = {"license": backbone.licence} if backbone.licence else {}
    if not licence:
        cfg.pop("license", None)
    return {**cfg, **backbone.data_config, **licence, "num_classes": n_classes, "pool_size": None}
