"""Estimates of known information: every estimator of `mibias estimate` on every task, with a table as the last output.

python benchmarks/estimators.py --out estimators.csv [--seeds 3] [--samples 10000] [--tasks "spiral 3-d,…"]

Resumable: each finished (task, seed) is appended to the CSV, and what stands there is not run again. A run takes some
15 to 60 s on one core.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from information_tasks import TASKS, Task

from mibias_cli.estimate.information import Columns, estimate_information
from mibias_cli.progress import Silent

FIELDS = ("task", "samples", "seed", "estimator", "headline", "nats", "lower", "upper", "truth", "seconds")
# what others' estimators were measured at on the same tasks, 10,000 samples
PEERS = {
    "Gaussian 25-d sparse": "InfoNCE .861, MINE .855, KSG .195",
    "Student-t 1-d": "KSG .167, MINE .000",
    "spiral 5-d": "InfoNCE .565",
}


def run(name: str, task: Task, samples: int, seed: int) -> list[dict[str, object]]:
    """One task with one seed: a row per estimator, and one for the headline."""
    z, c = task.draw(samples, np.random.default_rng([seed, 77]))
    start = time.process_time()
    found = estimate_information(Columns(z=z, c=c), seed=seed, progress=Silent())
    seconds = time.process_time() - start
    return [
        {
            "task": name, "samples": samples, "seed": seed, "estimator": key, "headline": int(key == found.headline),
            "nats": f"{e.nats:.5f}", "lower": f"{e.lower:.5f}", "upper": f"{e.upper:.5f}",
            "truth": f"{task.nats:.5f}", "seconds": f"{seconds:.1f}",
        }
        for key, e in found.estimates.items()
    ]  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    """What stands in the file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: list[dict[str, object]]) -> None:
    """All rows of one run at once: a run that was cut off leaves none."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, str]], samples: int) -> str:
    """Per task: truth, the headline's mean and largest error over seeds, and the mean of every estimator."""
    lines = [
        f"{samples:,} samples; nats; the headline's largest error over seeds beside what is allowed.",
        "",
        "| task | truth | headline | largest error | allowed | all estimators (mean over seeds) | others' | CPU, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        mine = [row for row in rows if row["task"] == name and int(row["samples"]) == samples]
        if not mine:
            continue
        chosen = [row for row in mine if row["headline"] == "1"]
        errors = [abs(float(row["nats"]) - task.nats) for row in chosen]
        by_name: dict[str, list[float]] = defaultdict(list)
        for row in mine:
            by_name[row["estimator"]].append(float(row["nats"]))
        means = ", ".join(f"{key} {np.mean(values):.3f}" for key, values in by_name.items())
        names = ", ".join(sorted({row["estimator"] for row in chosen}))
        headline = f"{np.mean([float(row['nats']) for row in chosen]):.3f} ({names}, {len(chosen)} seeds)"
        verdict = f"{max(errors):.3f}" if max(errors) <= task.tolerance else f"**{max(errors):.3f}**"
        seconds = np.mean([float(row["seconds"]) for row in chosen])
        lines.append(
            f"| {name} | {task.nats:.3f} | {headline} | {verdict} | {task.tolerance} | {means} | "
            f"{PEERS.get(name, '')} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("estimators.csv"))
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", help="names, separated by commas; all without")
    options = parser.parse_args()
    wanted = list(TASKS) if options.tasks is None else [name.strip() for name in options.tasks.split(",")]
    unknown = [name for name in wanted if name not in TASKS]
    if unknown:
        parser.error(f"no task {unknown[0]!r}; there are {', '.join(TASKS)}")
    for seed in range(options.seeds):
        for name in wanted:
            done = {(row["task"], int(row["samples"]), int(row["seed"])) for row in read(options.out)}
            if (name, options.samples, seed) not in done:
                rows = run(name, TASKS[name], options.samples, seed)
                append(options.out, rows)
                for row in rows:
                    if row["headline"]:
                        print(f"{name}, seed {seed}: {row['estimator']} {row['nats']} of {row['truth']}", flush=True)
    print(table(read(options.out), options.samples))


if __name__ == "__main__":
    main()
