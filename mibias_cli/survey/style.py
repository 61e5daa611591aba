"""Whether an attribute shows in the channel statistics of images: colours, brightness, contrast, a scanner's hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_score

from mibias_cli.data.files.images import BROKEN_IMAGE, Images, load_image
from mibias_cli.survey.layout import Layout

__all__ = ["shows_in_channels"]

_LOOKED_AT = 300
_FOLDS, _BINS = 5, 3
_ENOUGH = 0.7


def shows_in_channels(layout: Layout, attribute: str, *, continuous: bool) -> bool:
    """Whether trees tell an attribute of held-out images from the mean and deviation of their channels.

    They have to be right on seven tenths of what guessing the most frequent class leaves. Some hundred images are read;
    numbers count in thirds. Where images are too few to tell it is False.
    """
    images = layout.images
    if images is None:
        return False
    values = layout.table.columns[attribute]
    rows = [row for row in range(len(images)) if values[row] is not None]
    rows = rows[:: max(1, -(-len(rows) // _LOOKED_AT))]
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda row: _statistics(images, row), rows))
    found = [(values[row], one) for row, one in zip(rows, told, strict=True) if one is not None]
    if not found:
        return False
    c, x = np.array([value for value, _ in found]), np.stack([told for _, told in found])
    if continuous:
        numbers = c.astype(np.float64)
        c = np.digitize(numbers, np.quantile(numbers, np.arange(1, _BINS) / _BINS))
    classes, counts = np.unique(c, return_counts=True)
    # a class of fewer images is in no fold's training rows
    frequent = np.isin(c, classes[counts >= _FOLDS])
    c, x = c[frequent], x[frequent]
    if len(np.unique(c)) < 2:
        return False
    right = cross_val_score(ExtraTreesClassifier(100, random_state=0), x, c, cv=_FOLDS).mean()
    chance = counts.max() / frequent.sum()
    return bool(right >= chance + _ENOUGH * (1 - chance))


def _statistics(images: Images, row: int) -> np.ndarray | None:
    """Mean and deviation of each channel (6,); None where the image cannot be read, which loading will say."""
    try:
        pixels = load_image(images.source(row), 3)
    except BROKEN_IMAGE:
        return None
    return np.concatenate([pixels.mean((1, 2)).numpy(), pixels.std((1, 2)).numpy()])
