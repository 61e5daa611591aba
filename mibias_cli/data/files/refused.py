"""Files that are not read: each kind by its name, with what to do instead."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mibias_cli.errors import DataError
from mibias_cli.output.whole_files import NO_FILE

__all__ = [
    "DICOM",
    "DICOM_REMEDY",
    "UNREADABLE",
    "fault_of_content",
    "fault_of_head",
    "is_bomb",
    "is_pointer",
    "numpy_errors",
    "refuse_formats",
    "require_file",
]

DICOM = (".dcm", ".dicom")
"""Suffixes of DICOM images."""
DICOM_REMEDY = "convert them to PNG, of 16 bits where there are more than 8, with pydicom or dcm2pnm for example"
UNREADABLE = (
    *(ValueError, OSError, EOFError, OverflowError, TypeError, KeyError, RuntimeError, SyntaxError),
    *(struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError),
)
"""numpy and zipfile tell of a damaged or foreign file by any of these."""
_LARGEST_HEAD = 132
_MANY_BYTES, _MOST_TIMES = 2**28, 200
_POINTER = b"version https://git-lfs.github.com/spec/"
_PICKLE = (
    "a pickle or torch file, which can run code when it is opened",
    "write its arrays as .safetensors, .npz or .npy, or its table as .csv or .parquet",
)
_ARCHIVE = ("an archive", "unpack it, and name a file or a folder in it")
_SPREADSHEET = ("a spreadsheet", "save the sheet as CSV (UTF-8)")
_HDF = ("an HDF5 or MATLAB file", "write its arrays as .npz or .npy")
_DICOM = ("a DICOM image", DICOM_REMEDY)
_LFS = ("a Git LFS pointer, not the file itself", "fetch the file: git lfs pull")
_JSON = (
    "JSON",
    "write a table of one row per sample (.csv, .parquet), or one flat object a line (.jsonl); "
    "of COCO's annotations, one row per image with its file_name and its labels",
)
_STATISTICS = ("a file of a statistics program or a database", "write its table as .csv or .parquet")
_HTML = ("an HTML page", "fetch the file itself: it may need a login, or the link to its raw content")
_TYPED = {b"PAR1": ("Parquet", ".parquet"), b"ARROW1": ("Arrow", ".arrow")}
_TEXT = (".csv", ".tsv", ".txt", ".data", ".dat")
_BY_SUFFIX = {
    **dict.fromkeys((".sas7bdat", ".xpt", ".sav", ".dta", ".rds", ".rdata", ".arff", ".sqlite", ".db"), _STATISTICS),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _SPREADSHEET),
    **dict.fromkeys((".zip", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib"), _PICKLE),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), _HDF),
    **dict.fromkeys(DICOM, _DICOM),
    ".tar": (_ARCHIVE[0], f"{_ARCHIVE[1]}; WebDataset's shards are read by data.source: webdataset"),
    ".json": _JSON,
}


def require_file(path: Path) -> None:
    """Raise a `DataError` where there is no file at a path, and say what is there instead."""
    if path.is_file():
        return
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file in it")
    raise DataError(f"{path}: {NO_FILE if path.exists() else 'no such file'}")


def refuse_formats(path: Path) -> None:
    """Raise a `DataError` if a file is of a kind that tables and arrays are not read from, by suffix or by content."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    # table.tar.gz is an archive, though it ends in .gz
    ending = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else path.suffix.lower()
    fault = fault_of_content(path)
    if fault is None and ending in _BY_SUFFIX:
        fault = _said(*_BY_SUFFIX[ending])
    if fault is not None:
        raise DataError(f"{path}: {fault}")


def is_pointer(path: Path) -> bool:
    """Whether a file is Git LFS's pointer to a file that was never fetched."""
    with path.open("rb") as file:
        return file.read(_LARGEST_HEAD).startswith(_POINTER)


def is_bomb(n_packed: int, n_unpacked: int) -> bool:
    """Whether a packed file unpacks to so much more that it is to fill memory: gigabytes, of which it holds nothing."""
    return n_unpacked > _MANY_BYTES and n_unpacked > _MOST_TIMES * n_packed


def fault_of_content(path: Path | str) -> str | None:
    """What a file is by its first bytes, and what to do, where it is of a kind that nobody can read here; else None."""
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return fault_of_head(file.read(_LARGEST_HEAD), Path(path).suffix.lower())


def fault_of_head(head: bytes, suffix: str) -> str | None:
    """The same of a file's first bytes and its suffix."""
    if head.startswith(_POINTER):
        return _said(*_LFS)
    if head[128:132] == b"DICM":
        return _said(*_DICOM)
    # arrays (.npz), spreadsheets and torch files are zip archives too: they go by their names
    if head.startswith(b"PK\x03\x04") and suffix != ".npz" and suffix not in _BY_SUFFIX:
        return _said(*_ARCHIVE)
    if suffix in _TEXT:
        for magic, (name, ending) in _TYPED.items():
            if head.startswith(magic):
                return _said(f"{name} under a name of text", f"name it {ending}")
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            return _said(*_HTML)
        if start.startswith(b'{"') or (start.startswith(b"[") and start[1:].lstrip().startswith(b'{"')):
            return _said(f"{_JSON[0]} under a name of text", _JSON[1])
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _said(*_PICKLE)
    return None


def _said(what: str, remedy: str) -> str:
    return f"is {what}, which is not read; {remedy}"


@contextmanager
def numpy_errors(path: Path, suffix: str) -> Iterator[None]:
    """Whatever numpy raises on a file of arrays that is damaged or foreign becomes a `DataError` that names it."""
    try:
        yield
    except UNREADABLE as error:
        raise DataError(
            f"{path}: cannot be read as {suffix} without pickled objects (was it cut short?): {error}"
        ) from error
