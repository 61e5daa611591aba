"""Progress as the user sees it: bars on a terminal, plain lines every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from mibias_cli.cli.streams import unescaped
from mibias_cli.output.text import one_line, wrapped
from mibias_cli.progress import Progress

if TYPE_CHECKING:
    from rich import progress as bars
    from rich.console import Console, RenderableType
    from rich.progress import TaskID

__all__ = ["Display", "PlainProgress", "TerminalProgress", "is_terminal", "shown_progress"]


class Display(Progress, Protocol):
    """A progress that holds the terminal until it is closed; `warned` is what it was told to warn of."""

    warned: list[str]

    def close(self) -> None: ...


def is_terminal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether bars and colours are welcome: a terminal that is not dumb, outside CI, with no NO_COLOR set."""
    # a CI log may look like a terminal, but keeps every frame of a bar
    if any(environment.get(name) for name in ("CI", "NO_COLOR")) or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


@contextmanager
def shown_progress() -> Iterator[Display]:
    """The progress display that suits stderr, closed at the end whatever happens."""
    display: Display = TerminalProgress() if is_terminal(sys.stderr, os.environ) else PlainProgress(sys.stderr)
    try:
        yield display
    finally:
        display.close()


class PlainProgress:
    """One line per stage, and while work is counted one line every few seconds (by a clock that tests replace)."""

    def __init__(self, stream: TextIO, *, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self.warned = list[str]()
        self._seconds = seconds
        self._clock = clock
        self._started = self._last_line = clock()
        self._description = ""
        self._total = 0

    # each method's first line says what is shown; when it is called, see mibias_cli.progress.Progress
    def stage(self, text: str) -> None:
        """A line with the time since the start."""
        self._write(text)

    def begin(self, description: str, total: int) -> None:
        """Nothing yet: short pieces of work leave no line."""
        self._description, self._total = description, total

    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """A line, if the last one is long enough ago."""
        # counted from the last line of any kind: a stage's line is news enough
        if self._clock() - self._last_line >= self._seconds:
            share = f" ({done / self._total:.0%})" if self._total else ""
            text = f"{self._description} {done}/{self._total}{share}"
            self._write("  ".join([text, *([_metrics(metrics)] if metrics else [])]))

    def end(self) -> None:
        """Nothing: the next line says what comes."""

    def note(self, text: str) -> None:
        """The line as it is."""
        print(one_line(text), file=self._stream, flush=True)

    def warn(self, text: str) -> None:
        """The line, marked."""
        self.warned.append(text)
        print(f"warning: {one_line(text)}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, text: str) -> None:
        self._last_line = self._clock()
        minutes, seconds = divmod(int(self._last_line - self._started), 60)
        print(f"[{minutes:02d}:{seconds:02d}] {one_line(text)}", file=self._stream, flush=True)


class TerminalProgress:
    """Stages as lines, counted work as a bar over its figures; both go away when the work is done.

    On stderr, or another console.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich import progress as bars
        from rich.console import Console

        self.warned = list[str]()
        self._console = console or Console(file=unescaped(sys.stderr), highlight=False)
        self._bars = _bars_over_figures()(
            bars.TextColumn("  {task.description}", markup=False),
            bars.BarColumn(bar_width=20),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("ETA"),
            bars.TimeRemainingColumn(),
            console=self._console,
            # finished bars go away, so that only the stages' lines stay
            transient=True,
        )
        self._task: TaskID | None = None
        self._bars.start()

    def stage(self, text: str) -> None:
        """A bold line."""
        self._print(text, style="bold")

    def begin(self, description: str, total: int) -> None:
        """A new bar in place of the last."""
        self.end()
        self._task = self._bars.add_task(one_line(description), total=total, metrics="")

    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """Move the bar; metrics stay until newer ones come."""
        if self._task is None:
            return
        self._bars.update(self._task, completed=done)
        if metrics:
            self._bars.update(self._task, metrics=_metrics(metrics))

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def note(self, text: str) -> None:
        """A dim line above the bar."""
        self._print(text, style="dim")

    def warn(self, text: str) -> None:
        """A yellow line above the bar."""
        self.warned.append(text)
        self._print(f"warning: {text}", style="yellow")

    def close(self) -> None:
        """Give the terminal back."""
        self.end()
        self._bars.stop()

    def _print(self, text: str, *, style: str) -> None:
        # no markup: names of attributes and paths may hold brackets
        # broken between words here, with paths whole: Rich would break these, and a terminal breaks words
        text = wrapped(one_line(text), max(self._console.width, 40))
        self._console.print(text, style=style, markup=False, soft_wrap=True)


def _bars_over_figures() -> type[bars.Progress]:
    """Rich's bars, with each one's figures on a line below it: beside it they would not fit 80 columns."""
    from rich import progress as bars
    from rich.text import Text

    class BarsOverFigures(bars.Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if task.fields["metrics"]:
                    yield Text(f"  {task.fields['metrics']}", no_wrap=True, overflow="ellipsis")

    return BarsOverFigures


def _metrics(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{one_line(name)} {value:.4g}" for name, value in metrics.items())
