"""What a backbone asks of its inputs: transforms that the backbone makes and data sources apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mibias_cli.seeds import restored_global_generators, seed_global_generators

__all__ = ["IDENTITY", "Transforms", "transformed", "unchanged"]


def unchanged(x: Tensor) -> Tensor:
    """The input itself: where no transform is wanted."""
    return x


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """The transforms of one backbone; all must be picklable, because worker processes get them.

    `train == evaluate` means training without augmentation: readers of images in memory then transform whole batches by
    `arrays`, which is many times faster than one image at a time.

    Args:
        train: Tensor (channels, H, W) in [0, 1] to the model's input, with augmentation; may draw from the global
            generators of `random`, numpy and torch (CPU), which readers seed for each sample and restore.
        evaluate: The same without augmentation; a function of its argument alone.
        arrays: `evaluate` for a whole batch (n, channels, H, W) at once.
        channels: Image channels that are passed in.
        size: (height, width) of the model's input, or None where any size goes.
    """

    train: Callable[[Tensor], Tensor]
    evaluate: Callable[[Tensor], Tensor]
    arrays: Callable[[Tensor], Tensor]
    channels: int = 3
    size: tuple[int, int] | None = None


IDENTITY = Transforms(train=unchanged, evaluate=unchanged, arrays=unchanged)


def transformed(
    images: Iterable[Tensor], rows: np.ndarray, epoch: int | None, transforms: Transforms, seed: int
) -> list[Tensor]:
    """One image (channels, H, W) per row as inputs; augmentation is a function of (seed, epoch, row) alone.

    Without an epoch it is the evaluation transform. Inputs do not depend on batch order, on worker processes or on what
    was drawn before, and the global generators are left as they were.
    """
    inputs = []
    # the evaluation transform too: it should draw nothing, but only the scope makes sure of it
    with restored_global_generators():
        for image, row in zip(images, rows.tolist(), strict=True):
            if epoch is not None:
                seed_global_generators(seed, epoch, row)
            inputs.append(transforms.evaluate(image) if epoch is None else transforms.train(image))
    return inputs
