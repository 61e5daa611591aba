"""Images of any number of channels: arrays (.npy), and TIFF files of more channels or pages than Pillow reads."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from mibias_cli.errors import DataError

__all__ = [
    "PlanesKind", "UnfitImage", "grey_values", "is_animated", "is_image_array", "plane_shape", "planes_kind",
    "read_planes",
]  # fmt: skip

PlanesKind = Literal["array", "tiff"]
_MAGIC: dict[bytes, PlanesKind] = {
    b"\x93NUM": "array",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff"),  # the latter two are BigTIFF's
}
_BITS, _PHOTOMETRIC, _ORIENTATION, _FORMAT = 258, 262, 274, 339
_SIGNED = 2
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_NO_BRIGHTNESS = {0: "darker the larger they are", 3: "numbers of a palette", 5: "inks"}
"""What samples mean by that tag of TIFF, where they are not brightnesses: Pillow converts these, tifffile does not."""
_MOST_VALUES = 2**28
"""A gigabyte as float32: a file of a few kilobytes can say that it holds more."""


class UnfitImage(ValueError):
    """An image that can be read, and is not what was asked for; the message says what to do."""


def planes_kind(source: Path | str | BinaryIO) -> PlanesKind | None:
    """Whether a file is an array or a TIFF by its first bytes; None: neither.

    Raises:
        OSError: No such file.
    """
    if not isinstance(source, Path | str):
        start = source.tell()
        head = source.read(4)
        source.seek(start)
    else:
        with Path(source).open("rb") as file:
            head = file.read(4)
    return _MAGIC.get(head)


def is_image_array(path: Path | str) -> bool:
    """Whether a .npy file holds one image (h, w, channels) or (channels, h, w), by its header.

    Two axes are no sign of an image: embeddings (n, d) have them, too.
    """
    try:
        return _array(path).ndim == 3
    except (OSError, ValueError):
        return False


def plane_shape(source: Path | str | BinaryIO, kind: PlanesKind) -> tuple[int, int, int]:
    """(channels, height, width) of an array or a TIFF, by its header.

    Raises:
        DataError: tifffile is not installed, which TIFF files need.
        ValueError, …: As of `read_planes`.
    """
    n, height, width = _planes(source, kind, None, header_only=True).shape
    return n, height, width


def read_planes(source: Path | str | BinaryIO, kind: PlanesKind, channels: int | None) -> np.ndarray:
    """An image (channels, H, W) float32 in [0, 1] of an array or a TIFF.

    An array is (h, w), (h, w, channels) or (channels, h, w): channels are the axis that is as long as asked for, or
    else the one beside two equal sides, or else the shorter one. A TIFF's are its samples or its pages. Integers of 8
    or 16 bits are divided by the largest of their type; floats must lie in [0, 1] already.

    Args:
        source: The file.
        kind: As `planes_kind` says.
        channels: How many are wanted; an image of another number is read all the same.

    Raises:
        DataError: tifffile is not installed, which TIFF files need.
        OSError, ValueError, …: The file is broken, of other axes or types, or its values are out of range.
    """
    planes = _planes(source, kind, channels)
    if planes.size > _MOST_VALUES:
        raise ValueError(f"{planes.size:,} values are more than {_MOST_VALUES:,}; make it smaller")
    return _scaled(planes, _largest(planes.dtype))


def _scaled(values: np.ndarray, largest: int) -> np.ndarray:
    """Values of any shape divided by the largest there can be, float32 in [0, 1].

    Raises:
        ValueError: Some are negative, larger, or no finite number.
    """
    if not np.isfinite(values).all():
        raise ValueError("some of its values are no finite numbers")
    if values.min() < 0 or values.max() > largest:
        hint = ", in which floats must lie: divide them by the largest there can be" if largest == 1 else ""
        raise ValueError(f"its values run from {values.min()} to {values.max()}, outside [0, {largest}]{hint}")
    return np.divide(values, largest, dtype=np.float32)


def _planes(
    source: Path | str | BinaryIO, kind: PlanesKind, channels: int | None, *, header_only: bool = False
) -> np.ndarray:
    """The values (channels, H, W) as they are stored; of the header alone, and of too many, the shape with zeros."""
    if kind == "array":
        return _of_shape(_array(source), channels)
    values, axes = _tiff(source, header_only)
    if values.ndim < 2 or "Y" not in axes or "X" not in axes:
        raise ValueError(f"its axes are {axes} {values.shape}, and an image has Y and X")
    first = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (-2, -1))
    if sum(n > 1 for n in first.shape[:-2]) > 1:
        raise ValueError(f"its axes are {axes} {values.shape}, and channels lie along one axis beside Y and X")
    return first.reshape(-1, *first.shape[-2:])


def _array(source: Path | str | BinaryIO) -> np.ndarray:
    # mapped, so that a header that promises more than the file holds is an error before memory is asked for
    mapped = isinstance(source, Path | str)
    try:
        values: np.ndarray = np.load(source, mmap_mode="r" if mapped else None, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header makes it fail in any way
        raise ValueError(f"it is no array that numpy reads without pickled objects ({error})") from error
    return values


def _of_shape(values: np.ndarray, channels: int | None) -> np.ndarray:
    """An array's values with channels first."""
    if values.ndim not in (2, 3) or not values.size:
        raise ValueError(f"its shape is {values.shape}; an image is (h, w), (h, w, channels) or (channels, h, w)")
    if values.ndim == 2:
        return values[None]
    first, middle, last = values.shape
    if (first == channels) != (last == channels):
        is_last = last == channels
    elif first == last:
        raise ValueError(f"its shape is {values.shape}, and channels may be its first axis or its last; crop it")
    else:
        # a patch of many bands may have more of them than pixels on a side, and is square
        is_last = first == middle or (last != middle and last < first)
    return np.moveaxis(values, 2, 0) if is_last else values


