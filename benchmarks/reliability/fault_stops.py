"""Signals, kills inside writes, and Ctrl-C in every command: nothing is lost, and the end comes soon."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from cases import Place
from fault_runs import (
    LONGEST_WAIT,
    TRAIN,
    Fault,
    Verdict,
    at,
    goes_on,
    kill,
    lay_out,
    raw,
    reference,
)  # fmt: skip
from sandbox import Outcome, mibias

__all__ = ["cases"]


def cases(seed: int) -> Iterator[Fault]:
    """All of them; moments are drawn by the seed."""
    draw = random.Random(seed)
    for k in range(30):
        yield _signal_case(f"kill at a random moment {k}", "SIGKILL", signal.SIGKILL, draw.random())
    yield from _kills_in_writes()
    # most of them only say how long it takes: going on is tried with every fourth
    for k in range(60):
        yield _signal_case(f"Ctrl-C at a random moment {k}", "Ctrl-C", signal.SIGINT, draw.random(), resumes=k % 4 == 0)
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")):
        for k in range(6):
            yield _signal_case(f"{name} at a random moment {k}", name, number, draw.random())
    yield from _stops_of_commands()


def _signal_case(name: str, kind: str, number: int, moment: float, *, resumes: bool = True) -> Fault:
    def check(place: Place) -> Verdict:
        _, seconds = reference(place)
        lay_out(place)

        def send(child: int) -> None:
            time.sleep(moment * seconds)
            os.kill(child, number)

        done = mibias(TRAIN, folder=place.folder, during=send)
        return _stopped(place, done, number, resumes=resumes)

    return Fault(name=name, kind=kind, check=check)


def _stopped(place: Place, done: Outcome, number: int, *, resumes: bool) -> Verdict:
    """What to make of a run that was sent a signal; it may have ended before."""
    if number == signal.SIGKILL:
        return Verdict(lost=goes_on(place) if resumes else None)
    wrong = raw(done, (0, 128 + number))
    if wrong is None and done.waited > LONGEST_WAIT:
        wrong = f"took {done.waited:.1f} s"
    return Verdict(lost=wrong or (goes_on(place) if resumes else None), seconds=done.waited)


def _kill_half_written(path: str) -> None:
    """As if the kill had come in the middle of writing: what is there is half of it."""
    if os.path.isfile(path):
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        os.truncate(next(file for file in files if os.path.isfile(file)), 5)
    kill(path)


_RENAMED = (
    ("recipe.resolved.yaml", 1), ("start.json", 1), ("environment.json", 1), ("original.safetensors", 1), ("last.pt", 1),
    ("last.pt", 2), ("last.pt", 3), ("last.pt", 5), ("best.safetensors", 1), ("best.safetensors", 2), ("best.safetensors", 3),
    ("leakage.html", 1), ("leakage.md", 1), ("leakage.json", 1), ("export", 1),
)  # fmt: skip
_OPENED = (".lock", "metrics.jsonl", "train.log", "events.out*", "README.md", "mibias.json", "config.json")


def _kills_in_writes() -> Iterator[Fault]:
    def case(name: str, before: Callable[[], object]) -> Fault:
        def check(place: Place) -> Verdict:
            reference(place)
            lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=before)
            return Verdict(lost=f"was not killed: {done.code}" if done.code != -signal.SIGKILL else goes_on(place))

        return Fault(name=f"kill {name}", kind="SIGKILL in a write", check=check)

    for name, nth in _RENAMED:
        yield case(f"before {name} takes its name ({nth})", at("os.rename", name, nth, kill))
        yield case(f"in the middle of writing {name} ({nth})", at("os.rename", name, nth, _kill_half_written))
    for name in _OPENED:
        yield case(f"when {name} is opened", at("open", name, 1, kill))
    for torn in ('{"kind": "train", "st', "\x00" * 4096, '{"kind": "train", "step": 99}\n'):

        def check(place: Place, torn: str = torn) -> Verdict:
            reference(place)
            lay_out(place)
            mibias(TRAIN, folder=place.folder, before=at("os.rename", "last.pt", 3, kill))
            with (place.folder / "run" / "metrics.jsonl").open("a") as file:
                file.write(torn)
            return Verdict(lost=goes_on(place))

        yield Fault(name=f"kill in the middle of a record: {torn[:24]!r}", kind="SIGKILL in a write", check=check)


def _interrupt(_path: str) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _stops_of_commands() -> Iterator[Fault]:
    """Ctrl-C while a command reads, writes or computes that is no training."""
    commands = {
        "evaluate": ["evaluate", "table_run"], "export": ["export", "table_run"], "compare": ["compare", "table_run", "images_run"],
        "embed": ["embed", "table_run", "--data", "people.csv", "--out", "z.parquet"],
        "estimate": ["estimate", "people.csv", "--z", "a", "--c", "sex"], "dry run": ["train", "--resume", "table_run", "--dry-run"],
    }  # fmt: skip
    for name, arguments in commands.items():
        for wait in (0.05, 0.4):

            def check(place: Place, arguments: Sequence[str] = arguments, wait: float = wait) -> Verdict:
                place.stock("table_run", "images_run", "people.csv")

                def send(child: int) -> None:
                    time.sleep(wait)
                    os.kill(child, signal.SIGINT)

                done = mibias(arguments, folder=place.folder, during=send)
                wrong = raw(done, (0, 130)) or (f"took {done.waited:.1f} s" if done.waited > LONGEST_WAIT else None)
                return Verdict(lost=wrong, seconds=done.waited)

            yield Fault(name=f"Ctrl-C in {name} after {wait} s", kind="Ctrl-C in other commands", check=check)
    for name in ("leakage.html", "export", "best.safetensors", "last.pt"):

        def in_write(place: Place, name: str = name) -> Verdict:
            reference(place)
            lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=at("os.rename", name, 1, _interrupt))
            return _stopped(place, done, signal.SIGINT, resumes=True)

        yield Fault(name=f"Ctrl-C when {name} takes its name", kind="Ctrl-C", check=in_write)
