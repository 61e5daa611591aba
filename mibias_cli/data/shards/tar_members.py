"""The members of an uncompressed tar, header by header: nothing is unpacked, and a header that lies is an error."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mibias_cli.data.files.refused import is_pointer
from mibias_cli.errors import DataError

__all__ = ["MOST_READ", "ReadMember", "tar_members"]

MOST_READ = 2**20
"""Bytes of a header, or of a member that is read, at most."""
_LONGEST_NAME = 1024
_BLOCK = 512
_LOOKED_AT_END = 2**16
_FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError)
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}

ReadMember = Callable[[], bytes]
"""Reads the member that was given last."""


class _Archive(tarfile.TarFile):
    members: list[tarfile.TarInfo]


class _HeaderFile(io.BufferedReader):
    """A tar of which only headers and small members are read: whoever asks for more at once believes a lie."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MOST_READ:
            raise tarfile.ReadError(f"a header says that it has {size} bytes")
        return super().read(size)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, ReadMember]]:
    """Each member of a tar in order, and what reads its content, of at most `MOST_READ` bytes.

    Raises:
        DataError: The file is compressed, no tar, cut short, damaged, or several tars in one.
    """
    try:
        with _HeaderFile(io.FileIO(path)) as file:
            _refuse_packed(path, file)
            n_bytes, end = os.fstat(file.fileno()).st_size, 0
            # names in any encoding: bytes that are no UTF-8 become \xe9, so that no two names become one
            archive = _Archive(fileobj=file, mode="r", encoding="utf-8", errors="backslashreplace")
            while (member := archive.next()) is not None:
                archive.members.clear()  # else every header is kept
                _check(path, member, n_bytes, end)
                end = member.offset_data
                yield member, partial(_content, file, member.offset_data, member.size)
            _check_end(path, file, archive.offset)
    except _FAULTS as error:
        raise DataError(f"{path}: is no tar, or a damaged one: {error}; fetch or write it again") from error


def _content(file: _HeaderFile, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _refuse_packed(path: Path, file: _HeaderFile) -> None:
    head = file.read(8)
    file.seek(0)
    for magic, kind in _PACKED.items():
        if head.startswith(magic):
            raise DataError(
                f"{path}: is compressed ({kind}), so that its images cannot be found by their places; unpack it to a "
                ".tar: images are compressed already, and it will hardly be larger"
            )
    if is_pointer(path):
        raise DataError(f"{path}: is a Git LFS pointer, not the file itself; fetch the file: git lfs pull")


def _check(path: Path, member: tarfile.TarInfo, n_bytes: int, end: int) -> None:
    """Raise a `DataError` if a header cannot be meant."""
    if len(member.name) > _LONGEST_NAME:
        raise DataError(f"{path}: member {member.name[:60]}…: its name has {len(member.name):,} characters")
    # a header that leads backwards would be read without end
    if member.size < 0 or member.offset_data <= end:
        raise DataError(f"{path}: member {member.name}: its header is damaged; fetch or write the file again")
    if member.issparse():
        raise DataError(
            f"{path}: member {member.name}: is stored sparsely, which is not read; write it as a plain file"
        )
    if member.isreg() and member.offset_data + member.size > n_bytes:
        raise DataError(
            f"{path}: member {member.name}: the file ends within it, so it is cut short; fetch or write it again"
        )


def _check_end(path: Path, file: _HeaderFile, offset: int) -> None:
    """Raise a `DataError` unless a block of zeros ends the tar, and nothing comes after it.

    tarfile takes a header that is damaged, or not there any more, for the end.
    """
    file.seek(offset)
    last = file.read(_BLOCK)
    if len(last) < _BLOCK:
        raise DataError(f"{path}: ends without a mark of its end, so it may be cut short; fetch or write it again")
    if any(last):
        raise DataError(f"{path}: the header at byte {offset:,} is damaged; fetch or write it again")
    if any(file.read(_LOOKED_AT_END)):
        raise DataError(f"{path}: goes on after its end, as tars do that were joined; keep each in a file of its own")
