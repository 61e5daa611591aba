"""Sizes and fingerprints of the parts of a data set, so that what differs can be named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import numpy as np

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.files.images import FileImages, FilesBelow, ImageReader
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError

__all__ = ["TIMES", "WHOLE", "data_parts", "part_difference"]

_READ_WHOLE = 2**28
"""Bytes of images up to which all are hashed, which takes a second."""
_N_READ = 1000
"""Images that are hashed where there are more bytes, spread over all."""
WHOLE = "inputs, their order, groups, or what classes and attributes are called"
TIMES = "image files' times of change"


def data_parts(data: BiasedData) -> dict[str, str]:
    """Sizes and sha256 of the parts of a data set, the general last; a DataError where an image is not there."""
    parts = {}
    splits = (data.train, data.validation, data.audit)
    for split in splits:
        parts[f"{split.name} rows"] = f"{len(split):,}"
    for split in splits:
        parts[f"targets of the {split.name} rows"] = _sha256(split.y)
        for name, values in {**split.kept, **split.c}.items():
            known = split.known.get(name, split.kept_known.get(name))
            parts[f"'{name}' of the {split.name} rows"] = _sha256(values, np.asarray(known))
    if data.train.forget is not None:
        parts["rows to forget"] = _sha256(data.train.forget)
    parts[WHOLE] = data.fingerprint
    if isinstance(data.train.reader, ImageReader):
        parts |= _image_parts(data.train.reader)
    return parts


def _image_parts(reader: ImageReader) -> dict[str, str]:
    """Contents of image files, of very many those of some; their sizes are in the data's fingerprint."""
    images = reader.images
    if isinstance(images, FileImages) and isinstance(images.paths, FilesBelow):
        # nobody looks at all files of a large manifest before they are read
        rows = spread_rows(len(images), _N_READ).tolist()
        images = FileImages([images.paths[row] for row in rows])
        gone = [reader.row_names[row] for row, path in zip(rows, images.paths, strict=True) if not os.path.isfile(path)]
        if gone:
            raise DataError(
                f"{len(gone)} of {len(rows)} image(s) that were looked for do not exist: {first_rows(gone)}; mend the "
                "manifest or take the rows out; --check-files reads all files first"
            )
    contents = hashlib.sha256()
    for row in spread_rows(len(images), _N_READ if images.n_bytes() > _READ_WHOLE else len(images)).tolist():
        contents.update(hashlib.sha256(images.content(row)).digest())
    times = hashlib.sha256(" ".join(map(str, images.times())).encode())
    return {"contents of image files": contents.hexdigest(), TIMES: times.hexdigest()}


def _sha256(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def part_difference(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """How a part that differs is told to the user: sizes with both of them, contents by name."""
    if name not in old or name not in new:
        return f"{name}: {'not there any more' if name in old else 'not there before'}"
    return f"{name}: {old[name]} → {new[name]}" if name.endswith(" rows") and "of the" not in name else f"{name} differ"
