"""Grey digits in memory that are coloured as they are read, and the data set made of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mibias_cli.data.annotations import SPLITS, Labels, assemble
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.inputs import Transforms, transformed
from mibias_cli.data.sources.colour import COLOUR, channel_maxima, colour_bins, colourise
from mibias_cli.data.target import classes_target
from mibias_cli.errors import DataError

__all__ = ["ColouredReader", "coloured_data"]


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

    def __init__(
        self, grey: np.ndarray, colours: np.ndarray, *, peak: float, size: int | None, transforms: Transforms, seed: int
    ) -> None:
        self._grey = torch.from_numpy(np.require(grey, requirements=["C", "W"]))
        self._colours = torch.from_numpy(np.require(colours, requirements=["C", "W"]))
        self._peak = peak
        self._size = size
        self._transforms = transforms
        self._seed = seed

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, …) of these rows; augmented as (seed, epoch, row) say where an epoch is given."""
        images = self._coloured(torch.tensor(rows, dtype=torch.int64))
        if epoch is None or self._transforms.train == self._transforms.evaluate:
            return self._transforms.arrays(images)
        return torch.stack(transformed(images, rows, epoch, self._transforms, self._seed))

    def _coloured(self, rows: Tensor) -> Tensor:
        grey = self._grey[rows].float().div_(self._peak)
        # resized as grey images, with a third of the work: colouring multiplies each channel by a constant
        if self._size is not None and grey.shape[1:] != (self._size, self._size):
            # antialias is for shrinking alone: without it, pixels would be skipped
            shrinks = self._size < max(grey.shape[1:])
            grey = interpolate(grey[:, None], size=(self._size, self._size), mode="bilinear", antialias=shrinks)[:, 0]
        images = colourise(grey, self._colours[rows])
        return images.mean(dim=1, keepdim=True) if self._transforms.channels == 1 else images


def coloured_data(
    *,
    grey: np.ndarray,
    colours: np.ndarray,
    digits: np.ndarray,
    role: np.ndarray,
    peak: float,
    size: int | None,
    transforms: Transforms,
    seed: int,
) -> BiasedData:
    """The data set of coloured digits.

    Args:
        grey: Grey images (n, H, W) uint8.
        colours: Their colours (n, 3).
        digits: Their digits (n,) int64.
        role: Index in `SPLITS` of each image (n,).
        peak, size, transforms, seed: As for `ColouredReader`.

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
        c={COLOUR.name: colour_bins(channel_maxima(grey, colours, peak))},
        known={COLOUR.name: np.ones(len(digits), dtype=bool)},
        attributes={COLOUR.name: COLOUR},
    )
    return assemble(
        labels,
        ColouredReader(grey, colours, peak=peak, size=size, transforms=transforms, seed=seed),
        row_names=[f"image {row}" for row in range(len(digits))],
        contents={"grey": grey, "colours": colours, "size": [str(size)]},
    )
