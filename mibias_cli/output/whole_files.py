"""Files that appear whole or not at all, and what a kill leaves of those that never did."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mibias_cli.errors import MibiasError
from mibias_cli.output.machine import writing

__all__ = [
    "NO_FILE",
    "is_device",
    "is_leftover",
    "is_no_file",
    "partial_of",
    "remove_leftovers",
    "replaced",
    "write_atomically",
]

NO_FILE = "is a device, a pipe or a socket, not a file"
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")
_MOST_LINKS = 40  # as Linux has it
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.partial")


def partial_of(path: Path) -> Path:
    """A new hidden name beside a file or folder, for what is not whole yet: on the same disk, so one rename ends it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def is_no_file(path: Path) -> bool:
    """Whether a device, a pipe or a socket is at a path, so that reading it may never end."""
    return path.exists() and not path.is_file() and not path.is_dir()


def is_device(path: Path) -> bool:
    """Whether a path is one of the system's own, that is written to as it is: /dev/stdout, /dev/fd/3, /dev/null.

    What stands there may be a file, such as a log that stdout goes to. /dev/shm is a folder for files. A link to a
    device counts as one.
    """
    return _device(path) is not None


def _device(path: Path) -> Path | None:
    """The device that a path names, itself or by links."""
    # a step at a time: /dev/stdout is itself a link, to a file that must not be replaced
    for _ in range(_MOST_LINKS):
        # two slashes at the front are kept by abspath, and mean one
        path = Path("/" + os.path.abspath(path).lstrip("/"))
        if path.parts[:2] in (("/", "dev"), ("/", "proc")):
            return None if path.parts[:3] == ("/", "dev", "shm") else path
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


@contextmanager
def replaced(path: Path, *, new: bool = False) -> Iterator[Path]:
    """A path to write a file to, which takes the place of `path` when the block ends well.

    A kill or a power cut at any moment leaves the old file or the new one, which has the old one's rights. A device or
    a pipe is written to as it is.

    Raises:
        MibiasError: It is to be a `new` file, and another one has appeared there meanwhile.
    """
    if is_device(path) or (path.exists() and not path.is_file()):
        with writing(path):
            yield path
        return
    # behind a link it is the file that is replaced
    path = Path(os.path.realpath(path))
    partial = partial_of(path)
    try:
        with writing(path):
            # safetensors writes files that their owner alone may read; one that is replaced keeps the rights it had
            partial.touch()
            mode = (path if path.exists() else partial).stat().st_mode
            yield partial
            if partial.stat().st_mode != mode:
                partial.chmod(mode & 0o777)
            # on the disk before it takes the name: a power cut between the two must not leave an empty file
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            if new:
                _refuse_other(partial, path)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _refuse_other(partial: Path, path: Path) -> None:
    """Give a file that is whole its name, where nothing has it; of two commands at once the first keeps it."""
    try:
        os.link(partial, path)
    except OSError as error:
        # a file system without links leaves a moment between looking and writing
        if not isinstance(error, FileExistsError) and not path.exists():
            return
        raise MibiasError(
            f"{path}: another command has written it meanwhile, so this one writes nothing; choose another name"
        ) from error


def write_atomically(path: Path, text: str, *, new: bool = False) -> None:
    """Write a text file that appears whole or not at all; an open descriptor of this process is written on.

    A `new` file is as `replaced` says.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:
        # opened anew by its name, a log that stdout is appended to would be emptied
        with writing(path), os.fdopen(os.dup(descriptor), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        return
    with replaced(path, new=new) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _descriptor(path: Path) -> int | None:
    """The open descriptor of this process that a path is another name of, or None."""
    device = str(_device(path))
    named = {"/dev/stdout": 1, "/dev/stderr": 2}.get(device)
    found = _DESCRIPTOR.fullmatch(device)
    return named if found is None else int(found[1])


def is_leftover(name: str) -> bool:
    """Whether a name is that of something that was never whole."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(*folders: Path) -> None:
    """Remove what killed processes left directly in these folders; only where nobody else writes to them."""
    for folder in folders:
        for path in folder.glob(".*.partial"):
            if not is_leftover(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
