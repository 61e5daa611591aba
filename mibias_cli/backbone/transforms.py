"""The transforms that a backbone asks for, made to work on float tensors so that 16-bit depth is kept."""

from __future__ import annotations

from functools import partial

import torch
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad
from torchvision.transforms import Compose, Normalize, Resize

from mibias_cli.backbone.catalogue import BUILT_IN, Backbone
from mibias_cli.backbone.timm_config import InputConfig, InputSize, input_config, one_side
from mibias_cli.backbone.timm_source import find_source
from mibias_cli.data.inputs import IDENTITY, Transforms

__all__ = ["image_transforms", "transforms_for", "transforms_of"]


def transforms_for(
    name: str,
    *,
    weights: str = "none",
    channels: int | None = None,
    input_size: InputSize | None = None,
    augment: bool = False,
    offline: bool = False,
) -> Transforms:
    """The transforms of a backbone, without building it.

    `evaluate` is timm's evaluation transform of the model: resize, centre crop, normalise, with the interpolation, crop
    share, mean and std of its weights. `train` is the same, or with `augment` timm's random resized crop and
    horizontal flip; colours are left alone, because they may be the bias under study. `arrays` takes images of one
    size, such as digits, which fill their frame: it resizes (bilinear, antialiased) and normalises, and does not crop.
    `digit_cnn` gets its size and no normalisation, `mlp` its input as it is.

    Args:
        name, weights, channels, input_size, offline: As for :func:`mibias_cli.backbone.catalogue.create_backbone`.
        augment: Whether `train` augments.

    Raises:
        BackboneError: An unknown model, a missing folder, or no network where a hub's config is needed.

    Example:
        >>> transforms = transforms_for("test_resnet", channels=1, input_size=32)
        >>> transforms.arrays(torch.ones(4, 1, 8, 8)).shape, transforms.size
        (torch.Size([4, 1, 32, 32]), (32, 32))
    """
    if name == "mlp":
        return IDENTITY
    if name in BUILT_IN:
        side = one_side(name, input_size or 28)
        fit = Resize((side, side), antialias=True)
        return Transforms(train=fit, evaluate=fit, arrays=fit, channels=channels or 3, size=(side, side))
    source = find_source(name, weights, offline=offline)
    return image_transforms(
        input_config(source.pretrained_cfg, channels=channels, input_size=input_size), augment=augment
    )


def transforms_of(backbone: Backbone) -> Transforms:
    """The transforms of a backbone that was built, without augmentation; see `transforms_for`."""
    if backbone.kind == "timm":
        return image_transforms(backbone.data_config)
    channels, side = backbone.input_shape[0], backbone.input_shape[-1]
    return transforms_for(backbone.kind, channels=channels, input_size=side)


def image_transforms(config: InputConfig, *, augment: bool = False) -> Transforms:
    """The transforms that timm asks for in its own terms; see `transforms_for`."""
    n_channels, height, width = config["input_size"]
    evaluate = _on_floats(create_transform(**config, is_training=False))
    # the very same object where nothing is augmented: readers then transform whole batches by `arrays`
    train = _on_floats(create_transform(**config, is_training=True, color_jitter=0.0)) if augment else evaluate
    resize = Resize((height, width), antialias=True)
    return Transforms(
        train=train,
        evaluate=evaluate,
        arrays=Compose([resize, Normalize(torch.tensor(config["mean"]), torch.tensor(config["std"]))]),
        channels=n_channels,
        size=(height, width),
    )


def _on_floats(transform: Compose) -> Compose:
    """timm's steps, made to give on images in [0, 1] what they give on 8-bit ones, but without rounding."""
    steps: list[object] = []
    pad = None
    for step in transform.transforms:
        if isinstance(step, CenterCropOrPad):
            # timm's fill is the mean colour of an 8-bit image: pad after normalising instead, where that colour is 0
            pad = CenterCropOrPad(step.size)
            continue
        if isinstance(step, Normalize):
            # bicubic interpolation overshoots [0, 1]; an 8-bit image would have been cut off there
            steps.append(partial(torch.clamp, min=0.0, max=1.0))
        steps.append(step)
    return Compose([*steps, pad] if pad is not None else steps)
