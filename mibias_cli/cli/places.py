"""Files that a command is to write, looked at before it computes: hours later is too late to refuse them."""

from __future__ import annotations

from pathlib import Path

from mibias_cli.errors import RunError
from mibias_cli.output.whole_files import is_device

__all__ = ["refuse_place"]


def refuse_place(path: Path, *, option: str, what: str, begins: bytes) -> None:
    """Raise a `RunError` where no file can be written, or one stands that this command would not have written.

    Args:
        option: The option that names the path.
        what: What is written there.
        begins: How such a file begins; white space and a byte-order mark aside.
    """
    if path.is_dir():
        raise RunError(f"{option} {path}: is a folder; name a file in it")
    for folder in path.parents:
        if folder.exists():
            if not folder.is_dir():
                raise RunError(f"{option} {path}: {folder} is a file, so nothing can be written below it")
            break
    # devices and pipes are written to as they are; behind /dev/stdout may be a file to which a log is appended
    if path.is_file() and not is_device(path):
        with path.open("rb") as file:
            head = file.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()
        if head and not head.startswith(begins):
            raise RunError(f"{option} {path}: exists already and is no {what}; choose another name, or remove it")
