"""MNIST from its IDX files, coloured: biased training images, test images in random colours."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from mibias_cli.data.annotations import SPLITS
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.groups import split_by_fractions
from mibias_cli.data.inputs import IDENTITY, Transforms
from mibias_cli.data.sources.colour import ColouredReader, coloured_data, colours, random_colours
from mibias_cli.errors import DataError
from mibias_cli.seeds import derived_generator

__all__ = ["load_mnist", "read_idx"]

_FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
_MAGIC = {"images": 2051, "labels": 2049}


def load_mnist(
    *,
    root: Path,
    variance: float = 0.02,
    colour_seed: int = 0,
    size: int | None = None,
    validation_fraction: float = 0.1,
    n_train: int | None = None,
    transforms: Transforms = IDENTITY,
    seed: int = 0,
) -> BiasedData:
    """MNIST in biased colours for training and validation; the audit is its test set in random colours.

    Args:
        root: Folder with the four IDX files, gzipped or not.
        validation_fraction: Share of the training images kept apart, stratified by digit.
        n_train: Use only the first n training images, or None for all.
        variance, colour_seed, size, transforms, seed: As for `load_digits`.

    Raises:
        DataError: Files are missing, are no IDX files, or do not fit each other.
    """
    paths = _find(root)
    grey, digits = _read_pair(paths, "train")
    grey_test, digits_test = _read_pair(paths, "test")
    grey, digits = grey[:n_train], digits[:n_train]
    if grey.shape[1:] != grey_test.shape[1:]:
        raise DataError(f"{root}: training images are {grey.shape[1:]}, test images {grey_test.shape[1:]}")
    # the test set keeps its role: only training images are divided, the audit's share of them is none
    role = split_by_fractions(digits, None, (1.0 - validation_fraction, validation_fraction, 0.0), seed=seed)
    drawn = colours(digits, variance, derived_generator(colour_seed, 0))
    shuffled = random_colours(len(digits_test), variance, derived_generator(colour_seed, 1))
    reader = ColouredReader(
        grey=np.concatenate([grey, grey_test]),
        colours=np.concatenate([drawn, shuffled]),
        peak=255.0,
        size=size,
        transforms=transforms,
        seed=seed,
    )
    in_audit = np.full(len(digits_test), SPLITS.index("audit"))
    return coloured_data(reader, np.concatenate([digits, digits_test]), np.concatenate([role, in_audit]))


def read_idx(path: Path, kind: str) -> np.ndarray:
    """The array of one IDX file, gzipped or not: `images` (n, H, W) or `labels` (n,), uint8.

    Raises:
        DataError: The magic number, the length or the compression is wrong.
    """
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: the gzip stream is broken ({error}); get the file again") from error
    # own code, not torchvision's reader: that one takes no gzip, and answers a cut file with a bare assertion
    n_dimensions = 3 if kind == "images" else 1
    header = 4 + 4 * n_dimensions
    magic = int.from_bytes(data[:4], "big")
    if len(data) < header or magic != _MAGIC[kind]:
        raise DataError(f"{path}: not an IDX file of {kind}: its magic number is {magic}, not {_MAGIC[kind]}")
    shape = tuple(int(v) for v in np.frombuffer(data, dtype=">u4", count=n_dimensions, offset=4))
    # the header says how long the file must be, which finds a download that was cut short
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise DataError(
            f"{path}: its header says {shape}, which is {expected} bytes, but it has {len(data)}; get the file again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _find(root: Path) -> dict[tuple[str, str], Path]:
    """The four files, or one error that names all that are missing."""
    found: dict[tuple[str, str], Path] = {}
    missing: list[str] = []
    for key, name in _FILES.items():
        # unpacking tools write either form
        dotted = name.replace("-idx", ".idx")
        tried = [f"{name}.gz", name, f"{dotted}.gz", dotted]
        paths = [root / candidate for candidate in tried if (root / candidate).is_file()]
        if paths:
            found[key] = paths[0]
        else:
            missing.append(f"{' '.join(key)}: none of {', '.join(tried)}")
    if missing:
        where = f"{root}: " + ("no such folder" if not root.is_dir() else f"{len(missing)} of MNIST's 4 files missing")
        raise DataError(f"{where}; set data.root to the folder that holds them\n  " + "\n  ".join(missing))
    return found


def _read_pair(paths: dict[tuple[str, str], Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one part, checked against each other."""
    images = read_idx(paths[part, "images"], "images")
    labels = read_idx(paths[part, "labels"], "labels").astype(np.int64)
    if len(images) != len(labels):
        raise DataError(
            f"{paths[part, 'images']} has {len(images)} images, {paths[part, 'labels'].name} has {len(labels)} labels"
        )
    if len(labels) and labels.max() > 9:
        raise DataError(f"{paths[part, 'labels']}: labels go up to {labels.max()}; the colour protocol knows 0 to 9")
    return images, labels
