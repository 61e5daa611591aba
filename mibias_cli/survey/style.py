"""Whether an attribute shows in the channel statistics of images: colours, brightness, contrast, a scanner's hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_score

from mibias_cli.data.files.images import BROKEN_IMAGE, Images, load_image
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.survey.layout import Layout

__all__ = ["darkness_note", "shows_in_channels"]

_LOOKED_AT = 300
_SIDE = 64
"""Large JPEGs are decoded at a fraction of their size: statistics of a photograph need no more pixels."""
_FEW, _DARK = 16, 1 / 12
_FOLDS, _BINS = 5, 3
_ENOUGH, _TOO_MUCH = 0.7, 0.5


def darkness_note(images: Images) -> str | None:
    """A note where some images are nearly black, as masks of 0 and 1 are, and 12 bits that are stored in 16."""
    dark, n = list[str](), 0
    for row in range(0, len(images), max(1, len(images) // _FEW)):
        with suppress(*BROKEN_IMAGE):
            dark += [images.place(row)] if load_image(images.source(row), None, least_side=_SIDE).max() < _DARK else []
            n += 1
    if 4 * len(dark) < max(n, 1):
        return None
    return (
        f"{len(dark)} of {n} images looked at hold no value above a twelfth of the largest there can be, so that a "
        f"model sees them nearly black ({first_rows(dark, 2)}): are they masks, or 12 bits in 16? Multiply them"
    )


def shows_in_channels(layout: Layout, attributes: Mapping[str, bool], target: str, channels: int = 3) -> bool:
    """Whether trees tell attributes of held-out images, not the target, from the mean and deviation of their channels.

    They have to be right on seven tenths of what guessing the most frequent class leaves; of the target on no more than
    half of what the attributes leave, or it would be style itself. Some hundred images are read; numbers count in
    thirds. Where images are too few to tell it is False.

    Args:
        attributes: By column, whether its values are numbers.
        target: The target's column.
        channels: Of each image.
    """
    images, columns = layout.images, layout.table.columns
    if images is None or not attributes:
        return False
    rows = [row for row in range(len(images)) if all(columns[name][row] is not None for name in attributes)]
    rows = rows[:: max(1, -(-len(rows) // _LOOKED_AT))]
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda row: _statistics(images, row, channels), rows))
    found = [(row, one) for row, one in zip(rows, told, strict=True) if one is not None]
    if not found:
        return False
    rows, x = [row for row, _ in found], np.stack([told for _, told in found])
    y = _classes([columns[target][row] for row in rows], continuous=False)
    cs = [_classes([columns[name][row] for row in rows], continuous=numbers) for name, numbers in attributes.items()]
    if any(_told(x, c, np.zeros_like(c)) < _ENOUGH for c in cs):
        return False
    return _told(x, y, np.unique(cs, axis=1, return_inverse=True)[1].reshape(-1)) <= _TOO_MUCH


def _classes(values: Sequence[object], *, continuous: bool) -> np.ndarray:
    """Class numbers (n,) of the values of a column."""
    if not continuous:
        return np.unique([str(value) for value in values], return_inverse=True)[1]
    numbers = np.array(values).astype(np.float64)
    return np.digitize(numbers, np.quantile(numbers, np.arange(1, _BINS) / _BINS))


def _told(x: np.ndarray, c: np.ndarray, group: np.ndarray) -> float:
    """What trees tell of classes c (n,) from x, as a share of what guessing each group's most frequent one leaves."""
    # a class of fewer images is in no fold's training rows
    frequent = np.isin(c, np.flatnonzero(np.bincount(c) >= _FOLDS))
    x, c, group = x[frequent], c[frequent], group[frequent]
    if len(np.unique(c)) < 2:
        return 0.0
    guessed = sum(np.bincount(c[group == one]).max() for one in np.unique(group)) / len(c)
    if guessed == 1:
        return 0.0
    right = cross_val_score(ExtraTreesClassifier(100, random_state=0), x, c, cv=_FOLDS).mean()
    return float((right - guessed) / (1 - guessed))


def _statistics(images: Images, row: int, channels: int) -> np.ndarray | None:
    """Mean and deviation of each channel, side by side; None where the image cannot be read, which loading will say."""
    try:
        pixels = load_image(images.source(row), channels, least_side=_SIDE)
    except BROKEN_IMAGE:
        return None
    return np.concatenate([pixels.mean((1, 2)).numpy(), pixels.std((1, 2)).numpy()])
