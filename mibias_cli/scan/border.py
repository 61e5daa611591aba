"""The frame around an image: bars, margins and drawn borders of one colour, the same on opposite sides."""

from __future__ import annotations

import numpy as np

__all__ = ["frame_widths"]

_SAME = 20.0
"""Grey levels of 255 within which pixels are of one colour: JPEG leaves a frame's colour uneven."""
_FLAT = 0.95
"""Share of a line's pixels that are of one colour where the line is part of a frame."""
_EDGE = 0.6
"""Share of a line's pixels that change where a frame ends; a plain background meets what is on it at few pixels."""
_WIDEST = 0.45


def frame_widths(pixels: np.ndarray) -> tuple[int, int]:
    """Width in pixels of the frame at top and bottom, and at left and right; 0 where there is none.

    A frame is of one colour, as wide on opposite sides, and ends abruptly along its length: so a plain background
    around an object, or a gradient, is none. `pixels` are grey levels (H, W) from 0 to 255.

    Example:
        >>> inside = np.random.default_rng(0).uniform(60, 255, (20, 20))
        >>> frame_widths(np.pad(inside, 3)), frame_widths(np.pad(inside, ((4, 4), (0, 0)))), frame_widths(inside)
        ((3, 3), (4, 0), (0, 0))
    """
    # widths first, then the edges: an edge is looked for between the frame's other two sides
    vertical = min(_flat_lines(pixels), _flat_lines(pixels[::-1]))
    horizontal = min(_flat_lines(pixels.T), _flat_lines(pixels.T[::-1]))
    has_rows = _ends(pixels, vertical, horizontal) and _ends(pixels[::-1], vertical, horizontal)
    has_columns = _ends(pixels.T, horizontal, vertical) and _ends(pixels.T[::-1], horizontal, vertical)
    return (vertical if has_rows else 0), (horizontal if has_columns else 0)


def _flat_lines(pixels: np.ndarray) -> int:
    """How many lines from the top are of the first one's colour."""
    n = int(_WIDEST * len(pixels))
    if not n:
        return 0
    flat = (np.abs(pixels[:n] - np.median(pixels[0])) <= _SAME).mean(axis=1) >= _FLAT
    return n if flat.all() else int(flat.argmin())


def _ends(pixels: np.ndarray, width: int, beside: int) -> bool:
    """Whether the lines around a frame's end differ along most of what lies between its other sides."""
    if not width or width + 1 >= len(pixels):
        return False
    inner = slice(beside, pixels.shape[1] - beside)
    # two lines apart: JPEG and resizing smear an edge over one
    step = np.abs(pixels[width + 1, inner] - pixels[width - 1, inner])
    return bool((step > _SAME).mean() >= _EDGE)
