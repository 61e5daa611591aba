"""What each level of folders above the images is: splits, shards, patients, or the classes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mibias_cli.data.columns import MOST_CLASSES, name_words
from mibias_cli.data.group_columns import is_id_folder
from mibias_cli.survey.splits import Roles, role_of_name, split_words

__all__ = ["Levels", "are_masks", "read_levels"]

_SHARDS = {
    "image", "images", "img", "imgs", "part", "shard", "chunk", "batch", "folder", "dir", "data", "file", "files",
    "volume", "vol", "disk", "zip",
}  # fmt: skip
_MOST_SPLITS = 6
_IMAGES, _MASKS = {"image", "images", "img", "imgs", "im"}, {"mask", "masks", "segmentation", "segmentations", "gt"}


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Depths of folders, from 0 at the top, by what they are.

    Args:
        split, roles: The level of split folders and which of them train, validate and are audited; or None.
        classes: The level of class folders, or None.
        patients: The level of folders that are each a patient's, or None.
        notes: What was taken for no class, and why.
    """

    split: int | None = None
    roles: Roles | None = None
    classes: int | None = None
    patients: int | None = None
    notes: tuple[str, ...] = field(default=())


def read_levels(images: Sequence[str]) -> Levels:
    """What the folders above some images are.

    Levels are read from the top; the first that is neither a split, nor shards, nor patients, nor a single folder holds
    the classes; split folders may lie below these. Images of a split that has no class folders (a test set without
    labels) have no class.
    """
    parts = [PurePosixPath(image).parts[:-1] for image in images]
    split: int | None = None
    roles: Roles | None = None
    patients: int | None = None
    notes: list[str] = []
    depth = 0
    while True:
        here = {p[depth] for p in parts if len(p) > depth}
        # where some images lie above this level, it says nothing of them, unless these are of another split
        short = [p for p in parts if len(p) <= depth]
        if not here or any(roles is None or split is None or len(p) <= split or p[split] == roles[0] for p in short):
            return Levels(split=split, roles=roles, patients=patients, notes=tuple(notes))
        listed = ", ".join(sorted(here)[:3]) + (", …" if len(here) > 3 else "")
        found = split_words(here) if len(here) <= _MOST_SPLITS else None
        if found is not None and any(role_of_name(name) is not None for name in here):
            # seg_train/seg_train/…: the second says the same again
            if roles is None:
                split, roles = depth, found
        elif len(here) == 1:
            notes += [f"{listed}: one folder around all images, no class"]
        elif len({_stem(name) for name in here}) == 1 and set(name_words(_stem(next(iter(here))))[-1:]) & _SHARDS:
            notes += [f"{listed}: parts of one set of images, no classes"]
        elif is_id_folder(here, inner=all(len(p) > depth + 1 for p in parts)):
            patients = depth if patients is None else patients
            notes += [f"{listed}: folders of patients (or the like), no classes"]
        elif len(here) > MOST_CLASSES and 2 * len(here) > len(images):
            notes += [f"{listed}: a folder for nearly every image, no classes"]
        else:
            if roles is None and (found := _split_below(parts, depth)) is not None:
                split, roles = depth + 1, found
            return Levels(split=split, roles=roles, classes=depth, patients=patients, notes=tuple(notes))
        depth += 1


def are_masks(folders: Collection[str]) -> bool:
    """Whether folders hold images and their masks, by their names.

    Example:
        >>> are_masks(["images", "masks"]), are_masks(["mask", "no_mask"])
        (True, False)
    """
    words = [set(name_words(name)) for name in folders]
    both = all(any(w & kind for w in words) for kind in (_IMAGES, _MASKS))
    return both and all(w & (_IMAGES | _MASKS) for w in words)


def _split_below(parts: Sequence[tuple[str, ...]], classes: int) -> Roles | None:
    """Which split folders there are in each class folder (cat/train/1.jpg), where all images lie in one; or None."""
    if any(len(p) <= classes + 1 for p in parts):
        return None
    below = {p[classes + 1] for p in parts}
    return split_words(below) if all(role_of_name(name) is not None for name in below) else None


def _stem(name: str) -> str:
    return re.sub(r"[ _-]*\d+$", "", name)
