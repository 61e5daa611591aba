"""Faults in the middle of a run: whatever happens, the run goes on to the same end, or says why not."""

from __future__ import annotations

import csv
import errno
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fault_stops
from cases import Place
from fault_runs import (
    LONGEST_WAIT,
    RESUME,
    TRAIN,
    Fault,
    Verdict,
    at,
    goes_on,
    kill,
    lay_out,
    raw,
    reference,
    stop_midway,
)  # fmt: skip
from sandbox import Outcome, mibias

__all__ = ["Fault", "Verdict", "cases", "prepare"]


def cases(seed: int) -> Iterator[Fault]:
    """All of them; moments are drawn by the seed."""
    yield from fault_stops.cases(seed)
    yield from _disks()
    yield from _files()
    yield from _locks()
    yield from _changed_data()
    yield from _edited_runs()


def prepare(work: Path) -> None:
    """A run that nothing happens to, and one that is killed in the middle, for all cases."""
    nowhere = Place(work=work, folder=work / "nowhere")
    reference(nowhere)
    stop_midway(nowhere)


# --- disks and files ---


def _failing(number: int) -> Callable[[str], None]:
    def fail(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return fail


def _disks() -> Iterator[Fault]:
    def case(name: str, before: Callable[[], object]) -> Fault:
        def check(place: Place) -> Verdict:
            reference(place)
            lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=before)
            wrong = raw(done, (2,)) or (
                None if "/" in done.err.splitlines()[-1] else f"names no file: {done.err[-200:]}"
            )
            return Verdict(lost=wrong or goes_on(place))

        return Fault(name=name, kind="disk", check=check)

    for size in (3000, 5000, 9000, 14_000, 20_000, 40_000):
        yield case(
            f"files may have {size:,} bytes", lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        )
    for number in (errno.ENOSPC, errno.EROFS, errno.EIO):
        for name, nth in (("last.pt", 2), ("best.safetensors", 1), ("leakage.json", 1), ("export", 1)):
            yield case(f"{os.strerror(number)} at {name}", at("os.rename", name, nth, _failing(number)))


def _files() -> Iterator[Fault]:
    """Files and folders that go while a command needs them."""

    def case(name: str, path: str, *, back: bool) -> Fault:
        def check(place: Place) -> Verdict:
            reference(place)
            lay_out(place)
            mibias(TRAIN, folder=place.folder, before=at("os.rename", "last.pt", 3, kill))
            gone = place.folder / path
            kept = gone.with_name("kept")
            gone.rename(kept)
            done = mibias(RESUME, folder=place.folder)
            wrong = raw(done, (2,))
            if wrong is None and gone.name not in done.err:
                wrong = f"names no {gone.name}: {done.err[-200:]}"
            if gone.exists():
                shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
            kept.rename(gone)
            return Verdict(lost=wrong or (goes_on(place) if back else None))

        return Fault(name=name, kind="removed files", check=check)

    yield case("the data are gone", "people.csv", back=True)
    yield case("the log is gone", "run/metrics.jsonl", back=True)
    yield case("the recipe is gone", "run/recipe.resolved.yaml", back=True)
    yield case("the original's weights are gone", "run/checkpoints/original.safetensors", back=True)
    for wait in (0.3, 0.8):

        def swept(place: Place, wait: float = wait) -> Verdict:
            lay_out(place)
            inner = place.folder / "inner"
            inner.mkdir()
            shutil.copy(place.folder / "r.yaml", inner)
            shutil.copy(place.folder / "people.csv", inner)

            def sweep(_child: int) -> None:
                time.sleep(wait)
                shutil.rmtree(inner, ignore_errors=True)

            done = mibias(TRAIN, folder=place.folder, before=lambda: os.chdir(inner), during=sweep)
            return Verdict(lost=raw(done, (0, 2)))

        yield Fault(name=f"the working folder is deleted after {wait} s", kind="removed files", check=swept)


# --- two writers, other data, another recipe ---


