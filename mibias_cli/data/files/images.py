"""Image files: their paths below a root, and their pixels as float tensors, of any kind and turned as EXIF says."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import default_collate

from mibias_cli.data.files.folders import leads_out, real_paths
from mibias_cli.data.files.packed import PackedTexts, Picked, RowNames
from mibias_cli.data.files.planes import UnfitImage, grey_values, plane_shape, planes_kind, read_planes
from mibias_cli.data.files.refused import DICOM, DICOM_REMEDY, fault_of_content
from mibias_cli.data.files.tabular import Table, first_rows, texts
from mibias_cli.data.inputs import Transforms, transformed
from mibias_cli.errors import DataError
from mibias_cli.seeds import derived_generator

__all__ = [
    "BROKEN_IMAGE", "SOME", "FileImages", "FilesBelow", "ImageReader", "Images", "image_shape", "load_image",
    "look_for_some", "readable", "resolve_paths", "without_unreadable",
]  # fmt: skip

BROKEN_IMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error),
    Image.DecompressionBombError,
)
"""What Pillow raises on a damaged file; of TIFF files any of these."""
MAX_PIXELS = 2**26
"""Larger images take minutes and gigabytes each; a file of a few kilobytes can say that it is one."""
_SAMPLES, _PLANES = 277, 284
"""TIFF's tags of how many samples a pixel has, and of how they lie: 2 is a plane for each."""
_LISTED = 20
_GREY = ("1", "L", "LA")
SOME = 4096
"""Files of a large manifest that are looked for before a run."""
_LOOK = 0x100C
"""Marks the stream that draws them."""


def load_image(path: Path | str | BinaryIO, channels: int | None, *, least_side: int | None = None) -> Tensor:
    """One image as a float32 tensor (channels, H, W) in [0, 1].

    Grey images of 16 bits keep their full depth (divided by 65,535, signed ones by 32,767), which 8 bits would throw
    away from X-rays; 32-bit integers are taken for such. Colour images of 16 bits per channel come at 8 bits, all that
    Pillow gives; float images must lie in [0, 1] already. Arrays and TIFF files of several channels or pages are read
    by `read_planes`. With `least_side` JPEGs are decoded at the smallest fraction of their size that leaves so many
    pixels on each side.

    Args:
        channels: For 1, colours are averaged; for 3, grey is repeated; for both, alpha is dropped. Any other number
            must be the file's own, alpha counted. None: as many as the file has.
        least_side: Pixels that are enough.

    Raises:
        UnfitImage: The file has another number of channels.
        OSError, ValueError, …: whatever Pillow raises on a broken file; ValueError for values out of range.
    """
    kind = planes_kind(path)
    if kind is not None and (kind == "array" or _is_beyond_pillow(path, channels)):
        pixels = torch.from_numpy(read_planes(path, kind, channels))
    else:
        pixels = _of_pillow(path, channels, least_side)
    n = pixels.shape[0]
    if channels in (None, n):
        return pixels.contiguous()
    if {n, channels} == {1, 3}:
        return pixels.mean(dim=0, keepdim=True) if channels == 1 else pixels.repeat(3, 1, 1)
    raise UnfitImage(
        f"it has {n} channel(s), and the model takes {channels}; give files of {channels}, or train a model with "
        f"backbone.in_chans: {n}"
    )


def image_shape(path: Path | str | BinaryIO) -> tuple[int, int, int]:
    """(channels, height, width) of an image by its header; alpha is no channel, a TIFF's further samples are.

    Raises:
        DataError, OSError, ValueError, …: as of `load_image`.
    """
    kind = planes_kind(path)
    if kind is not None and (kind == "array" or _is_beyond_pillow(path, None)):
        return plane_shape(path, kind)
    with _opened(path) as image:
        bands, samples = len(image.getbands()), getattr(image, "tag_v2", {}).get(_SAMPLES, 1)
        usual = 1 if bands < 3 and image.mode not in ("P", "PA") else 3
        return samples if samples > bands else usual, image.height, image.width


def _is_beyond_pillow(path: Path | str | BinaryIO, channels: int | None) -> bool:
    """Whether a TIFF is no image of one to three channels to Pillow: it cannot read it, or its pages are channels."""
    if channels not in (None, 1, 3):
        return True
    try:
        with _opened(path) as image:
            page, bands, tags = (image.size, image.mode), len(image.getbands()), getattr(image, "tag_v2", {})
            is_plane = image.mode not in ("P", "1") and bands == 1
            # a fourth sample beside colours is passed over, but not in a plane of its own
            if tags.get(_SAMPLES, 1) > bands and (is_plane or tags.get(_PLANES) == 2):
                return True
            if getattr(image, "n_frames", 1) == 1:
                return False
            # a second page of another size is the same image once more, made smaller; of another mode its mask
            image.seek(1)
            return (image.size, image.mode) == page
    except UnidentifiedImageError:
        return True
    finally:
        if not isinstance(path, Path | str):
            path.seek(0)


