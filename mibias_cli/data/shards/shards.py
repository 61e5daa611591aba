"""Shards of WebDataset: where each image lies in uncompressed tar files, and the labels beside it.

A tar that is not compressed is random access once its headers were read: nothing is unpacked, an image is read from its
place when a batch asks for it. Samples are WebDataset's: members of one name up to the first dot
(https://github.com/webdataset/webdataset).
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.folders import image_suffixes
from mibias_cli.data.files.refused import fault_of_head
from mibias_cli.data.files.tabular import Reading, Table, as_text, first_rows, texts, with_cells
from mibias_cli.data.shards.shard_names import find_shards, shard_part
from mibias_cli.data.shards.tar_members import MOST_READ, ReadMember, tar_members
from mibias_cli.errors import DataError

__all__ = ["KEY", "SHARD", "SHARD_SPLIT", "ShardImages", "Shards", "read_shards"]

KEY, SHARD, SHARD_SPLIT = "__key__", "__shard__", "__split__"
"""Columns that every set of shards has: a sample's key, its shard, and what the shard is a part of by its name."""

_LARGEST_IMAGE = 2**29
_LARGEST_TEXT = 2**16
_MOST_SHARED = 2**16


@dataclass(frozen=True, kw_only=True)
class ShardImages:
    """Images at their places in shards: some 20 bytes for each (see `Images`).

    A file is opened for each image and closed again, as image files are: no handle is kept that processes would share.

    Args:
        files: The shards.
        states: Size and time of change of each shard, in nanoseconds, when its headers were read.
        shard, offset, size: By image (n,): int32 and twice int64; offset −1: the sample has no image.
    """

    files: tuple[str, ...]
    states: tuple[tuple[int, int], ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def take(self, rows: np.ndarray) -> ShardImages:
        """The images of these rows."""
        return replace(self, shard=self.shard[rows], offset=self.offset[rows], size=self.size[rows])

    def __len__(self) -> int:
        return len(self.offset)

    def place(self, row: int) -> str:
        return self.files[self.shard[row]]

    def source(self, row: int) -> io.BytesIO:
        return io.BytesIO(self.content(row))

    def content(self, row: int) -> bytes:
        """The bytes of an image.

        Raises:
            DataError: The shard has changed since its headers were read: its places would be those of other bytes.
        """
        number = int(self.shard[row])
        with open(self.files[number], "rb", buffering=0) as file:
            if _state(file.fileno()) != self.states[number]:
                raise DataError(f"{self.files[number]}: has changed since it was looked through; begin again")
            file.seek(int(self.offset[row]))
            return file.read(int(self.size[row]))

    def fault(self, row: int) -> str | None:
        try:
            return fault_of_head(self.content(row), "")
        except OSError:
            return None

    def state(self, rows: np.ndarray) -> list[str]:
        times = [os.stat(file).st_mtime_ns for file in self.files]
        return [f"{self.size[row]} {self.offset[row]} {times[self.shard[row]]}" for row in rows.tolist()]

    def n_bytes(self) -> int:
        return int(self.size.sum())

    def times(self) -> list[int]:
        return [os.stat(file).st_mtime_ns for file in self.files]


@dataclass(frozen=True, kw_only=True)
class Shards:
    """What shards hold.

    Args:
        table: One row per sample, called `shard.tar/key.jpg` (without suffix where it has no image).
        images: Their images, row by row.
        endings: How many members end in what.
        notes: What was passed over.
    """

    table: Table
    images: ShardImages
    endings: Counter[str]
    notes: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Shards:
        """Some of the samples."""
        return replace(self, table=self.table.take(rows), images=self.images.take(rows))

    def refuse_imageless(self, remedy: str) -> None:
        """Raise a `DataError` that names the samples without an image, and says what to do."""
        without = self.images.offset < 0
        if without.any():
            endings = ", ".join(f"{ending} ({n})" for ending, n in self.endings.most_common(8))
            raise DataError(
                f"{self.table.path}: {without.sum()} of {len(without)} sample(s) have no image: "
                f"{self.table.rows_where(without)}; members end in {endings}; {remedy}"
            )


def read_shards(path: Path, *, image: str | None, reading: Reading) -> Shards:
    """Read the headers of shards, and the labels between the images.

    Args:
        path: As `find_shards` takes it.
        image: Ending of the member that is the image (`jpg`, `seg.png`, or `jpg;png`); None: the one that is an image.
        reading: How labels are read.

    Raises:
        DataError: No such shard, one that is compressed, cut short or damaged, a member that is there twice, or samples
            of several images. It names shard and member.
    """
    root, names = find_shards(path)
    samples = _Samples(None if image is None else [f".{one.strip().lstrip('.')}".lower() for one in image.split(";")])
    for name in names:
        samples.begin_shard(root / name, name)
        for member, read in tar_members(root / name):
            samples.add(member, read)
    samples.refuse_several(path)
    if not samples.keys:
        raise DataError(f"{path}: its {len(names)} shard(s) hold no sample: no member has a name like key.jpg")
    return samples.found(path, names, reading)


class _Samples:
    """Gathers samples member by member; only arrays, keys and cells are kept."""

    def __init__(self, endings: Sequence[str] | None) -> None:
        self.keys: list[str] = []
        self._wanted = None if endings is None else {ending: rank for rank, ending in enumerate(endings)}
        self._known = image_suffixes()
        self._files: list[str] = []
        self._states: list[tuple[int, int]] = []
        self._shard, self._offset, self._size = array("i"), array("q"), array("q")
        # of the best image so far: its rank (lower is better) and its ending
        self._rank: list[int | None] = []
        self._ending: list[str] = []
        self._several: dict[int, tuple[int, str, str]] = {}
        self._rows: dict[str, int] = {}  # of this shard
        self._columns: dict[str, list[str | None]] = {}
        self._nested: dict[str, str] = {}
        self._no_text: set[str] = set()
        self._shared: dict[str, str] = {}
        self._endings: Counter[str] = Counter()
        self._passed: dict[str, list[str]] = {"links, devices or the like": [], "without a name like key.jpg": []}
        self._odd: list[str] = []

    def begin_shard(self, path: Path, name: str) -> None:
        self._states.append(_state(path))
        self._files.append(str(path))
        self._name = name
        self._rows = {}

    def add(self, member: tarfile.TarInfo, read: ReadMember) -> None:
        key, ending = _split_name(member.name)
        if not member.isreg() or not ending:
            if not member.isdir():
                self._passed["without a name like key.jpg" if member.isreg() else "links, devices or the like"].append(
                    f"{self._name}/{member.name}"
                )
            return
        if key.startswith("/") or ".." in key.split("/") or not key.isprintable():
            self._odd.append(f"{self._name}/{key}{ending}")
        self._endings[ending] += 1
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self.keys)
            self.keys.append(key)
            self._shard.append(len(self._files) - 1)
            self._offset.append(-1)
            self._size.append(0)
            self._rank.append(None)
            self._ending.append("")
        rank = self._image_rank(ending)
        if rank is not None:
            self._add_image(row, rank, ending, member)
        elif _is_json(ending):
            self._add_json(row, member, read)
        elif ending not in self._known and ending[1:] not in self._nested:
            self._add_text(row, ending[1:], member, read)

    def _image_rank(self, ending: str) -> int | None:
        """How well an ending names the image: `jpg` better than `seg.jpg`; None: not at all."""
        if self._wanted is not None:
            return self._wanted.get(ending)
        if ending in self._known:
            return 0
        return 1 if f".{ending.rpartition('.')[2]}" in self._known else None

    def _add_image(self, row: int, rank: int, ending: str, member: tarfile.TarInfo) -> None:
        if member.size > _LARGEST_IMAGE:
            raise self._fault(member.name, f"has {member.size:,} bytes, more than an image has")
        best = self._rank[row]
        if best is not None and rank == best:
            if ending == self._ending[row]:
                raise self._fault(member.name, "is there twice; take one out")
            self._several[row] = (rank, self._ending[row], ending)
        if best is None or rank < best:
            self._rank[row], self._ending[row] = rank, ending
            self._offset[row], self._size[row] = member.offset_data, member.size

    def _add_json(self, row: int, member: tarfile.TarInfo, read: ReadMember) -> None:
        if member.size > MOST_READ:
            raise self._fault(member.name, f"has {member.size:,} bytes, more than labels have")
        try:
            fields = json.loads(read())
        except (ValueError, RecursionError) as error:
            raise self._fault(member.name, f"is no JSON ({error})") from error
        if not isinstance(fields, dict):
            raise self._fault(member.name, "is no JSON object; its fields are to be columns")
        for name, value in fields.items():
            if isinstance(value, dict):
                self._nested.setdefault(name, "objects")
            elif value is not None:
                if not isinstance(value, str):
                    self._no_text.add(name)
                try:
                    text = as_text(value)
                except ValueError:  # a list, and not of texts
                    self._nested.setdefault(name, "lists")
                else:
                    self._set(row, name, text, member)

    def _add_text(self, row: int, name: str, member: tarfile.TarInfo, read: ReadMember) -> None:
        if member.size > _LARGEST_TEXT:
            self._nested[name] = f"more than {_LARGEST_TEXT:,} bytes"
            return
        try:
            text = read().decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self._nested[name] = "bytes"
            return
        self._no_text.add(name)  # a member of text says nothing of types, as a CSV does not
        self._set(row, name, text, member)

    def _set(self, row: int, name: str, value: str | None, member: tarfile.TarInfo) -> None:
        cells = self._columns.setdefault(name, [])
        cells.extend([None] * (row + 1 - len(cells)))
        if cells[row] is not None:
            raise self._fault(
                member.name, f"gives {name!r} a second time; take one out (a sample's name ends at its first dot)"
            )
        if not (name.isascii() and (value or "").isascii()):
            self._refuse_half_letters(f"{name}{value}", member)
        # few values stand in many cells: each is kept once
        if value is not None and len(self._shared) < _MOST_SHARED:
            value = self._shared.setdefault(value, value)
        cells[row] = value

    def _refuse_half_letters(self, text: str, member: tarfile.TarInfo) -> None:
        """JSON may hold halves of letters (\\ud83d) that no text can have."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self._fault(member.name, f"holds text that is no Unicode ({error.reason})") from error

    def _fault(self, member: str, what: str) -> DataError:
        return DataError(f"{self._files[-1]}: member {member}: {what}")

    def refuse_several(self, path: Path) -> None:
        """Raise a `DataError` that names the samples of which nobody can say which of their images is meant."""
        rows = [row for row, (rank, _, _) in self._several.items() if rank == self._rank[row]]
        if rows:
            _, one, other = self._several[rows[0]]
            shown = first_rows([f"{self._files[self._shard[row]]}: {self.keys[row]}" for row in rows])
            raise DataError(
                f"{path}: {len(rows)} sample(s) have several images ({one[1:]}, {other[1:]}, …): {shown}; name the "
                f"ending of the one to read in data.image: {one[1:]} (mibias init --image {one[1:]})"
            )

    def found(self, path: Path, shards: Sequence[str], reading: Reading) -> Shards:
        n, shard = len(self.keys), np.frombuffer(self._shard, dtype=np.int32)
        of = shard.tolist()
        cells = {name: values for name, values in self._columns.items() if name not in self._nested}
        for values in cells.values():
            values.extend([None] * (n - len(values)))
        parts = shard_part(shards)
        own: dict[str, list[str | None]] = {
            KEY: list(self.keys), SHARD: [shards[k] for k in of], SHARD_SPLIT: [parts[k] for k in of],
        }  # fmt: skip
        names = [f"{shards[k]}/{key}{end}" for k, key, end in zip(of, self.keys, self._ending, strict=True)]
        table = Table(
            path=path,
            columns={},
            row_numbers=texts(names),
            text=frozenset({*cells, *own} - self._no_text),
            nested=self._nested,
        )
        images = ShardImages(
            files=tuple(self._files),
            states=tuple(self._states),
            shard=shard,
            offset=np.frombuffer(self._offset, dtype=np.int64),
            size=np.frombuffer(self._size, dtype=np.int64),
        )
        held = set(of)
        empty = [name for k, name in enumerate(shards) if k not in held]
        return Shards(
            table=with_cells(table, {name: Coded.of(held) for name, held in {**cells, **own}.items()}, reading),
            images=images,
            endings=self._endings,
            notes=tuple(self._notes(path, empty)),
        )

    def _notes(self, path: Path, empty: Sequence[str]) -> Iterator[str]:
        if empty:
            yield f"{path}: {len(empty)} shard(s) hold no sample: {first_rows(empty)}"
        for what, names in self._passed.items():
            if names:
                yield f"{path}: {len(names)} member(s) passed over, {what}: {first_rows(names)}"
        if self._odd:
            yield (
                f"{path}: {len(self._odd)} member(s) have names that lead elsewhere or cannot be printed; nothing is "
                f"unpacked, and they are read as others are: {first_rows([repr(name) for name in self._odd])}"
            )


def _state(file: Path | int) -> tuple[int, int]:
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns


def _split_name(name: str) -> tuple[str, str]:
    """A member's key and its ending with the dot, in lower case; an empty ending where WebDataset sees no sample."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, dot, ending = base.partition(".")
    return (f"{folder}{slash}{stem}", sys.intern(f".{ending.lower()}")) if stem and dot and ending else ("", "")


def _is_json(ending: str) -> bool:
    return ending == ".json" or ending.endswith(".json")
