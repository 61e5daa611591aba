"""People by age and sex: as file names `age_sex_race_date.jpg` say it (UTKFace), or as a table lists them (IMDB)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from mibias_cli.data.files.tabular import Table, first_rows, read_table, require_columns
from mibias_cli.data.sources.imagefolder import list_images
from mibias_cli.errors import DataError

__all__ = [
    "FaceName",
    "People",
    "PeopleColumns",
    "looks_like_faces",
    "of_age",
    "parse_face_name",
    "read_face_names",
    "read_people",
]

SEXES = ("male", "female")
RACES = ("white", "black", "asian", "indian", "other")
OLDEST = 120
_LOOKED_AT = 50
_FEMALE, _MALE = ("female", "f", "woman", "w"), ("male", "m", "man")


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
    images = list_images(folder).images
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


def of_age(people: People, min_age: int) -> tuple[People, int]:
    """The people of at least so many years, and how many are younger; a DataError where nobody is left."""
    kept = np.flatnonzero(people.age >= min_age)
    if not len(kept):
        raise DataError(f"--min-age {min_age}: nobody is as old; the oldest is {people.age.max()}")
    chosen = replace(
        people,
        path=[people.path[row] for row in kept],
        age=people.age[kept],
        female=people.female[kept],
        identity=None if people.identity is None else people.identity[kept],
        others={name: [values[row] for row in kept] for name, values in people.others.items()},
    )
    return chosen, len(people.age) - len(kept)


def looks_like_faces(images: list[str]) -> bool:
    """Whether most of some image paths are named age_sex_race_date."""
    # a sample over the whole listing, which is sorted: the first names would be of one age
    some = images[:: max(1, len(images) // _LOOKED_AT)]
    named = sum(isinstance(parse_face_name(PurePosixPath(image).name), FaceName) for image in some)
    return 2 * named > len(some)


@dataclass(frozen=True, kw_only=True)
class PeopleColumns:
    """Columns of a manifest of people.

    Args:
        path, age, sex: Columns for the image, the age in years, the sex.
        identity: A column that says who it is, or None.
        female: The value of sex that means female; every other one means male. None: female, f, woman, w against male,
            m, man, whatever their case. (In IMDB-WIKI's own coding 0 is female.)
    """

    path: str = "path"
    age: str = "age"
    sex: str = "sex"
    identity: str | None = None
    female: str | None = None


def read_people(path: Path, columns: PeopleColumns, *, root: Path | None = None) -> People:
    """The people of a CSV or Parquet manifest, images below a root; rows without image, age or sex are listed instead.

    Raises:
        DataError: Columns are missing, a sex is none of these, or no row is left.
    """
    table = read_table(path)
    named = {"path": columns.path, "age": columns.age, "sex": columns.sex, "identity": columns.identity}
    require_columns(table, {f"--{role}-column": name for role, name in named.items() if name is not None})
    folder = root or path.parent
    sexes = _sexes(table, columns.sex, columns.female)
    ages = [_age(value) for value in table.columns[columns.age]]
    faults = {row: fault for row, age in enumerate(ages) if (fault := _fault(table, row, age, columns, folder))}
    kept = [row for row in range(len(table)) if row not in faults]
    listed = tuple(f"row {table.row_numbers[row]} ({fault})" for row, fault in faults.items())
    if not kept:
        raise DataError(f"{path}: no row has an image below {folder}, an age and a sex: {first_rows(listed)}")
    return People(
        path=[str(v) for v in table.columns[columns.path][kept]],
        age=np.array([ages[row] for row in kept], dtype=np.int64),
        female=np.array([sexes[v] for v in table.columns[columns.sex][kept]]),
        identity=None if columns.identity is None else table.columns[columns.identity][kept].astype(str),
        faults=listed,
    )


def _fault(table: Table, row: int, age: int | None, columns: PeopleColumns, folder: Path) -> str:
    """What keeps a row from being used, or an empty text."""
    for column in filter(None, (columns.path, columns.sex, columns.identity)):
        if table.columns[column][row] is None:
            return f"no {column}"
    if age is None:
        return f"{columns.age} is {table.columns[columns.age][row]!r}"
    image = table.columns[columns.path][row]
    return "" if (folder / image).is_file() else f"no file {image}"


def _age(value: str | None) -> int | None:
    """Whole years, rounded down, or None where there is no age that a person can have."""
    try:
        years = float(value) if value is not None else math.nan
    except ValueError:
        return None
    # IMDB-WIKI's ages come from wrong dates at times: negative, or of several hundred years
    return math.floor(years) if 0 <= years <= OLDEST else None


def _sexes(table: Table, column: str, female: str | None) -> dict[str | None, bool]:
    """Whether each value of the column means female."""
    values = {v for v in table.columns[column] if v is not None}
    if female is not None:
        if female not in values:
            shown = first_rows(sorted(repr(v) for v in values))
            raise DataError(f"{table.path}: no row has {female!r} (--female) in {column!r}; it holds {shown}")
        return {value: value == female for value in values}
    # without --female only words are understood: 0 and 1 mean different things in different tables
    known = {value: value.lower() in _FEMALE for value in values if value.lower() in _FEMALE + _MALE}
    unknown = sorted(repr(value) for value in values - set(known))
    if unknown:
        raise DataError(
            f"{table.path}: {column!r} holds {first_rows(unknown)}; name the value that means female with --female"
        )
    return dict(known)
