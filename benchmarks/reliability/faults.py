"""Faults in the middle of a run: whatever happens, the run goes on to the same end, or says why not."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import Place
from safetensors.torch import load_file
from sandbox import Outcome, mibias
from stock import TABLE, people

__all__ = ["Fault", "Verdict", "cases", "prepare"]

TRAIN = ("train", "r.yaml", "--out", "run", "--offline")
RESUME = ("train", "--resume", "run", "--offline")
_LONGEST_WAIT = 5.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a case: nothing, or why the run is lost; and how long a signal took."""

    lost: str | None = None
    silent: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A case by its name and kind."""

    name: str
    kind: str
    check: Callable[[Place], Verdict]


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
    yield from _disks()
    yield from _files()
    yield from _locks()
    yield from _changed_data()
    yield from _edited_runs()


# --- the run, and whether another one is the same ---


def _lay_out(place: Place) -> None:
    people(place.folder / "people.csv")
    place.write("r.yaml", TABLE)


def _figures(run: Path) -> tuple[object, ...]:
    """What a run ends with: weights, its log without the clock, and what its report says."""
    weights = {name: load_file(run / "checkpoints" / f"{name}.safetensors") for name in ("original", "best")}
    plain = {
        f"{name}/{key}": value.numpy().tobytes() for name, state in weights.items() for key, value in state.items()
    }
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    log = [{k: v for k, v in line.items() if not k.endswith(("_seconds", "_per_second", "_bytes"))} for line in lines]
    report = json.loads((run / "report" / "leakage.json").read_text())
    export = sorted(path.name for path in (run / "export").iterdir())
    return plain, log, report["attributes"], report["task"], export


def prepare(work: Path) -> None:
    """A run that nothing happens to, and one that is killed in the middle, for all cases."""
    nowhere = Place(work=work, folder=work / "nowhere")
    _reference(nowhere)
    _stop(nowhere)


def _reference(place: Place) -> tuple[tuple[object, ...], float]:
    """The figures of a run that nothing happened to, and how long it took; made once."""
    folder = place.work / "reference"
    clock = folder / "seconds"
    if not clock.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _lay_out(Place(work=place.work, folder=folder))
        done = mibias(TRAIN, folder=folder, limit=600)
        assert done.code == 0, done.err
        clock.write_text(str(done.seconds))
    return _figures(folder / "run"), float(clock.read_text())


def _goes_on(place: Place) -> str | None:
    """End the run by the command that its user would give; why it is lost, or None."""
    wanted, _ = _reference(place)
    begun = (place.folder / "run" / "recipe.resolved.yaml").exists()
    done = mibias(RESUME if begun else TRAIN, folder=place.folder, limit=600)
    if done.code != 0:
        return f"ended with {done.code}: {done.err.strip()[-300:]}"
    found = _figures(place.folder / "run")
    parts = ("weights", "metrics.jsonl", "leakage", "task", "export")
    differing = [name for name, a, b in zip(parts, wanted, found, strict=True) if a != b]
    left = [str(path.relative_to(place.folder)) for path in (place.folder / "run").rglob("*.partial")]
    if differing or left:
        return f"differs in {', '.join(differing)}" if differing else f"left {', '.join(left)}"
    return None


def _raw(done: Outcome, codes: Sequence[int]) -> str | None:
    """What is wrong with how a command ended, or None."""
    if done.code not in codes:
        return f"exit code {done.code}: {done.err.strip()[-300:]}"
    return f"raw text: {done.err.strip()[-300:]}" if done.is_raw else None


# --- signals ---


def _signal_case(name: str, kind: str, number: int, moment: float, *, resumes: bool = True) -> Fault:
    def check(place: Place) -> Verdict:
        _, seconds = _reference(place)
        _lay_out(place)

        def send(child: int) -> None:
            time.sleep(moment * seconds)
            os.kill(child, number)

        done = mibias(TRAIN, folder=place.folder, during=send)
        return _stopped(place, done, number, resumes=resumes)

    return Fault(name=name, kind=kind, check=check)


def _stopped(place: Place, done: Outcome, number: int, *, resumes: bool) -> Verdict:
    """What to make of a run that was sent a signal; it may have ended before."""
    if number == signal.SIGKILL:
        return Verdict(lost=_goes_on(place) if resumes else None)
    wrong = _raw(done, (0, 128 + number))
    if wrong is None and done.waited > _LONGEST_WAIT:
        wrong = f"took {done.waited:.1f} s"
    return Verdict(lost=wrong or (_goes_on(place) if resumes else None), seconds=done.waited)


def _at(event: str, name: str, nth: int, act: Callable[[str], object]) -> Callable[[], None]:
    """Something to be done in the child when the nth event of a kind meets a file of a name (see sys.audit)."""

    def install() -> None:
        seen = [0]

        def hook(happens: str, arguments: tuple[object, ...]) -> None:
            if happens != event or seen[0] >= nth:
                return
            # of a renaming the new name counts, of all others the only one
            target = str(arguments[1 if event == "os.rename" else 0])
            if Path(target).name == name or (name.endswith("*") and Path(target).name.startswith(name[:-1])):
                seen[0] += 1
                if seen[0] == nth:
                    act(str(arguments[0]))

        sys.addaudithook(hook)

    return install


def _kill(_path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_half_written(path: str) -> None:
    """As if the kill had come in the middle of writing: what is there is half of it."""
    if os.path.isfile(path):
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        os.truncate(next(file for file in files if os.path.isfile(file)), 5)
    _kill(path)


_RENAMED = (
    ("recipe.resolved.yaml", 1), ("start.json", 1), ("environment.json", 1), ("original.safetensors", 1), ("last.pt", 1),
    ("last.pt", 2), ("last.pt", 3), ("last.pt", 5), ("best.safetensors", 1), ("best.safetensors", 2), ("best.safetensors", 3),
    ("leakage.html", 1), ("leakage.md", 1), ("leakage.json", 1), ("export", 1),
)  # fmt: skip
_OPENED = (".lock", "metrics.jsonl", "train.log", "events.out*", "README.md", "mibias.json", "config.json")


def _kills_in_writes() -> Iterator[Fault]:
    def case(name: str, before: Callable[[], object]) -> Fault:
        def check(place: Place) -> Verdict:
            _reference(place)
            _lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=before)
            return Verdict(lost=f"was not killed: {done.code}" if done.code != -signal.SIGKILL else _goes_on(place))

        return Fault(name=f"kill {name}", kind="SIGKILL in a write", check=check)

    for name, nth in _RENAMED:
        yield case(f"before {name} takes its name ({nth})", _at("os.rename", name, nth, _kill))
        yield case(f"in the middle of writing {name} ({nth})", _at("os.rename", name, nth, _kill_half_written))
    for name in _OPENED:
        yield case(f"when {name} is opened", _at("open", name, 1, _kill))
    for torn in ('{"kind": "train", "st', "\x00" * 4096, '{"kind": "train", "step": 99}\n'):

        def check(place: Place, torn: str = torn) -> Verdict:
            _reference(place)
            _lay_out(place)
            mibias(TRAIN, folder=place.folder, before=_at("os.rename", "last.pt", 3, _kill))
            with (place.folder / "run" / "metrics.jsonl").open("a") as file:
                file.write(torn)
            return Verdict(lost=_goes_on(place))

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
                wrong = _raw(done, (0, 130)) or (f"took {done.waited:.1f} s" if done.waited > _LONGEST_WAIT else None)
                return Verdict(lost=wrong, seconds=done.waited)

            yield Fault(name=f"Ctrl-C in {name} after {wait} s", kind="Ctrl-C in other commands", check=check)
    for name in ("leakage.html", "export", "best.safetensors", "last.pt"):

        def in_write(place: Place, name: str = name) -> Verdict:
            _reference(place)
            _lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=_at("os.rename", name, 1, _interrupt))
            return _stopped(place, done, signal.SIGINT, resumes=True)

        yield Fault(name=f"Ctrl-C when {name} takes its name", kind="Ctrl-C", check=in_write)


# --- disks and files ---


def _failing(number: int) -> Callable[[str], None]:
    def fail(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return fail


def _disks() -> Iterator[Fault]:
    def case(name: str, before: Callable[[], object]) -> Fault:
        def check(place: Place) -> Verdict:
            _reference(place)
            _lay_out(place)
            done = mibias(TRAIN, folder=place.folder, before=before)
            wrong = _raw(done, (2,)) or (
                None if "/" in done.err.splitlines()[-1] else f"names no file: {done.err[-200:]}"
            )
            return Verdict(lost=wrong or _goes_on(place))

        return Fault(name=name, kind="disk", check=check)

    for size in (3000, 5000, 9000, 14_000, 20_000, 40_000):
        yield case(
            f"files may have {size:,} bytes", lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        )
    for number in (errno.ENOSPC, errno.EROFS, errno.EIO):
        for name, nth in (("last.pt", 2), ("best.safetensors", 1), ("leakage.json", 1), ("export", 1)):
            yield case(f"{os.strerror(number)} at {name}", _at("os.rename", name, nth, _failing(number)))


def _files() -> Iterator[Fault]:
    """Files and folders that go while a command needs them."""

    def case(name: str, path: str, *, back: bool) -> Fault:
        def check(place: Place) -> Verdict:
            _reference(place)
            _lay_out(place)
            mibias(TRAIN, folder=place.folder, before=_at("os.rename", "last.pt", 3, _kill))
            gone = place.folder / path
            kept = gone.with_name("kept")
            gone.rename(kept)
            done = mibias(RESUME, folder=place.folder)
            wrong = _raw(done, (2,))
            if wrong is None and gone.name not in done.err:
                wrong = f"names no {gone.name}: {done.err[-200:]}"
            if gone.exists():
                shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
            kept.rename(gone)
            return Verdict(lost=wrong or (_goes_on(place) if back else None))

        return Fault(name=name, kind="removed files", check=check)

    yield case("the data are gone", "people.csv", back=True)
    yield case("the log is gone", "run/metrics.jsonl", back=True)
    yield case("the recipe is gone", "run/recipe.resolved.yaml", back=True)
    yield case("the original's weights are gone", "run/checkpoints/original.safetensors", back=True)
    for wait in (0.3, 0.8):

        def swept(place: Place, wait: float = wait) -> Verdict:
            _lay_out(place)
            inner = place.folder / "inner"
            inner.mkdir()
            shutil.copy(place.folder / "r.yaml", inner)
            shutil.copy(place.folder / "people.csv", inner)

            def sweep(_child: int) -> None:
                time.sleep(wait)
                shutil.rmtree(inner, ignore_errors=True)

            done = mibias(TRAIN, folder=place.folder, before=lambda: os.chdir(inner), during=sweep)
            return Verdict(lost=_raw(done, (0, 2)))

        yield Fault(name=f"the working folder is deleted after {wait} s", kind="removed files", check=swept)


# --- two writers, other data, another recipe ---


def _locks() -> Iterator[Fault]:
    for name, arguments in {
        "train": TRAIN, "overwrite": (*TRAIN, "--overwrite"), "resume": RESUME, "overwrite of another recipe": (*TRAIN, "--overwrite", "--seed", "9"),
    }.items():  # fmt: skip

        def check(place: Place, arguments: Sequence[str] = arguments) -> Verdict:
            _reference(place)
            _lay_out(place)
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
            slowly = _at("os.rename", "best.safetensors", 1, lambda _: time.sleep(_LONGEST_WAIT))
            done = mibias(TRAIN, folder=place.folder, before=slowly, during=meet)
            wrong = (
                _raw(done, (0,))
                or _raw(second[0], (2,))
                or ("" if "writes this run" in second[0].err else second[0].err[-200:])
            )
            return Verdict(lost=wrong or _goes_on(place))

        yield Fault(name=f"a second writer: {name}", kind="locks", check=check)


def _up(argument: str) -> str:
    return "../r.yaml" if argument == "r.yaml" else argument


def _stop(place: Place) -> None:
    """A run that was killed in its second epoch of debiasing."""
    folder = place.work / "stopped"
    if not (folder / "run").exists():
        folder.mkdir(exist_ok=True)
        _lay_out(Place(work=place.work, folder=folder))
        mibias(TRAIN, folder=folder, before=_at("os.rename", "last.pt", 4, _kill))
    shutil.copytree(folder, place.folder, dirs_exist_ok=True)


def _refused(name: str, kind: str, change: Callable[[Place], Sequence[str]]) -> Fault:
    def check(place: Place) -> Verdict:
        _stop(place)
        arguments = change(place)
        done = mibias(arguments, folder=place.folder)
        if done.code == 0:
            return Verdict(silent="the run went on as if nothing had changed")
        return Verdict(lost=_raw(done, (2,)))

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
