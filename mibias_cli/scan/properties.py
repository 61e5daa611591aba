"""Properties of image files that may give a target away: of the file, of its frame, and of what is inside it."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from mibias_cli.scan.border import frame_widths
from mibias_cli.scan.pixels import colour_view, looks

__all__ = ["PROPERTIES", "day_of", "image_properties", "jpeg_quality"]

PROPERTIES = (
    "date", "file_format", "jpeg_quality", "border", "aspect", "size", "brightness", "blur", "darkness", "contrast",
    "colourfulness", "hue",
)  # fmt: skip
"""Causes before what they change: a size that is a class's own changes the blur, and blur no size."""
_LONGEST = 512
"""Longer images are averaged down before their looks are measured: a sharpness of single pixels is the camera's."""
_BASE_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
    51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120,
    101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip
"""The JPEG standard's table for luminance, which quality 50 uses as it is."""
_LARGEST_ENTRY = 255


def image_properties(path: Path) -> dict[str, str | None]:
    """The properties of one image file, as cells of a table: text, None where the file does not say.

    - date: of the camera's clock (EXIF), in days since 1970. file_format: JPEG, PNG, ….
    - jpeg_quality: see `jpeg_quality`. border: share of the area that a frame of one colour takes.
    - aspect: width by height. size: pixels, width × height; both as the image is shown.
    - blur and what follows: see `looks`; of what is inside the frame.

    Raises:
        OSError, ValueError, …: whatever Pillow raises on a broken file.
    """
    pixels = colour_view(path).numpy()
    try:
        with Image.open(path) as image:
            file_format, quality = image.format, jpeg_quality(image)
            date = day_of(str(image.getexif().get(ExifTags.Base.DateTime, "")))
    except UnidentifiedImageError:  # an array, or a TIFF of many channels
        file_format, quality, date = path.suffix.lstrip(".").upper(), 100, None
    _, height, width = pixels.shape
    # the frame is left out of all that follows: a black one would make every image dark
    top, left = frame_widths(pixels.mean(axis=0) * 255)
    inside = pixels[:, top : height - top, left : width - left]
    found: dict[str, float | str | None] = {
        "date": date,
        "file_format": file_format,
        "jpeg_quality": quality,
        "border": 1 - inside.shape[1] * inside.shape[2] / (height * width),
        "aspect": width / height,
        "size": width * height,
        **looks(_reduced(inside)),
    }
    return {name: _text(found[name]) for name in PROPERTIES}


def jpeg_quality(image: Image.Image) -> int:
    """The quality from 1 to 100 at which a JPEG was saved, by its quantisation table; 100 for other kinds of file.

    The table is the standard's, scaled: the scale says the quality. Encoders with tables of their own come out at the
    quality of the standard's table that is as coarse.
    """
    # Pillow gives tables of JPEG files alone
    tables = getattr(image, "quantization", None)
    if not tables:
        return 100
    table = np.asarray(tables[min(tables)], dtype=np.float64)
    # entries that reached the largest or smallest that fits a byte say no scale; either order of the table will do
    scales = 100 * np.sort(table) / np.sort(_BASE_LUMINANCE)
    inside = (np.sort(table) > 1) & (np.sort(table) < _LARGEST_ENTRY)
    scale = float(np.median(scales[inside])) if inside.any() else 1.0 if table.max() <= 1 else 5000.0
    return int(np.clip(round((200 - scale) / 2 if scale <= 100 else 5000 / scale), 1, 100))


def day_of(text: str) -> int | None:
    """Days since 1970 of a date as cameras (2024:03:01 12:00:00) and tables (2024-03-01) write it; None for others.

    Example:
        >>> day_of("1970-01-11"), day_of("2024:03:01 12:00:00"), day_of("yes")
        (10, 19783, None)
    """
    for pattern, length in (("%Y:%m:%d", 10), ("%Y-%m-%d", 10), ("%Y/%m/%d", 10)):
        try:
            day = datetime.datetime.strptime(text.strip()[:length], pattern).date()
        except ValueError:
            continue
        return (day - datetime.date(1970, 1, 1)).days
    return None


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """An image (3, H, W) averaged down by a whole number to at most `_LONGEST` pixels."""
    step = -(-max(pixels.shape[1:]) // _LONGEST)
    if step == 1:
        return pixels
    height, width = max(pixels.shape[1] // step, 1), max(pixels.shape[2] // step, 1)
    cut = pixels[:, : height * step, : width * step]
    # an image that is thinner than a step keeps its few pixels
    blocks = cut.reshape(3, height, cut.shape[1] // height, width, cut.shape[2] // width)
    return np.asarray(blocks.mean(axis=(2, 4)))


def _text(value: float | str | None) -> str | None:
    return value if value is None or isinstance(value, str) else f"{value:.6g}"
