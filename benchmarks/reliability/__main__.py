"""Faults, bad input and hostile files, by hundreds of cases: `make reliability`.

    python benchmarks/reliability [--seed 0] [--jobs 2] [--only TEXT] [--every N] [--work DIR] [--page FILE]

Every case is a command of its own in a folder of its own. What is done stands in results.jsonl of the work folder:
begun again, only cases that are not there yet are run (another version of the code begins anew). At the end the page is
written, and one line of JSON says what counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bad_data
import bad_models
import bad_recipes
import bad_reports
import faults
import hostile
from cases import Bad, Place
from page import counts, write_page
from sandbox import mibias, warm_up
from stock import prepare

ROOT = Path(__file__).resolve().parents[2]
Result = dict[str, object]
_LONGEST_MESSAGE = 6000


@dataclass(frozen=True, kw_only=True)
class Job:
    """A case, whatever it is about: its group, its kind, and what came of it."""

    group: str
    kind: str
    name: str
    run: Callable[[Place], Result]


def main() -> None:
    """Run what is not done, write the page, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="Cases whose group or name holds this; no page is written.")
    parser.add_argument("--every", type=int, default=1, help="Only every n-th case; no page is written.")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "reliability")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    options = parser.parse_args()

    work = options.work.resolve() / f"{_version()}-{options.seed}"
    work.mkdir(parents=True, exist_ok=True)
    path = work / "results.jsonl"
    wanted = [job for job in _jobs(options.seed) if options.only in f"{job.group} {job.name}"][:: options.every]
    done = {_key(result) for result in _read(path)}
    todo = [job for job in wanted if (job.group, job.name) not in done]
    print(f"{len(wanted)} cases, {len(wanted) - len(todo)} of them done already", file=sys.stderr)
    started = time.monotonic()
    warm_up()
    prepare(work)
    faults.prepare(work)
    _in_shares(todo, path, work, options.jobs)

    names = {(job.group, job.name) for job in wanted}
    results = [result for result in _read(path) if _key(result) in names]
    if not options.only and options.every == 1:
        write_page(options.page, results, seed=options.seed, seconds=time.monotonic() - started)
    for result in results:
        if result["wrong"]:
            print(f"{result['wrong']}: {result['group']}: {result['name']}: {result['said']}", file=sys.stderr)
    print(json.dumps(counts(results)))


def _version() -> str:
    """One name for all code that the cases depend on."""
    digest = hashlib.sha256()
    for folder in (ROOT / "mibias_cli", Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _key(result: Result) -> tuple[object, object]:
    return result["group"], result["name"]


def _read(path: Path) -> list[Result]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _jobs(seed: int) -> Iterator[Job]:
    for fault in faults.cases(seed):
        yield Job(
            group="fault", kind=fault.kind, name=fault.name, run=lambda place, fault=fault: _of_fault(fault, place)
        )
    for module in (bad_recipes, bad_data, bad_models, bad_reports):
        for case in module.cases():
            kind = case.name.partition(":")[0].partition(" of ")[0]
            yield Job(group="bad input", kind=kind, name=case.name, run=lambda place, case=case: _of_bad(case, place))
    for attack in hostile.cases():
        kind = " ".join(attack.name.split(":")[0].split()[:2])
        yield Job(
            group="hostile", kind=kind, name=attack.name, run=lambda place, attack=attack: _of_hostile(attack, place)
        )


def _of_fault(fault: faults.Fault, place: Place) -> Result:
    verdict = fault.check(place)
    wrong = "lost" if verdict.lost else "silent" if verdict.silent else ""
    return {"wrong": wrong, "said": verdict.lost or verdict.silent or "", "seconds": verdict.seconds}


def _of_bad(case: Bad, place: Place) -> Result:
    done = mibias(case.make(place), folder=place.folder)
    too_long = len(done.err) > _LONGEST_MESSAGE and done.code == 2
    wrong = "traceback" if done.is_raw or too_long else "silent" if done.code == 0 else ""
    return {"wrong": wrong, "said": done.err.strip()[-400:], "seconds": done.seconds}


def _of_hostile(attack: hostile.Hostile, place: Place) -> Result:
    def watch() -> None:
        mark = place.folder / ".network"
        sys.addaudithook(lambda event, _: mark.touch() if event in ("socket.connect", "socket.getaddrinfo") else None)

    output, raw = "", ""
    for arguments in attack.make(place):
        done = mibias(arguments, folder=place.folder, before=watch)
        output += done.out + done.err
        raw = raw or (done.err.strip()[-300:] if done.is_raw else "")
    reached = hostile.got_in(place, output)
    return {"wrong": "got in" if reached else "traceback" if raw else "", "said": reached or raw, "seconds": None}


def _in_shares(todo: list[Job], path: Path, work: Path, n: int) -> None:
    """Every n-th job in a process of its own; each appends whole lines to the results."""
    children = []
    for share in range(n):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for job in todo[share::n]:
                    _one(job, path, work)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    if failed:
        raise SystemExit("a share of the cases broke off, see above; give the same command again to go on")


def _one(job: Job, path: Path, work: Path) -> None:
    folder = work / "cases" / hashlib.sha256(f"{job.group}{job.name}".encode()).hexdigest()[:12] / "here"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    result = {"group": job.group, "kind": job.kind, "name": job.name, **job.run(Place(work=work, folder=folder))}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    shutil.rmtree(folder.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
