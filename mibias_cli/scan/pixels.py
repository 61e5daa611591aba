"""What an image looks like in a few numbers, chosen so that changing one of them leaves the others nearly alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from mibias_cli.data.files.images import load_image

__all__ = ["colour_view", "looks"]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_DARK = 0.1
_LEAST_COLOUR = 0.02
"""Saturation below which an image is grey, and its hue would be that of noise."""
_TINY = 1e-6


def looks(pixels: np.ndarray) -> dict[str, float | None]:
    """Blur, brightness, darkness, contrast, colourfulness and hue of an image (3, H, W) with values from 0 to 1.

    - brightness: mean luminance. darkness: share of pixels that are nearly black.
    - contrast: deviation of the luminance by its mean, which making an image darker does not change.
    - blur: log10 of the luminance's variance by that of its Laplacian: neither brightness nor contrast changes it.
    - colourfulness: saturation, weighted by how bright pixels are.
    - hue: the mean direction of colour in degrees (red 0, green 120, blue 240), weighted by saturation; None for grey.

    References: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000), for the Laplacian.

    Example:
        >>> grey = looks(np.full((3, 8, 8), 0.5, dtype=np.float32))
        >>> grey["brightness"], grey["colourfulness"], grey["hue"]
        (0.5, 0.0, None)
    """
    luminance = np.tensordot(_LUMA, pixels, axes=1)
    mean, variance = float(luminance.mean()), float(luminance.var())
    largest, smallest = pixels.max(axis=0), pixels.min(axis=0)
    saturation = float((largest - smallest).sum() / max(float(largest.sum()), _TINY))
    return {
        "blur": float(np.log10((variance + _TINY) / (_laplacian(luminance).var() + _TINY))),
        "brightness": round(mean, 6),
        "darkness": float((luminance < _DARK).mean()),
        "contrast": float(np.sqrt(variance) / max(mean, _TINY)),
        "colourfulness": saturation,
        "hue": _hue(pixels) if saturation >= _LEAST_COLOUR else None,
    }


def colour_view(path: Path | str) -> Tensor:
    """An image file as people can see it (3, H, W) in [0, 1]: of more channels the first three, of two the first.

    Raises:
        DataError, OSError, ValueError, …: As of `load_image`.
    """
    pixels = load_image(path, None)
    return pixels[:3] if pixels.shape[0] >= 3 else pixels[:1].repeat(3, 1, 1)


def _laplacian(grey: np.ndarray) -> np.ndarray:
    """Differences of each inner pixel from its four neighbours; zeros for an image too small to have any."""
    if min(grey.shape) < 3:
        return np.zeros(1)
    return 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]


def _hue(pixels: np.ndarray) -> float:
    """The angle of the mean colour in the plane of hues, where red, green and blue are 120 degrees apart."""
    red, green, blue = pixels.mean(axis=(1, 2))
    return float(np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360)