def _of_pillow(path: Path | str | BinaryIO, channels: int | None, least_side: int | None) -> Tensor:
    """An image as Pillow reads it (channels, H, W): in 1 or 3 channels, or with alpha where 2 or 4 are wanted."""
    with _opened(path) as image:
        if least_side is not None:
            image.draft(None, (least_side, least_side))
        # cameras store how they were held, not turned pixels
        upright = ImageOps.exif_transpose(image)
        if (grey := grey_values(image, upright)) is not None:
            return torch.from_numpy(grey)[None]
        if upright.mode in _GREY and (upright.mode, channels) != ("LA", 2):
            return torch.from_numpy(np.array(upright.convert("L"), dtype=np.float32) / np.float32(255))[None]
        # a palette with transparency goes by way of RGBA, or Pillow warns
        shown = upright.convert("RGBA") if upright.mode == "PA" or "transparency" in upright.info else upright
        # alpha may be asked for as a channel; inks are none
        if (shown.mode, channels) not in (("LA", 2), ("RGBA", 4)):
            shown = shown.convert("RGB")
        return torch.from_numpy(np.array(shown, dtype=np.float32) / np.float32(255)).permute(2, 0, 1)


class Images(Protocol):
    """Where the images of a data set lie, one per row."""

    def __len__(self) -> int: ...

    def source(self, row: int) -> str | BinaryIO:
        """What Pillow opens: a path, or bytes."""
        ...

    def place(self, row: int) -> str:
        """The file that holds an image."""
        ...

    def content(self, row: int) -> bytes:
        """An image's bytes."""
        ...

    def fault(self, row: int) -> str | None:
        """What an image that cannot be read is by its first bytes, and what to do; None: nothing that is known."""
        ...

    def state(self, rows: np.ndarray) -> list[str]:
        """What tells of each of these rows, without reading it, that it has changed."""
        ...

    def n_bytes(self) -> int:
        """Bytes of all images."""
        ...

    def times(self) -> list[int]:
        """Times of change of all files, in nanoseconds."""
        ...


@dataclass(frozen=True)
class FileImages:
    """Images in files of their own (see `Images`)."""

    # as text: worker processes get a copy of all, and a Path takes several times the memory
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def source(self, row: int) -> str:
        return self.paths[row]

    def place(self, row: int) -> str:
        return self.paths[row]

    def content(self, row: int) -> bytes:
        return Path(self.paths[row]).read_bytes()

    def fault(self, row: int) -> str | None:
        return fault_of_content(self.paths[row])

    def state(self, rows: np.ndarray) -> list[str]:
        found = [os.stat(self.paths[row]) for row in rows.tolist()]
        return [f"{stat.st_size} {stat.st_mtime_ns}" for stat in found]

    def n_bytes(self) -> int:
        return sum(os.stat(path).st_size for path in self.paths)

    def times(self) -> list[int]:
        return [os.stat(path).st_mtime_ns for path in self.paths]


