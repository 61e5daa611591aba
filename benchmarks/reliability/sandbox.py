"""Commands of mibias in processes of their own, forked from one that has loaded everything: a case costs no start-up.

A forked child has its own signals, limits, working folder and streams, so whatever a case does to itself ends with it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "mibias", "warm_up"]

MEMORY_BYTES = 4 * 2**30
"""How much more a command may take than the process that it is forked from; beyond that it meets MemoryError."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended.

    Args:
        code: Its exit code; minus the signal that ended it; None where it had to be stopped.
        seconds: From its start to its end.
        waited: From the end of `during` to its end: how long a signal took.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    waited: float

    @property
    def is_raw(self) -> bool:
        """Whether something reached the user that is meant for programmers, or nothing at all where it failed."""
        text = self.out + self.err
        raw = any(mark in text for mark in ("Traceback (most recent", "internal error", "site-packages/"))
        return raw or self.code is None or self.code not in (0, 1, 2, 129, 130, 143) or bool(self.code and not self.err)


def warm_up() -> None:
    """Load what commands load, so that no child has to."""
    import mibias_cli.cli.main
    import mibias_cli.compare.runs
    import mibias_cli.compare.sweep
    import mibias_cli.estimate.file
    import mibias_cli.run.apply
    import mibias_cli.run.dry_run
    import mibias_cli.run.workflow
    import mibias_cli.survey.survey  # noqa: F401


def mibias(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
    during: Callable[[int], object] | None = None,
    limit: float = 120.0,
    memory: int = MEMORY_BYTES,
) -> Outcome:
    """Run a command in a folder.

    Args:
        before: Called in the child before the command: a patch, a limit, a closed stream.
        during: Called in this process with the child's process id: a signal, a change on disk.
        limit: Seconds after which it is stopped.
    """
    out, err = folder / ".stdout", folder / ".stderr"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(arguments, folder, out, err, environment or {}, before, memory)
    if during is not None:
        during(child)
    since = time.monotonic()
    code = _wait(child, started + limit)
    ended = time.monotonic()
    texts = [path.read_text(errors="replace") if path.exists() else "" for path in (out, err)]
    return Outcome(code=code, out=texts[0], err=texts[1], seconds=ended - started, waited=ended - since)


def _wait(child: int, until: float) -> int | None:
    """The exit code, or None where the child had to be killed; no process of its session is left."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code: int | None = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > until:
            code = None
            break
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
    return code


def _be_the_command(
    arguments: Sequence[str],
    folder: Path,
    out: Path,
    err: Path,
    environment: Mapping[str, str],
    before: Callable[[], object] | None,
    memory: int,
) -> None:
    """What the child does; it never returns."""
    code: object = 70
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        # streams as a shell gives them: files here
        for path, stream_number in ((out, 1), (err, 2)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, stream_number)
            os.close(file)
        os.chdir(folder)
        plain = {"MIBIAS_CACHE": str(folder / ".cache"), "HF_HUB_CACHE": str(folder / ".hub"), "NO_COLOR": "1"}
        os.environ.update({**plain, **environment})
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if before is not None:
            before()
        from mibias_cli.cli.main import main

        sys.argv = ["mibias", *arguments]
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        # the end of a process is part of it: threads that are waited for hold an interrupt
        threading._shutdown()  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