def _tiff(source: Path | str | BinaryIO, header_only: bool) -> tuple[np.ndarray, str]:
    """The first image of a TIFF with all its pages, and what its axes are called."""
    try:
        import tifffile
    except ImportError as error:
        where = f"{source}: " if isinstance(source, Path | str) else ""
        raise DataError(
            f"{where}it is a TIFF that Pillow does not read, of several channels or pages maybe; tifffile reads those: "
            "pip install 'mibias[tiff]'"
        ) from error
    try:
        with tifffile.TiffFile(source) as file:
            series = file.series[0]
            kind, turn = map(series.keyframe.tags.valueof, (_PHOTOMETRIC, _ORIENTATION))
            if header_only or series.size > _MOST_VALUES:
                values = np.broadcast_to(np.zeros((), series.dtype), series.shape)  # takes no memory
            else:
                values = series.asarray()
            axes: str = series.axes
    except Exception as error:  # a damaged file makes it fail in any way
        raise ValueError(f"it is no TIFF that tifffile reads ({type(error).__name__}: {error})") from error
    if kind in _NO_BRIGHTNESS:
        raise ValueError(f"its samples are {_NO_BRIGHTNESS[kind]}; convert it to grey or colour")
    if turn not in (None, 1):
        raise ValueError(f"its pixels are stored turned or mirrored (orientation {turn}); save it upright")
    return values, axes


def _largest(dtype: np.dtype[np.generic]) -> int:
    """The largest value of a pixel of a type.

    Raises:
        ValueError: Integers of more than 16 bits, whose range says nothing of pixels, or no numbers.
    """
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return int(np.iinfo(dtype.str).max)
    if dtype.kind not in "fb":
        raise ValueError(f"its values are {dtype}; write them as uint8, uint16, or floats in [0, 1]")
    return 1


def grey_values(image: Image.Image, upright: Image.Image) -> np.ndarray | None:
    """Values (h, w) float32 in [0, 1] of an image of one channel, turned `upright`, by the rule of `read_planes`.

    None where it is stored as bytes without a sign, or has more channels. Integers of 32 bits are taken for 16 bits
    without a sign.

    Raises:
        ValueError: Values are out of range.
    """
    kind = _grey_type(image)
    if kind is None:
        return None
    values = np.array(upright)
    # Pillow shows signed bytes as unsigned ones
    return _scaled(values.view(np.int8) if kind == np.int8 else values, _largest(kind))


def _grey_type(image: Image.Image) -> np.dtype[np.generic] | None:
    """What Pillow's image of one channel is stored as; None: as bytes, or it has more channels."""
    tags = getattr(image, "tag_v2", {})
    bits, signed = tags.get(_BITS, (16,))[0], tags.get(_FORMAT, (1,))[0] == _SIGNED
    if image.mode == "F":
        return np.dtype(np.float32)
    if image.mode in _DEEP:
        # 16 bits are often kept in 32, as Pillow's own mode I is
        return np.dtype(np.int16 if signed and bits <= 16 else np.uint16)
    return np.dtype(np.int8) if image.mode == "L" and signed and bits == 8 else None


def is_animated(source: Path | str | BinaryIO) -> bool:
    """Whether a file has frames one after the other, as a GIF, WebP or PNG may: the first of them is its image.

    Raises:
        OSError, …: Whatever Pillow raises on a broken file.
    """
    if planes_kind(source) is not None:
        return False  # pages of a TIFF are channels, or the same made smaller
    with Image.open(source) as image:
        # a camera's MPO has previews beside its image
        return image.format != "MPO" and getattr(image, "n_frames", 1) > 1
