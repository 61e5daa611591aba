"""Which images lie below a folder, and which links there are followed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mibias_cli.data.files.planes import is_image_array
from mibias_cli.data.files.refused import DICOM
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError
from mibias_cli.output.whole_files import NO_FILE

__all__ = ["FoundImages", "find_images", "image_suffixes", "leads_out", "real_paths"]


_UNREAD = {
    *DICOM, ".nii", ".mha", ".mhd", ".nrrd", ".heic", ".heif", ".avif", ".jxl", ".svg", ".raw", ".cr2", ".cr3", ".nef",
    ".arw", ".dng", ".svs", ".ndpi", ".mrxs", ".czi", ".lif", ".nd2",
}  # fmt: skip
"""Suffixes of images, where Pillow does not read them."""


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """Images below a folder.

    Args:
        images: Their paths below it, with forward slashes, sorted.
        left_links: Links that are not followed, folders with a slash at their end.
        unread: How many files there are of kinds of images that are not read, by suffix.
    """

    images: list[str]
    left_links: tuple[str, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)

    def note(self, folder: Path, remedy: str) -> list[str]:
        """Notes of the links that are not followed, and of images that are not read, if there are any."""
        notes = []
        if self.left_links:
            notes.append(
                f"{folder}: {len(self.left_links)} link(s) are not followed ({first_rows(self.left_links)}); {remedy} "
                "follows those to what lies below a folder that it names"
            )
        if self.unread:
            kinds = ", ".join(
                f"{n} {suffix}" for suffix, n in sorted(self.unread.items(), key=lambda item: (-item[1], item[0]))
            )
            notes.append(f"{folder}: files of kinds that are not read are passed over ({kinds}); convert them to PNG")
        return notes


def find_images(root: Path, *, follow: Path | None = None, most: int | None = None) -> FoundImages:
    """All images below a folder: of every kind that Pillow reads, and arrays of one image each (.npy of three axes).

    Hidden files and folders are passed over.

    Args:
        root: The folder. Links to files in it are followed, whatever `follow` is.
        follow: A folder; links to files and folders below it are followed too.
        most: Where there are more files than so many, none is found; None: through all.
    """
    suffixes = image_suffixes()
    bases = _bases(root, follow)
    found: list[str] = []
    left: list[str] = []
    unread = Counter[str]()
    n = 0
    for inner, entry in _entries(root, "", bases[1:], set(), left):
        n += 1
        if most is not None and n > most:
            return FoundImages(images=[])
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix not in suffixes and not (suffix == ".npy" and is_image_array(entry.path)):
            unread.update([suffix] if suffix in _UNREAD or entry.name.lower().endswith(".nii.gz") else [])
            continue
        if not (entry.is_symlink() or entry.is_file()):
            raise DataError(f"{entry.path}: {NO_FILE}; take it out")
        if entry.is_symlink() and not _is_below(os.path.realpath(entry.path), bases):
            left.append(inner)
        else:
            found.append(inner)
    return FoundImages(images=sorted(found), left_links=tuple(sorted(left)), unread=unread)


def image_suffixes() -> set[str]:
    """Every suffix that Pillow can read, not only the usual ones, with its dot."""
    # pairs of photographs (MPO) are opened as JPEG, whose first one is read
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN or kind == "MPO"}


def _entries(
    folder: Path | str, inner: str, bases: Sequence[str], seen: set[str], left: list[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder with their paths below the first one; of linked folders those that lead below `bases`."""
    seen.add(os.path.realpath(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return  # lost+found and the like
    for entry in entries:
        path = f"{inner}{entry.name}"
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield path, entry
            continue
        leads_to = os.path.realpath(entry.path)
        # every folder is read once: a link to one around it would never end
        if leads_to in seen or (entry.is_symlink() and not _is_below(leads_to, bases)):
            left.append(f"{path}/")
        else:
            yield from _entries(entry.path, f"{path}/", bases, seen, left)


def real_paths(names: Sequence[str], root: Path) -> list[str]:
    """What each path below a root is without links or `..`."""
    base = os.path.realpath(root)
    folders: dict[str, str] = {}
    return [_real(os.path.join(base, name), folders) for name in names]


def leads_out(paths: Sequence[str], root: Path, follow: Path | None) -> list[bool]:
    """Which real paths are neither below a root nor below the folder to which links are followed."""
    bases = _bases(root, follow)
    return [not _is_below(path, bases) for path in paths]


def _bases(root: Path, follow: Path | None) -> list[str]:
    return [os.path.realpath(folder) for folder in (root, follow) if folder is not None]


def _is_below(path: str, bases: Sequence[str]) -> bool:
    return any(os.path.commonpath([base, path]) == base for base in bases)


def _real(path: str, folders: dict[str, str]) -> str:
    """The path without links or `..`."""
    folder, name = os.path.split(path)
    # realpath asks the disk for every folder on the way: once per folder, not once per image
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    path = os.path.join(folders[folder], name)
    return os.path.realpath(path) if name in ("", ".", "..") or os.path.islink(path) else path
