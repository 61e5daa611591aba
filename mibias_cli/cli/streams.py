"""Standard streams that cannot fail and do no harm.

Who reads our output, or no longer does, changes neither results nor exit code; and no name that others chose steers a
terminal or a CI system.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

from mibias_cli.output.text import shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Outlet", "SafeText", "safe_streams", "unescaped"]

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


# GitHub obeys `::command::` at the beginning of a line, after spaces too, and `##[command]` anywhere
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE)


class SafeText(io.TextIOWrapper):
    """A text stream on which everything is shown and nothing obeyed: see `shown`; nor is a line a workflow command."""

    _is_blank = True
    """Whether the present line has nothing but spaces so far."""

    def write(self, text: str, /) -> int:
        """Write text with everything escaped that is more than text."""
        safe = shown(text).replace("##[", "#\\u0023[")
        # the first line of this text may be the middle of one
        first, line_feed, rest = safe.partition("\n")
        first = _COMMAND.sub(r"\1\\u003a", first) if self._is_blank else first
        super().write(first + line_feed + _COMMAND.sub(r"\1\\u003a", rest))
        last = rest.rpartition("\n")[2]
        self._is_blank = not last.strip() if line_feed else self._is_blank and not first.strip()
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """Write what steers, and is meant to: colours, bars, workflow commands."""
        self._is_blank = text.endswith("\n")
        return super().write(text)


class _Unescaped(io.TextIOBase):
    """The same stream for a writer that has escaped already what is not its own."""

    def __init__(self, stream: SafeText) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        return self._stream.write_as_it_is(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def unescaped(stream: TextIO) -> TextIO:
    """Where to write what steers on purpose: with colours, or as a workflow command, all names in it `shown`."""
    # Rich asks of a stream what this one has
    return cast(TextIO, _Unescaped(stream)) if isinstance(stream, SafeText) else stream


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
    sys.stdout, sys.stderr = _text(out, sys.stdout, errors=_ESCAPED), _text(err, sys.stderr, errors="backslashreplace")
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


def _escape(error: UnicodeError) -> tuple[str, int]:
    """What an encoding has no characters for, as JSON writes it: `\u2212` is understood there, and read elsewhere."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


_ESCAPED = "mibias.escaped"
codecs.register_error(_ESCAPED, _escape)


def _text(outlet: Outlet, given: TextIO | None, *, errors: str) -> SafeText:
    """A text stream on an outlet, in the encoding of the stream that it replaces; that one is None if it was closed."""
    plain = given if isinstance(given, io.TextIOWrapper) else None
    kept = plain.errors if plain and plain.errors not in ("strict", "surrogateescape") else None
    return SafeText(
        io.BufferedWriter(outlet),
        encoding=plain.encoding if plain else "utf-8",
        errors=kept or errors,
        line_buffering=plain is None or plain.line_buffering or plain.write_through,
    )
