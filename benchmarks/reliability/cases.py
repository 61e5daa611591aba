"""What a case is, and the folder that it works in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stock import IMAGES, TABLE, copy_of, people, write_pictures

__all__ = ["Bad", "Place", "bad", "table_case"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A case's own folder, and where the stock is that it may copy from."""

    work: Path
    folder: Path

    def stock(self, *names: str) -> Place:
        """Copy parts of the stock here."""
        copy_of(self.work, *names, to=self.folder)
        return self

    def write(self, name: str, content: str | bytes) -> Path:
        """A file here."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def table(self) -> Place:
        """The recipe of a table with its data."""
        people(self.folder / "people.csv")
        self.write("r.yaml", TABLE)
        return self

    def images(self) -> Place:
        """The recipe of images with its data."""
        write_pictures(self.folder)
        self.write("r.yaml", IMAGES)
        return self

    def edit(self, name: str, old: str, new: str) -> Place:
        """Replace a piece of a text file, which must be there."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text, (name, old)
        self.write(name, text.replace(old, new))
        return self

    def cut(self, name: str, keep: float = 0.6) -> Place:
        """Leave only the first part of a file."""
        content = (self.folder / name).read_bytes()
        self.write(name, content[: int(keep * len(content))])
        return self

    def remove(self, name: str) -> Place:
        """Remove a file or a folder."""
        path = self.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An input that must be refused in plain words."""

    name: str
    make: Callable[[Place], Sequence[str]]


def bad(name: str, make: Callable[[Place], Sequence[str]]) -> Bad:
    """A case from what lays it out and gives the command's arguments."""
    return Bad(name=name, make=make)


TRAIN = ("train", "r.yaml", "--out", "run", "--offline")


def table_case(name: str, *edits: tuple[str, str, str], arguments: Sequence[str] = TRAIN) -> Bad:
    """Training on the table with pieces of its files replaced: (file, old, new)."""

    def make(place: Place) -> Sequence[str]:
        place.table()
        for edit in edits:
            place.edit(*edit)
        return arguments

    return bad(name, make)
