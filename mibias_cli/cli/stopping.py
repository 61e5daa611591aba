"""Ctrl-C, SIGTERM and SIGHUP: each ends a command within seconds, wherever it is, with an exit code of its own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from mibias_cli.ranks.place import place_if_told

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["GRACE_SECONDS", "Interrupted", "Stopped", "on_stop", "reports_stops", "stoppable", "tells_of_stops"]

GRACE_SECONDS = 3.0
"""How long a command that was told to stop may take to tidy up."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDERR = 2
_how_to_go_on: list[Callable[[], str]] = []
"""What the command that is running says of going on."""
_reports = threading.Event()
"""Whether a command is running that reports its end: `Stopped` raised anywhere else would become a traceback."""

_told = threading.Event()
"""Whether the command has said that it was stopped."""


class Stopped(KeyboardInterrupt):
    """The process was told to stop; a KeyboardInterrupt, so that all that tidies up after Ctrl-C does so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class Interrupted(Exception):
    """The user stopped a command; the text says how to go on."""

    def __init__(self, text: str, *, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@contextmanager
def on_stop(say: Callable[[], str]) -> Iterator[None]:
    """Have a command that is stopped while the block runs say how to go on.

    Raises:
        Interrupted: It was stopped.
    """
    _how_to_go_on.append(say)
    try:
        yield
    except KeyboardInterrupt as error:
        code = error.exit_code if isinstance(error, Stopped) else 128 + signal.SIGINT
        raise Interrupted(say(), exit_code=code) from error
    finally:
        _how_to_go_on.remove(say)


def tells_of_stops() -> bool:
    """Whether this process is to say now that it was stopped: once, of several ranks the first or who started them."""
    if _told.is_set():
        return False
    _told.set()
    place = place_if_told(os.environ)
    return place is None or (place.rank == 0 and place.by != "mibias")


@contextmanager
def reports_stops() -> Iterator[None]:
    """Say that the block turns `Stopped` into a message and an exit code."""
    _told.clear()
    _reports.set()
    try:
        yield
    finally:
        _reports.clear()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let signals end the process by `Stopped`; where that gets lost or takes too long, a thread ends it.

    An exception alone is not enough: raised in a callback or a destructor it is dropped, and the code of a library may
    not return to Python for minutes. A signal that was ignored before (`nohup`, a job in the background) stays ignored.
    The block is all that the process is for: behind it a signal ends what is left at once.
    """
    mine, last = os.getpid(), threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        # in a child, which reads data, it is the parent's business
        if os.getpid() != mine:
            return
        # who asks twice does not want to wait, and before and after a command nothing is open
        if last.is_set() or not _reports.is_set():
            _end(number)
        last.set()
        # torch would raise an error as soon as a process that reads data ends, which was told to stop as well
        signal.signal(signal.SIGCHLD, _unheard)
        raise Stopped(number)

    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, stop)
    sys.unraisablehook = _silent_after(last, sys.unraisablehook)
    # the system writes a signal's number here at once, also while the main thread is in code that is not Python's
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, heard), name="stopping", daemon=True).start()
    try:
        yield
    finally:
        last.set()


def _unheard(_number: int, _frame: FrameType | None) -> None:
    """As a function: for SIG_DFL, Python complains of a signal that has come already."""


def _silent_after(
    last: threading.Event, hook: Callable[[UnraisableHookArgs], object]
) -> Callable[[UnraisableHookArgs], object]:
    """The hook, silent from a stop on: one that came in a destructor the watch ends, and objects are left half made."""
    return lambda args: None if last.is_set() else hook(args)


def _watch(reading: int, heard: list[signal.Signals]) -> None:
    """Wait for a signal's number, and if the process is still there some seconds later, end it."""
    while (number := os.read(reading, 1)[0]) not in heard:
        pass
    time.sleep(GRACE_SECONDS)
    _end(number)


def _end(number: int) -> None:
    """End the process as it is: what counts is on the disk whole or not at all."""
    said = ""
    with contextlib.suppress(Exception):
        said = f"; {_how_to_go_on[-1]()}" if _how_to_go_on else ""
    # a pipe that nobody reads would hold us
    if tells_of_stops() and select.select([], [_STDERR], [], 0)[1]:
        with contextlib.suppress(OSError):
            os.write(_STDERR, f"\ninterrupted{said}\n".encode(errors="backslashreplace"))
    os._exit(128 + number)
