"""Small shards as WebDataset's writers make them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from layouts import pairs
from PIL import Image

__all__ = ["picture", "split_shards", "write_sample", "write_tar"]


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], **how: object) -> Path:
    """A tar of files of this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_sample(key: str, image: bytes, cls: str, fields: Mapping[str, object]) -> list[tuple[str, bytes]]:
    """The members of one sample."""
    return [(f"{key}.png", image), (f"{key}.cls", cls.encode()), (f"{key}.json", json.dumps(fields).encode())]


def picture(shade: int, kind: str = "PNG") -> bytes:
    """An image file of 3 × 2 pixels of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (shade, 0, 255 - shade)).save(file, kind)
    return file.getvalue()


def split_shards(folder: Path, names: Mapping[str, int]) -> Path:
    """A shard for each name with so many samples: .png, .cls, and a .json of sex and site."""
    root = folder / "shards"
    for i, (name, n) in enumerate(names.items()):
        found: list[tuple[str, bytes]] = []
        for k, (y, c) in enumerate(pairs(n, seed=i)):
            found += write_sample(f"{k:05d}", picture(k % 256), "ab"[y], {"sex": "fm"[c], "box": [k]})
        write_tar(root / name, found)
    return root
