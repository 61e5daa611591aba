"""Standard streams that cannot fail: who reads our output, or no longer does, changes neither results nor exit code."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Outlet", "safe_streams"]

_STDIN, _STDOUT, _STDERR = range(3)


class Outlet(io.FileIO):
    """A file descriptor to which writing always succeeds; `fault` is the first reason why something was lost."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.fault: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Write, or where that fails drop the data and note why."""
        n_bytes = memoryview(data).nbytes
        try:
            written = super().write(data)
            # a pipe that was set not to block, and is full: wait until its reader has caught up
            while written is None:
                select.select([], [self.fileno()], [])
                written = super().write(data)
        except OSError as error:
            self.fault = self.fault or error
            return n_bytes
        return written

    @property
    def lost(self) -> str:
        """Why output was lost that somebody still wanted, or an empty text: a reader that went away wants no more."""
        if self.fault is None or self.fault.errno == errno.EPIPE:
            return ""
        return self.fault.strerror or str(self.fault)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Replace stdout and stderr for the rest of the process by streams that never raise.

    A command ends as if it had been heard, with one exception: where it ends well, but what it wrote to stdout was lost
    (a full disk), it ends with an error, because that text was its result.

    Raises:
        SystemExit: As the block raised it, or with 2 where a result was lost.
    """
    _fill_closed()
    out, err = Outlet(_STDOUT), Outlet(_STDERR)
    sys.stdout, sys.stderr = _text(out, sys.stdout, errors="strict"), _text(err, sys.stderr, errors="backslashreplace")
    try:
        yield
    except SystemExit as end:
        sys.stdout.flush()
        if end.code in (0, None) and out.lost:
            print(f"error: stdout: {out.lost}; the output is not whole", file=sys.stderr, flush=True)
            raise SystemExit(2) from end
        raise


def _fill_closed() -> None:
    """Send streams that were closed before we began (`>&-`) nowhere, so that no file of ours takes their numbers."""
    # the lowest free number is given first
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(number, True)
    os.close(number)


def _text(outlet: Outlet, given: TextIO | None, *, errors: str) -> io.TextIOWrapper:
    """A text stream on an outlet, in the encoding of the stream that it replaces; that one is None if it was closed."""
    plain = given if isinstance(given, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=plain.encoding if plain else "utf-8",
        errors=(plain.errors if plain else None) or errors,
        line_buffering=plain is None or plain.line_buffering or plain.write_through,
    )
