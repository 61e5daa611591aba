"""A few small example images of every (y, c) cell of the audited split, for the report's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mibias_cli.data.batch import BiasedData
from mibias_cli.report.illustrations import ExampleCell, thumbnail

__all__ = ["MAX_IMAGES", "example_cells"]

MAX_IMAGES = 240
"""Of all cells together, so that the page is small enough for an e-mail."""
_SIDE = 64


def example_cells(
    data: BiasedData,
    channels: Mapping[str, str],
    *,
    n: int,
    data_config: Mapping[str, object],
    seed: int,
    least: int = 0,
) -> tuple[ExampleCell, ...]:
    """Up to `n` images of each cell of target and attribute, as the extractor sees them.

    Images are drawn from the audited split; rows that are no images have none. `channels` is by attribute. Cells of
    fewer than `least` samples are left out, and beyond MAX_IMAGES those with fewest; the normalisation that
    `data_config` says is undone.
    """
    if len(data.input_shape) != 3 or n < 1:
        return ()
    # the cells with most samples are kept, and shown in the order of their names
    rng = np.random.default_rng(seed)
    cells = sorted(_cells(data, channels, n, rng), key=lambda cell: -cell[1])
    kept = [cell for cell in cells if cell[1] >= least][: max(1, MAX_IMAGES // n)]
    return tuple(
        ExampleCell(
            attribute=attribute, channel=channel, y=y, c=c, media_type="image/jpeg", side=_SIDE,
            images=tuple(_encoded(x) for x in _inputs(data, rows, data_config)),
        )
        for (attribute, channel, y, c), _, rows in sorted(kept, key=lambda cell: cell[0])
    )  # fmt: skip


def _cells(
    data: BiasedData, channels: Mapping[str, str], n: int, rng: np.random.Generator
) -> Iterator[tuple[tuple[str, str, str, str], int, np.ndarray]]:
    """Name, size and drawn rows of every cell that is not empty."""
    split = data.audit
    for name, attribute in data.attributes.items():
        k = attribute.channels.index(channels[name])
        classes = attribute.classes(split.c[name])[:, k]
        for y, y_name in enumerate(data.class_names):
            for c, c_name in enumerate(attribute.class_names[k]):
                rows = np.flatnonzero(split.known[name] & (split.strata == y) & (classes == c))
                if len(rows):
                    drawn = np.sort(rng.choice(rows, size=min(n, len(rows)), replace=False))
                    yield (name, attribute.channels[k], y_name, c_name), len(rows), drawn


def _inputs(data: BiasedData, rows: np.ndarray, config: Mapping[str, object]) -> Tensor:
    """Images (n, C, H, W) in [0, 1]."""
    # normalisation is undone, so that people see what the camera saw
    x = data.audit.reader.read(data.audit.rows[rows], None).float()
    mean, std = config.get("mean"), config.get("std")
    if mean is not None and std is not None:
        x = x * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    return x.clamp(0, 1)


def _encoded(x: Tensor) -> bytes:
    pixels = (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    # of more channels than colour has, the first three
    return thumbnail(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]), _SIDE)
