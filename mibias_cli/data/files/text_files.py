"""Files of delimited text: from bytes to records, with the encoding asked for and the delimiter found."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mibias_cli.data.files.cells import float_of
from mibias_cli.data.files.refused import is_bomb
from mibias_cli.errors import DataError

__all__ = [
    "LOOKED_AT",
    "Records",
    "are_numbers",
    "is_header",
    "read_records",
    "refuse_blanks",
    "refuse_quotes",
    "without_empty_ends",
]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
_TOLD = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)
LOOKED_AT = 200
"""Rows that tell whether a file is what it seems."""
_BLANKS = 3
"""Words of a header of one name from which blanks may be between columns."""
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 50, 2**20
_PART_BYTES = 2**24
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records of a file.

    Args:
        header: Names of the columns.
        rows: The cells of each record, as many as the record has.
        numbers: The line on which each record ends; the header is row 1.
        delimiter: What separates the cells, in words, where it is not what the file's name says; else None.
    """

    header: list[str]
    rows: list[list[str]]
    numbers: list[int]
    delimiter: str | None


def read_records(path: Path, encoding: str) -> Records:
    """The records of a CSV or TSV file, gzipped or not.

    Python's own reader and not pyarrow's, because it knows the line on which every record ends: row numbers are right
    even after blank lines. A record whose cells hold line breaks is named by its last line.

    Raises:
        DataError: The text is in another encoding, quotes do not close, or the gzip stream is broken.
    """
    text = _text(path, encoding)
    usual = "\t" if ".tsv" in path.suffixes else ","
    # Excel's own first line, sep=; says what separates the others
    told = _TOLD.match(text)
    delimiter = told[1] if told else _delimiter(text, usual)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        if told:
            next(reader)
        # a byte order mark, or a character without width, is no part of a name
        header = [name.strip().strip("\ufeff\u200b\u2060").strip() for name in next(reader, [])]
        for row in reader:
            if row:  # a blank line is no record, but it counts as a line
                rows.append(row)
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: {error}") from error
    said = None if delimiter == usual else _DELIMITERS[delimiter]
    return Records(header=header, rows=rows, numbers=numbers, delimiter=said)


_SINGLE = re.compile(r"'.*'")


def _text(path: Path, encoding: str) -> str:
    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":  # gzip, whatever the file's name is
            raw = _unpacked(path, raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip stream is broken ({error})") from error
    is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    # UTF-16 of plain English is valid UTF-8 but for its first bytes, with a zero beside every letter
    if is_utf8 and (raw[:2] in _BYTE_ORDER_MARKS or 4 * raw[:1000].count(0) > len(raw[:1000])):
        name = "utf-16" if raw[:2] in _BYTE_ORDER_MARKS else "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
        raise DataError(f"{path}: is UTF-16 text; set data.encoding to {name}, or save it as UTF-8")
    try:
        # -sig: Excel puts a byte order mark before the first column's name
        text = raw.decode("utf-8-sig" if is_utf8 else encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: not {encoding.upper()} text (row {row}, byte {error.start}); {_other_encoding(raw, error.start)}"
        ) from error
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}: holds a NUL character (row {row}), as damaged files do; take it out")
    return text


def _unpacked(path: Path, raw: bytes) -> bytes:
    """The content of a gzip file; a DataError before a few megabytes become gigabytes."""
    parts: list[bytes] = []
    n_bytes = 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        while part := file.read(_PART_BYTES):
            n_bytes += len(part)
            parts.append(part)
            if is_bomb(len(raw), n_bytes):
                raise DataError(
                    f"{path}: unpacks from {len(raw):,} bytes to more than {n_bytes:,}; unpack it first if so meant"
                )
    return b"".join(parts)


def _other_encoding(raw: bytes, position: int) -> str:
    """What to do about bytes that are no UTF-8: the likely encoding, and how it would read them."""
    # Latin-1 has no letters at these bytes, where Windows has quotes, dashes and the euro
    name = "cp1252" if any(0x80 <= byte <= 0x9F for byte in raw) else "latin-1"
    line = (
        raw[max(0, position - 10) : position].rpartition(b"\n")[2] + raw[position : position + 10].partition(b"\n")[0]
    )
    shown = line.decode(name, errors="replace").strip()
    return f"set data.encoding to {name} if it should read {shown!r}, or save it as UTF-8 or .parquet"


def _delimiter(text: str, usual: str) -> str:
    """The delimiter that gives the first records most cells, the same number in each; the usual one where none does."""
    head = text[:_SAMPLE_CHARACTERS]
    widths = {usual: 1}
    for delimiter in (usual, *(other for other in _DELIMITERS if other != usual)):
        found = {len(row) for row in islice(_sample(head, delimiter), _SAMPLE_ROWS)}
        if len(found) == 1:
            widths[delimiter] = found.pop()
    # of equal widths the first: the usual one
    return max(widths, key=lambda delimiter: widths[delimiter])


def _sample(head: str, delimiter: str) -> Iterator[list[str]]:
    """Records as far as they can be read; the text may be cut in the middle of one."""
    try:
        yield from (row for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, strict=True) if row)
    except csv.Error:
        yield []


def without_empty_ends(found: Records) -> tuple[Records, int]:
    """Records without empty cells after the last name, and how many had some; and without names of nothing there."""
    header = list(found.header)
    while header and not header[-1] and not any("".join(record[len(header) - 1 :]).strip() for record in found.rows):
        header.pop()
    n = len(header)
    long = [len(record) > n and not "".join(record[n:]).strip() for record in found.rows]
    rows = [record[:n] if is_long else record for record, is_long in zip(found.rows, long, strict=True)]
    return replace(found, header=header, rows=rows), sum(long)


def refuse_blanks(path: Path, found: Records) -> None:
    """Raise a `DataError` where columns are separated by blanks, which are in names and values too."""
    n = len(found.header[0].split())
    apart = len(found.header) == 1 and n >= _BLANKS
    if apart and all(len(record) == 1 and len(record[0].split()) == n for record in found.rows[:LOOKED_AT]):
        raise DataError(f"{path}: its columns are separated by blanks, which is not read; put commas or tabs there")


def refuse_quotes(path: Path, found: Records) -> None:
    """Raise a `DataError` where all names are in single quotes, as databases write them: they would be of the cells."""
    if all(_SINGLE.fullmatch(name) for name in found.header):
        raise DataError(f"{path}: its cells are in single quotes, which is not read; write double quotes, or none")


def is_header(record: Sequence[str], found: Records) -> bool:
    """Whether a row has the header's cells, as files have that were appended to each other."""
    same = len(found.header) > 1 and [cell.strip() for cell in record] == found.header
    return same and not any(are_numbers([name]) for name in found.header)


def are_numbers(cells: Iterable[str]) -> bool:
    """Whether all of some cells are numbers."""
    return all(float_of(cell) is not None for cell in cells)
