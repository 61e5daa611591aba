"""Faces whose file names say who is on them: `age_sex_race_date.jpg`, as UTKFace has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.sources.imagefolder import list_images
from mibias_cli.errors import DataError

__all__ = ["FaceName", "People", "looks_like_faces", "parse_face_name", "read_face_names"]

SEXES = ("male", "female")
RACES = ("white", "black", "asian", "indian", "other")
OLDEST = 120
_LOOKED_AT = 50


@dataclass(frozen=True, kw_only=True)
class FaceName:
    """What a file name says: age in years, sex and race in words."""

    age: int
    sex: str
    race: str


@dataclass(frozen=True, kw_only=True)
class People:
    """People by age and sex, from wherever a data set keeps them.

    Args:
        path: Image paths below a root, n of them.
        age: Years (n,) int64.
        female: (n,) bool.
        identity: Who it is (n,), or None where nothing says so.
        others: Further columns of n texts, by name.
        faults: What was left out, one text each.
    """

    path: list[str]
    age: np.ndarray
    female: np.ndarray
    identity: np.ndarray | None = None
    others: dict[str, list[str]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def parse_face_name(name: str) -> FaceName | str:
    """What a file name `age_sex_race_date…` says, or what is wrong with it.

    Sex is 0 (male) or 1 (female); race is 0 to 4. Whatever follows the date's digits is no matter (`.jpg.chip.jpg`).

    Example:
        >>> parse_face_name("26_1_2_20170116174525125.jpg.chip.jpg")
        FaceName(age=26, sex='female', race='asian')
        >>> parse_face_name("61_1_20170109150557335.jpg")
        '3 parts where age_sex_race_date has 4'
    """
    # the name up to the first dot: UTKFace's aligned images end in .jpg.chip.jpg
    parts = name.partition(".")[0].split("_")
    if len(parts) != 4:
        return f"{len(parts)} part{'' if len(parts) == 1 else 's'} where age_sex_race_date has 4"
    age, sex, race, date = parts
    if not (age.isascii() and age.isdecimal() and int(age) <= OLDEST):
        return f"the age is {age!r}"
    if sex not in ("0", "1"):
        return f"the sex is {sex!r}, neither 0 nor 1"
    if race not in ("0", "1", "2", "3", "4"):
        return f"the race is {race!r}, not 0 to 4"
    if not date[:1].isdecimal():
        return f"the date is {date!r}"
    return FaceName(age=int(age), sex=SEXES[int(sex)], race=RACES[int(race)])


def read_face_names(folder: Path) -> People:
    """The people of a folder (and the folders in it) by their file names; malformed names are left out and listed.

    Raises:
        DataError: No such folder, no image in it, or no file of the form.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    images = list_images(folder)
    parsed = {image: parse_face_name(PurePosixPath(image).name) for image in images}
    faults = tuple(f"{image} ({found})" for image, found in parsed.items() if isinstance(found, str))
    # UTKFace has some files without a race; they are left out, not guessed
    named = [(image, found) for image, found in parsed.items() if isinstance(found, FaceName)]
    if not named:
        raise DataError(
            f"{folder}: none of {len(images)} images is named age_sex_race_date.jpg, as in "
            f"26_1_2_20170116174525125.jpg: {first_rows(faults)}"
        )
    return People(
        path=[image for image, _ in named],
        age=np.array([found.age for _, found in named], dtype=np.int64),
        female=np.array([found.sex == "female" for _, found in named]),
        others={"race": [found.race for _, found in named]},
        faults=faults,
    )


def looks_like_faces(images: list[str]) -> bool:
    """Whether most of some image paths are named age_sex_race_date."""
    # a sample over the whole listing, which is sorted: the first names would be of one age
    some = images[:: max(1, len(images) // _LOOKED_AT)]
    named = sum(isinstance(parse_face_name(PurePosixPath(image).name), FaceName) for image in some)
    return 2 * named > len(some)
