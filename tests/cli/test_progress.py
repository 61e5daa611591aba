"""Progress: plain lines at a human pace, bars on a terminal alone."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from mibias_cli.cli.progress import PlainProgress, TerminalProgress, is_terminal, shown_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"CI": "1"}, False), ({"NO_COLOR": "1"}, False),
     ({"CI": ""}, True)],
)  # fmt: skip
def test_bars_only_where_they_are_welcome(environment: dict[str, str], expected: bool) -> None:
    assert is_terminal(Terminal(), environment) is expected
    assert is_terminal(io.StringIO(), environment) is False


def test_plain_lines_come_every_few_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, seconds=5, clock=clock)
    progress.stage("training")
    progress.begin("epoch 1", 100)
    for step in range(1, 101):
        clock.now += 0.13
        progress.advance(step, {"task_loss": 1 / step})
    progress.end()
    clock.now += 60
    progress.begin("epoch 2", 50)
    progress.advance(10)
    progress.note("a note")
    progress.warn("a warning")
    progress.close()
    assert stream.getvalue().splitlines() == [
        "[00:00] training",
        "[00:05] epoch 1 39/100 (39%)  task_loss 0.02564",
        "[00:10] epoch 1 78/100 (78%)  task_loss 0.01282",
        "[01:12] epoch 2 10/50 (20%)",
        "a note",
        "warning: a warning",
    ]


def test_an_unknown_total_is_no_error() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock=clock)
    progress.begin("reading", 0)
    clock.now += 10
    progress.advance(3)
    assert stream.getvalue() == "[00:10] reading 3/0\n"


def test_a_terminal_gets_bars_that_go_away() -> None:
    stream = Terminal()
    progress = TerminalProgress(Console(file=stream, force_terminal=True, width=120, highlight=False))
    progress.stage("training [bold]as is[/bold]")
    progress.begin("epoch 1", 10)
    progress.advance(5, {"task_loss": 0.5})
    progress._bars.refresh()
    progress.warn("heed [this]")
    progress.end()
    progress.advance(6)
    progress.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "training [bold]as is[/bold]" in text
    assert "warning: heed [this]" in text
    # elapsed and remaining time beside the bar, figures below it
    assert re.search(r"epoch 1 .* 5/10 \S+ ETA \S+ *\n  task_loss 0\.5", text)


def test_a_bar_and_its_figures_fit_80_columns() -> None:
    stream = Terminal()
    progress = TerminalProgress(Console(file=stream, force_terminal=True, width=80, highlight=False))
    progress.begin("debias", 12_000)
    progress.advance(6_000, {"loss": 0.123456, "leakage bits": 1.23456, "λ": 0.5})
    progress._bars.refresh()
    progress.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert re.search(r"debias .* 6000/12000 \S+ ETA \S+ *\n  loss 0\.1235  leakage bits 1\.235  λ 0\.5\s", text)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"}])
def test_where_bars_are_not_welcome_lines_are_plain(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    for name in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    with shown_progress() as progress:
        assert isinstance(progress, TerminalProgress)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream.seek(0)
    stream.truncate()
    with shown_progress() as progress:
        progress.stage("training")
        progress.begin("debias", 10)
        progress.advance(5, {"loss": 0.5, "λ": 1.0})
    assert stream.getvalue() == "[00:00] training\n"
