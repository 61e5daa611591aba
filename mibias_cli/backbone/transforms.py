"""The transforms that a backbone asks for, made to work on float tensors so that 16-bit depth is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.transforms import CenterCrop, Normalize

from mibias_cli.backbone.catalogue import BUILT_IN, Backbone
from mibias_cli.backbone.timm_source import find_source, input_config
from mibias_cli.data.inputs import IDENTITY, Transforms

__all__ = ["ArrayTransform", "ImageTransform", "transforms_for", "transforms_of"]


def transforms_for(
    name: str,
    *,
    weights: str = "none",
    channels: int | None = None,
    input_size: int | None = None,
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
        return _unnormalised(channels or 3, input_size or 28)
    source = find_source(name, weights, offline=offline)
    return _from_config(input_config(source.pretrained_cfg, channels=channels, input_size=input_size), augment=augment)


def transforms_of(backbone: Backbone, *, augment: bool = False) -> Transforms:
    """The transforms of a backbone that is built already, such as a reloaded export; see `transforms_for`."""
    if backbone.kind == "mlp":
        return IDENTITY
    if backbone.kind == "digit_cnn":
        return _unnormalised(backbone.input_shape[0], backbone.input_shape[1])
    return _from_config(backbone.data_config, augment=augment)


def _unnormalised(channels: int, side: int) -> Transforms:
    fit = ArrayTransform(size=(side, side), mean=None, std=None)
    return Transforms(train=fit, evaluate=fit, arrays=fit, channels=channels, size=(side, side))


def _from_config(config: Mapping[str, Any], *, augment: bool) -> Transforms:
    n_channels, height, width = config["input_size"]
    arguments = {k: config[k] for k in ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")}
    evaluate = ImageTransform(_steps(create_transform(**arguments, is_training=False), config["mean"]))
    train = evaluate
    if augment:
        augmented = create_transform(**arguments, is_training=True, color_jitter=0.0)
        train = ImageTransform(_steps(augmented, config["mean"]))
    return Transforms(
        train=train,
        evaluate=evaluate,
        arrays=ArrayTransform(size=(height, width), mean=config["mean"], std=config["std"]),
        channels=n_channels,
        size=(height, width),
    )


class ImageTransform:
    """Steps on one image (C, H, W) in [0, 1], one after the other."""

    def __init__(self, steps: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self.steps = tuple(steps)

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def __repr__(self) -> str:
        return f"ImageTransform({', '.join(repr(step) for step in self.steps)})"


class ArrayTransform:
    """Resize to `size` (height, width) where needed, then normalise: images (n, C, H, W) or one (C, H, W) in [0, 1]."""

    def __init__(self, *, size: tuple[int, int], mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        self.size = size
        self.mean = None if mean is None else torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self.std = None if std is None else torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != self.size:
            batch = x if x.ndim == 4 else x[None]
            resized = interpolate(batch, self.size, mode="bilinear", align_corners=False, antialias=True)
            x = resized if x.ndim == 4 else resized[0]
        if self.mean is not None and self.std is not None:
            x = (x - self.mean.to(x)) / self.std.to(x)
        return x

    def __repr__(self) -> str:
        return f"ArrayTransform(size={self.size})"


class _Clamp:
    """Back to [0, 1] after bicubic interpolation, whose overshoot an 8-bit image would have lost too."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, 1.0)

    def __repr__(self) -> str:
        return "Clamp(0, 1)"


class _PadToSize:
    """Pad with the mean colour around the centre, then crop: timm's own fill is meant for 8-bit images."""

    def __init__(self, size: tuple[int, int], fill: Sequence[float]) -> None:
        self.size = size
        self.fill = tuple(fill)

    def __call__(self, x: Tensor) -> Tensor:
        missing = [max(want - have, 0) for want, have in zip(self.size, x.shape[-2:], strict=True)]
        top, left = missing[0] // 2, missing[1] // 2
        frame = (left, missing[1] - left, top, missing[0] - top)
        x = torch.stack([pad(channel, frame, value=value) for channel, value in zip(x, self.fill, strict=True)])
        return CenterCrop(self.size)(x)


def _steps(transform: Callable[[Tensor], Tensor], mean: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
    """timm's steps, with those replaced that suit 8-bit images alone."""
    steps: list[Callable[[Tensor], Tensor]] = []
    for step in getattr(transform, "transforms", [transform]):
        if isinstance(step, Normalize):
            steps.append(_Clamp())
        if isinstance(step, CenterCropOrPad):
            step = _PadToSize(tuple(step.size), mean)
        steps.append(step)
    return steps