@dataclass(frozen=True)
class ImageReader:
    """Reads images, one per row, with a name for errors; augmentation is a function of (seed, epoch, row)."""

    images: Images
    transforms: Transforms
    seed: int
    row_names: Sequence[str]

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs (n, …) of these rows; epoch None: the evaluation transform, else training's (see `transformed`).

        Raises:
            DataError: A file cannot be read, or the transforms leave images of different sizes.
        """
        # one after the other: of large photographs a batch would not fit into memory
        images = (self._load(int(row)) for row in rows)
        inputs = transformed(images, rows, epoch, self.transforms, self.seed)
        shapes = {tuple(x.shape): row for x, row in zip(inputs, rows, strict=True)}
        if len(shapes) > 1:
            listed = ", ".join(f"{shape} ({self.row_names[row]})" for shape, row in list(shapes.items())[:3])
            raise DataError(f"images differ in size: {listed}; set backbone.input_size to bring them to one size")
        # in a worker it stacks them into memory that is shared with the training process already
        stacked: Tensor = default_collate(inputs)
        return stacked

    def _load(self, row: int) -> Tensor:
        try:
            return load_image(self.images.source(row), self.transforms.channels)
        except DataError as error:
            raise DataError(f"{self.row_names[row]} cannot be read as an image: {error}") from error
        except BROKEN_IMAGE as error:
            # Pillow names the file, or the address of bytes in memory
            unknown = isinstance(error, UnidentifiedImageError)
            what = "it is of no kind that Pillow knows" if unknown else str(error)
            remedy = "" if isinstance(error, UnfitImage) else "; mend the file or take the row out"
            raise DataError(
                f"{self.images.place(row)}: {self.row_names[row]} cannot be read as an image: "
                + (self.images.fault(row) or f"{what}{remedy}")
            ) from error


@dataclass(frozen=True, eq=False)
class FilesBelow(Sequence[str]):
    """Real paths of the files that a large manifest names below a root, each found when it is asked for.

    Raises:
        DataError: The path leads out of the root, and not to below `follow`; as `resolve_paths` says of all at once.
    """

    names: PackedTexts
    root: Path
    follow: Path | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        found = real_paths([self.names[row]], self.root)
        if leads_out(found, self.root, self.follow)[0]:
            raise DataError(f"{self.names[row]}: {_leads_out_of(self.root)}")
        return found[0]


def _opened(path: Path | str | BinaryIO) -> Image.Image:
    """The image with nothing but its header read; a ValueError where it is too large to be meant."""
    with warnings.catch_warnings():
        # Pillow warns of large images, and reads them all the same
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path)
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{width:,} × {height:,} pixels are more than {MAX_PIXELS:,}; make it smaller")
    return image


def resolve_paths(table: Table, column: str, root: Path, follow: Path | None = None) -> tuple[list[str], list[str]]:
    """The image files that a column of a table names below a root, and what to call each row in an error.

    A manifest is often somebody else's, so a path (`..`, absolute or through a link) that leads out of the root is an
    error, unless it ends below the folder `follow`. All rows are checked before anything is read; one error names all
    faults of one kind.

    Raises:
        DataError: No such folder; or rows without a path, with a path out of the root, or with a missing file.
    """
    _require_folder(root)
    values = table.columns[column]
    empty = [str(n) for n, v in zip(table.row_numbers, values, strict=True) if v is None]
    _refuse(table, empty, f"have no path in {column!r}")
    names = [f"row {n} ({v})" for n, v in zip(table.row_numbers, values, strict=True)]
    dicom = [name for name, value in zip(names, values, strict=True) if str(value).lower().endswith(DICOM)]
    _refuse(table, dicom, f"name DICOM images, which are not read ({DICOM_REMEDY})")
    paths = real_paths(values.tolist(), root)
    # all rows are checked before any image is read, so that a run does not fail at its last image
    outside = [name for name, out in zip(names, leads_out(paths, root, follow), strict=True) if out]
    _refuse(table, outside, f"have a path that {_leads_out_of(root)}")
    missing = [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]
    _refuse(table, missing, f"name a file that does not exist below {root}")
    return paths, names


def look_for_some(table: Table, column: str, root: Path, follow: Path | None = None) -> tuple[FilesBelow, RowNames]:
    """The same of a large table's packed column, of whose files only some are looked for, drawn at random.

    What the text of a path tells is checked in all rows; where its links lead is when it is opened.

    Raises:
        DataError: As `resolve_paths`.
    """
    _require_folder(root)
    values = table.packed[column]
    names, paths = RowNames(table.row_numbers, values), FilesBelow(values, root, follow)

    def refuse(rows: np.ndarray, what: str) -> None:
        _refuse(table, Picked(names, np.flatnonzero(rows)), what)

    empty = values.missing()
    _refuse(table, table.row_numbers[empty], f"have no path in {column!r}")
    refuse(values.ending(DICOM), f"name DICOM images, which are not read ({DICOM_REMEDY})")
    # the few that may lead out by their text alone are resolved, all others when they are read
    outside = values.may_lead_out()
    outside[outside] = leads_out(real_paths(list(Picked(values, np.flatnonzero(outside))), root), root, follow)
    refuse(outside, f"have a path that {_leads_out_of(root)}")
    chosen = np.sort(derived_generator(0, _LOOK).choice(len(table), min(SOME, len(table)), replace=False))
    some = Table(
        path=table.path,
        columns={column: texts(list(Picked(values, chosen)))},
        row_numbers=table.row_numbers[chosen],
    )
    try:
        resolve_paths(some, column, root, follow)
    except DataError as error:
        raise DataError(f"{error} (of {len(some):,} of {len(table):,} rows, whose files were looked for)") from error
    return paths, names


def without_unreadable(table: Table, column: str, root: Path, follow: Path | None) -> tuple[Table, list[str]]:
    """A table without the rows whose image is missing or cannot be read, and a note that counts and lists these.

    Every image is read, which takes a while. Paths that lead out of the root stay: they are no faults of images.
    """
    values = table.columns[column]
    paths = real_paths(["" if v is None else v for v in values], root)
    outside = leads_out(paths, root, follow)
    looked_at = [k for k, value in enumerate(values) if value is not None and not outside[k]]
    fine = readable(FileImages([paths[k] for k in looked_at]))
    bad = [k for k, is_fine in zip(looked_at, fine, strict=True) if not is_fine]
    if not bad:
        return table, []
    listed = first_rows([f"row {table.row_numbers[k]} ({values[k]})" for k in bad], _LISTED)
    note = f"{table.path}: {len(bad)} image(s) left out, which cannot be read (data.on_bad_sample: skip): {listed}"
    return table.take(np.setdiff1d(np.arange(len(table)), bad)), [note]


def readable(images: Images) -> list[bool]:
    """Which images can be read; all of them are."""

    def is_readable(row: int) -> bool:
        try:
            load_image(images.source(row), None)
        except BROKEN_IMAGE:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        return list(pool.map(is_readable, range(len(images))))


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the folder that image paths start from")


def _leads_out_of(root: Path) -> str:
    return (
        f"leads out of {root}; set data.root to a folder that holds all images, or data.follow_links to one that holds "
        "what links lead to"
    )


def _refuse(table: Table, rows: Sequence[str] | np.ndarray, what: str) -> None:
    if len(rows):
        raise DataError(f"{table.path}: {len(rows)} row(s) {what}: {first_rows(rows)}")
