"""What a backbone asks of its inputs, as plain callables that the backbone makes and data sources apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["IDENTITY", "Transforms", "unchanged"]


def unchanged(x: Tensor) -> Tensor:
    """The input itself: where no transform is wanted."""
    return x


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """The transforms of one backbone; all must be picklable, because worker processes get them.

    Training without augmentation is said by `train == evaluate`: then readers of images in memory transform whole
    batches by `arrays`, which is many times faster than one image at a time.

    Args:
        train: Tensor (channels, H, W) in [0, 1] to the model's input, with augmentation; may draw from the global
            generators of `random`, numpy and torch (CPU), which readers seed for each sample and restore.
        evaluate: The same without augmentation; a function of its argument alone.
        arrays: `evaluate` for a whole batch (n, channels, H, W) at once.
        channels: 1 or 3: how many channels the images have that are passed in.
        size: (height, width) of the model's input, or None where any size goes.
    """

    train: Callable[[Tensor], Tensor]
    evaluate: Callable[[Tensor], Tensor]
    arrays: Callable[[Tensor], Tensor]
    channels: int = 3
    size: tuple[int, int] | None = None


IDENTITY = Transforms(train=unchanged, evaluate=unchanged, arrays=unchanged)
