"""The colour protocol of colour-biased digits: pure functions, and the data set of digits coloured as they are read.

Each digit has a mean colour. A biased image is the grey digit times a colour drawn around the mean of its own digit; an
audited image draws around the mean of a digit picked at random, so that there colour says nothing of the digit.

References:
    Kim et al., "Learning Not to Learn: Training Deep Neural Networks with Biased Data", arXiv 1812.10352 (protocol);
    Ragonesi et al., arXiv 2003.06430 (colour in 8 bins per channel as the bias attribute).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mibias_cli.data.annotations import SPLITS, Labels, assemble
from mibias_cli.data.batch import Attribute, BiasedData
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.data.inputs import Transforms, transformed
from mibias_cli.data.target import classes_target
from mibias_cli.errors import DataError

__all__ = [
    "COLOUR",
    "MEAN_COLOURS",
    "N_BINS",
    "ColouredReader",
    "channel_maxima",
    "colour_bins",
    "coloured_data",
    "colourise",
    "colours",
    "random_colours",
]


N_BINS = 8
"""Bins per channel of the attribute `colour` (arXiv 2003.06430)."""

MEAN_COLOURS: np.ndarray = (
    np.array(
        [
            (220, 20, 60),
            (0, 128, 128),
            (253, 233, 16),
            (0, 149, 182),
            (237, 145, 33),
            (145, 30, 188),
            (70, 240, 240),
            (250, 197, 187),
            (210, 245, 60),
            (128, 0, 0),
        ],
        dtype=np.float64,
    )
    / 255.0
)
"""Mean colour (10, 3) of each digit, in [0, 1] units."""

_BIN_NAMES = tuple(f"bin {k} ({k / N_BINS:g}-{(k + 1) / N_BINS:g})" for k in range(N_BINS))

COLOUR = Attribute(
    name="colour",
    kind="categorical",
    channels=("red", "green", "blue"),
    n_classes=(N_BINS,) * 3,
    class_names=(_BIN_NAMES,) * 3,
)
"""The attribute itself: three channels of eight bins."""


def colours(labels: np.ndarray, variance: float, generator: np.random.Generator) -> np.ndarray:
    """Colours (n, 3) float32 drawn from N(mean colour of the label, variance · I), clipped to [0, 1].

    Args:
        labels: Digits (n,), 0 to 9: the image's own for biased images.
        variance: σ² in [0, 1] units.
        generator: Source of the noise; the first m colours do not depend on how many follow.
    """
    # noise row by row, so that the first m colours do not depend on n
    noise = generator.standard_normal((len(labels), 3))
    return np.clip(MEAN_COLOURS[labels] + np.sqrt(variance) * noise, 0.0, 1.0).astype(np.float32)


def random_colours(n: int, variance: float, generator: np.random.Generator) -> np.ndarray:
    """Colours (n, 3) around the means of digits drawn uniformly: the audit's, which say nothing of the digit."""
    # means of random digits: the audit has the same colours as training, but they say nothing of the digit
    return colours(generator.integers(0, len(MEAN_COLOURS), n), variance, generator)


def colourise(grey: Tensor, colours: Tensor) -> Tensor:
    """Coloured images (n, 3, H, W): grey images (n, H, W) in [0, 1] times colours (n, 3), clipped to [0, 1]."""
    return (grey[:, None] * colours[:, :, None, None]).clamp_(0.0, 1.0)


def channel_maxima(grey: np.ndarray, colours: np.ndarray, peak: float) -> np.ndarray:
    """The maximum (n, 3) of each channel of grey images (n, H, W), 0 to peak, in their colours, without making them."""
    # all pixels of an image have one colour, so its brightest grey pixel has the maximum of every channel
    brightest = (grey.max(axis=(1, 2)).astype(np.float32) / np.float32(peak))[:, None]
    return np.clip(brightest * colours, 0.0, 1.0).astype(np.float32)


def colour_bins(maxima: np.ndarray) -> np.ndarray:
    """The attribute (n, 3) int64, 0 to 7: maxima (n, 3) of channels, or of images (n, 3, H, W), in bins of [0, 1].

    Example:
        >>> colour_bins(np.array([[0.0, 0.125, 1.0]])).tolist()
        [[0, 1, 7]]
    """
    # the maximum over pixels: the colour itself, where the digit is brightest
    if maxima.ndim == 4:
        maxima = maxima.max(axis=(2, 3))
    # 1.0 itself belongs to the last bin
    return np.minimum((maxima * N_BINS).astype(np.int64), N_BINS - 1)


@dataclass(frozen=True, kw_only=True)
class ColouredReader:
    """Reads coloured digits from bytes in memory, a whole batch at once.

    Colour is applied on reading: 60,000 digits take 47 MB as bytes, and 564 MB as coloured floats.

    Args:
        grey: Grey images (n, H, W) uint8, 0 to peak.
        colours: One colour per image (n, 3) float32.
        peak: The value of white: 255 for MNIST, 16 for scikit-learn's digits.
        size: Side to which images are resized (bilinear) before they are coloured, or None.
        transforms: What the backbone asks for.
        seed: Seed of augmentation.
    """

    grey: np.ndarray
    colours: np.ndarray
    peak: float
    size: int | None
    transforms: Transforms
    seed: int

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, …) of these rows; augmented as (seed, epoch, row) say where an epoch is given."""
        grey = torch.from_numpy(self.grey[rows]).float().div_(self.peak)
        # resized as grey images, with a third of the work: colouring multiplies each channel by a constant
        if self.size is not None and grey.shape[1:] != (self.size, self.size):
            # antialias is for shrinking alone: without it, pixels would be skipped
            shrinks = self.size < max(grey.shape[1:])
            grey = interpolate(grey[:, None], size=(self.size, self.size), mode="bilinear", antialias=shrinks)[:, 0]
        images = colourise(grey, torch.from_numpy(self.colours[rows]))
        if self.transforms.channels == 1:
            images = images.mean(dim=1, keepdim=True)
        if epoch is None or self.transforms.train == self.transforms.evaluate:
            return self.transforms.arrays(images)
        return torch.stack(transformed(images, rows, epoch, self.transforms, self.seed))


def coloured_data(reader: ColouredReader, digits: np.ndarray, role: np.ndarray) -> BiasedData:
    """The data set of a reader's images, with their digits (n,) int64 and the index in `SPLITS` of each (n,).

    Raises:
        DataError: A split is empty.
    """
    for name, n in zip(SPLITS, np.bincount(role, minlength=len(SPLITS)), strict=True):
        if not n:
            raise DataError(f"data: the {name} split is empty; give it a larger share of the {len(digits)} images")
    labels = Labels(
        role=role,
        y=digits,
        target=classes_target(tuple(str(digit) for digit in range(10))),
        # of the images before they are resized, so that `size` does not change the attribute
        c={COLOUR.name: colour_bins(channel_maxima(reader.grey, reader.colours, reader.peak))},
        known={COLOUR.name: np.ones(len(digits), dtype=bool)},
        attributes={COLOUR.name: COLOUR},
    )
    return assemble(
        labels,
        reader,
        row_names=[f"image {row}" for row in range(len(digits))],
        contents={"grey": reader.grey, "colours": reader.colours, "size": [str(reader.size)]},
        inputs=ImageRules(fills_frame=True),
    )
