"""A small run that a fault meets: what it ends with untouched, whether it goes on to the same, and how it is met."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import Place
from safetensors.torch import load_file
from sandbox import Outcome, mibias
from stock import TABLE, people

__all__ = [
    "LONGEST_WAIT", "RESUME", "TRAIN", "Fault", "Verdict", "at", "goes_on", "kill", "lay_out", "raw", "reference",
    "stop_midway",
]  # fmt: skip

TRAIN = ("train", "r.yaml", "--out", "run", "--offline")
RESUME = ("train", "--resume", "run", "--offline")
LONGEST_WAIT = 5.0


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


def lay_out(place: Place) -> None:
    people(place.folder / "people.csv")
    place.write("r.yaml", TABLE)


def figures(run: Path) -> tuple[object, ...]:
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


def reference(place: Place) -> tuple[tuple[object, ...], float]:
    """The figures of a run that nothing happened to, and how long it took; made once."""
    folder = place.work / "reference"
    clock = folder / "seconds"
    if not clock.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lay_out(Place(work=place.work, folder=folder))
        done = mibias(TRAIN, folder=folder, limit=600)
        assert done.code == 0, done.err
        clock.write_text(str(done.seconds))
    return figures(folder / "run"), float(clock.read_text())


def goes_on(place: Place) -> str | None:
    """End the run by the command that its user would give; why it is lost, or None."""
    wanted, _ = reference(place)
    begun = (place.folder / "run" / "recipe.resolved.yaml").exists()
    done = mibias(RESUME if begun else TRAIN, folder=place.folder, limit=600)
    if done.code != 0:
        return f"ended with {done.code}: {done.err.strip()[-300:]}"
    found = figures(place.folder / "run")
    parts = ("weights", "metrics.jsonl", "leakage", "task", "export")
    differing = [name for name, a, b in zip(parts, wanted, found, strict=True) if a != b]
    left = [str(path.relative_to(place.folder)) for path in (place.folder / "run").rglob("*.partial")]
    if differing or left:
        return f"differs in {', '.join(differing)}" if differing else f"left {', '.join(left)}"
    return None


def raw(done: Outcome, codes: Sequence[int]) -> str | None:
    """What is wrong with how a command ended, or None."""
    if done.code not in codes:
        return f"exit code {done.code}: {done.err.strip()[-300:]}"
    return f"raw text: {done.err.strip()[-300:]}" if done.is_raw else None


def stop_midway(place: Place) -> None:
    """A run that was killed in its second epoch of debiasing."""
    folder = place.work / "stopped"
    if not (folder / "run").exists():
        folder.mkdir(exist_ok=True)
        lay_out(Place(work=place.work, folder=folder))
        mibias(TRAIN, folder=folder, before=at("os.rename", "last.pt", 4, kill))
    shutil.copytree(folder, place.folder, dirs_exist_ok=True)


def at(event: str, name: str, nth: int, act: Callable[[str], object]) -> Callable[[], None]:
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


def kill(_path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
