"""Which tar files a path of shards means, and which split each is of by its name."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError

__all__ = ["find_shards", "may_be_shards", "shard_part"]

_MOST_SHARDS = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_NUMBER = re.compile(r"[-_.]?\d+([-_.]of[-_.]\d+)?$")
_PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip")


def find_shards(path: Path) -> tuple[Path, list[str]]:
    """The shards that a path means: a root, and their paths below it with forward slashes, in order.

    Args:
        path: A .tar file; a folder of these, at any depth; a pattern as WebDataset's users write it,
            `train-{000000..000099}.tar` or `{train,val}-*.tar`.

    Raises:
        DataError: No shard, or one that the braces name is not there.
    """
    text = str(path)
    if text.startswith("pipe:") or "/pipe:" in text:
        raise DataError(f"{path}: commands are not run; fetch the shards first, then name the files")
    if path.is_dir():
        inner = [file for file in path.rglob("*.tar") if not _hidden(file.relative_to(path)) and not file.is_dir()]
        if not inner:
            packed = sorted(file.name for file in path.rglob("*") if file.name.lower().endswith(_PACKED))
            why = f"; those that are compressed ({first_rows(packed)}) have to be unpacked to .tar" if packed else ""
            raise DataError(f"{path}: no .tar file below it{why}")
        found = sorted(map(str, inner))
    else:
        # what matches nothing is not there, by its own name
        found = [] if path.is_file() else _matches(path)
        found = found or [text]
    missing = [file for file in found if not os.path.isfile(file)]
    if missing:
        of = f" of {len(found)}" if len(found) > 1 else ""
        raise DataError(
            f"{path}: {len(missing)}{of} shard(s) are not there: {first_rows(missing)}; name a folder of .tar files, "
            "one of them, or a pattern like train-{000000..000099}.tar"
        )
    if path.is_dir():
        return path, [Path(file).relative_to(path).as_posix() for file in found]
    root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in found]))
    return root, [Path(os.path.abspath(file)).relative_to(root).as_posix() for file in found]


def may_be_shards(path: Path) -> bool:
    """Whether a path says that it means shards: a .tar file or pattern, or a folder with such files, at any depth."""
    return next(path.rglob("*.tar"), None) is not None if path.is_dir() else path.suffix.lower() == ".tar"


def shard_part(shards: Sequence[str]) -> list[str | None]:
    """What each shard is a part of, by its name: the first folder where these differ, else the name without its number.

    Example:
        >>> shard_part(["train-000000.tar", "val-00000-of-00002.tar", "cc_train_7.tar", "0001.tar"])
        ['train', 'val', 'cc_train', None]
        >>> shard_part(["train/0001.tar", "test/0001.tar"])
        ['train', 'test']
    """
    paths = [PurePosixPath(shard) for shard in shards]
    if len({path.parts[:-1] for path in paths}) > 1:
        return [path.parts[0] if len(path.parts) > 1 else None for path in paths]
    return [_NUMBER.sub("", path.stem) or None for path in paths]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _matches(path: Path) -> list[str]:
    """The files of a pattern; those that braces name whether they are there or not, those of `*` and `?` that are."""
    found: list[str] = []
    for one in _unfolded(path, str(path)):
        found += sorted(glob.glob(one, recursive=True)) if glob.has_magic(one) else [one]
    repeated = sorted({file for file in found if found.count(file) > 1}) if len(set(found)) < len(found) else []
    if repeated:
        raise DataError(f"{path}: names {len(repeated)} shard(s) more than once: {first_rows(repeated)}")
    return found


def _unfolded(path: Path, text: str) -> list[str]:
    """A pattern for each choice of its braces, as shells unfold them: `{00..11}` keeps zeros, `{a,b}` is a list."""
    choices: list[list[str]] = []
    n = 1
    for k, part in enumerate(_BRACES.split(text)):
        if k % 2 == 0:
            choices.append([part])
            continue
        numbers = _RANGE.fullmatch(part)
        if numbers is None and "," not in part:
            raise DataError(f"{path}: {{{part}}} is neither a range like {{000000..000099}} nor a list like {{a,b}}")
        if numbers is None:
            choices.append(part.split(","))
        else:
            first, last = int(numbers[1]), int(numbers[2])
            if last < first or last - first >= _MOST_SHARDS:
                raise DataError(f"{path}: {{{part}}} should go from a smaller to a larger number, at most a million")
            choices.append([str(number).zfill(len(numbers[1])) for number in range(first, last + 1)])
        n *= len(choices[-1])
    if n > _MOST_SHARDS:
        raise DataError(f"{path}: its braces name {n:,} shards, more than a million")
    return ["".join(parts) for parts in itertools.product(*choices)]