def _locks() -> Iterator[Fault]:
    for name, arguments in {
        "train": TRAIN, "overwrite": (*TRAIN, "--overwrite"), "resume": RESUME, "overwrite of another recipe": (*TRAIN, "--overwrite", "--seed", "9"),
    }.items():  # fmt: skip

        def check(place: Place, arguments: Sequence[str] = arguments) -> Verdict:
            reference(place)
            lay_out(place)
            second: list[Outcome] = []

            def meet(_child: int) -> None:
                begun = place.folder / "run" / "recipe.resolved.yaml"
                until = time.monotonic() + 60
                while not begun.exists() and time.monotonic() < until:
                    time.sleep(0.005)
                other = place.folder / "other"
                other.mkdir()
                second.append(mibias([a if a != "run" else "../run" for a in map(_up, arguments)], folder=other))

            # the first one is still at work when the second one comes
            slowly = at("os.rename", "best.safetensors", 1, lambda _: time.sleep(LONGEST_WAIT))
            done = mibias(TRAIN, folder=place.folder, before=slowly, during=meet)
            wrong = (
                raw(done, (0,))
                or raw(second[0], (2,))
                or ("" if "writes this run" in second[0].err else second[0].err[-200:])
            )
            return Verdict(lost=wrong or goes_on(place))

        yield Fault(name=f"a second writer: {name}", kind="locks", check=check)


def _up(argument: str) -> str:
    return "../r.yaml" if argument == "r.yaml" else argument


def _refused(name: str, kind: str, change: Callable[[Place], Sequence[str]]) -> Fault:
    def check(place: Place) -> Verdict:
        stop_midway(place)
        arguments = change(place)
        done = mibias(arguments, folder=place.folder)
        if done.code == 0:
            return Verdict(silent="the run went on as if nothing had changed")
        return Verdict(lost=raw(done, (2,)))

    return Fault(name=name, kind=kind, check=check)


def _changed_data() -> Iterator[Fault]:
    def rows(change: Callable[[list[list[str]]], list[list[str]]]) -> Callable[[Place], Sequence[str]]:
        def make(place: Place) -> Sequence[str]:
            path = place.folder / "people.csv"
            with path.open(newline="") as file:
                header, *lines = list(csv.reader(file))
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(change([header, *lines]))
            return (*RESUME, "--set", f"data.path={path}")

        return make

    def values(column: int, new: str) -> Callable[[list[list[str]]], list[list[str]]]:
        return lambda t: [
            t[0],
            *([*row[:column], new, *row[column + 1 :]] if k % 9 == 0 else row for k, row in enumerate(t[1:])),
        ]

    for name, change in {
        "rows removed": lambda t: t[:-9], "rows shuffled": lambda t: [t[0], *reversed(t[1:])], "rows twice": lambda t: [*t, *t[1:9]],
        "values replaced": values(0, "9.5"), "one value replaced": lambda t: [t[0], ["9.5", *t[1][1:]], *t[2:]],
        "labels replaced": values(2, "no"), "attributes replaced": values(3, "f"), "splits replaced": values(4, "train"),
        "a column more": lambda t: [[*t[0], "d"], *([*row, str(k)] for k, row in enumerate(t[1:]))],
        "columns swapped": lambda t: [[row[1], row[0], *row[2:]] if k else row for k, row in enumerate(t)],
        "a new class": values(2, "maybe"), "half of the table": lambda t: t[:60],
    }.items():  # fmt: skip
        yield _refused(f"data: {name}", "changed data", rows(change))


def _edited_runs() -> Iterator[Fault]:
    for setting in (
        "seed=5", "training.learning_rate=0.1", "training.batch_size=8", "training.epochs=1", "training.optimizer=sgd",
        "debias.weight=3", "debias.estimator=mine", "debias.critic.steps=2", "backbone.options={hidden: [4]}",
        "evaluation.probes=[mlp]", "original.epochs=2", "debias.critic.hidden=[4]",
    ):  # fmt: skip

        def reset(place: Place, setting: str = setting) -> Sequence[str]:
            return (*RESUME, "--set", setting, "--set", f"data.path={place.folder / 'people.csv'}")

        yield _refused(f"resumed with {setting}", "edited runs", reset)
    for name, change in {
        "a recipe of another rate": lambda run: _replace(run / "recipe.resolved.yaml", "weight: 0.1", "weight: 0.7"),
        "a recipe of another seed": lambda run: _replace(run / "recipe.resolved.yaml", "seed: 0", "seed: 7"),
        "a log that is cut": lambda run: os.truncate(run / "metrics.jsonl", 200),
        "a log of other length": lambda run: (run / "metrics.jsonl").write_bytes(b"x" * 10**5),
        "a checkpoint that is cut": lambda run: os.truncate(run / "checkpoints" / "last.pt", 3000),
        "a record of other data": lambda run: _replace(run / "start.json", "weights", "wheights"),
    }.items():

        def edit(place: Place, change: Callable[[Path], object] = change) -> Sequence[str]:
            change(place.folder / "run")
            return (*RESUME, "--set", f"data.path={place.folder / 'people.csv'}")

        yield _refused(f"resumed with {name}", "edited runs", edit)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))
