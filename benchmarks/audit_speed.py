"""How long an audit takes: of the quickstart's run, of 5,000 × 512 features, and beside plain scikit-learn.

    python benchmarks/audit_speed.py                    # trains the quickstart first, once, in runs/audit_speed
    python benchmarks/audit_speed.py --run runs/demo    # a run that is there

Every measurement is a process of its own, so that nothing is warm; medians of `--repeats`, by the clock, with CPU
seconds beside (of all processes): compare those on a machine that is busy with other work. The quickstart is timed from
its files to its report, as `mibias evaluate` would, without imports; 5,000 × 512 have a binary attribute and a binary
target, all five probes, the audit's defaults. The last line is JSON; `sklearn_ratio` is all five probes, tuned,
calibrated and tested by one process on 5,000 × 512 (marginal), over one plain fit of each family for every fold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from probe_cost import FAMILIES, draw, plain

ROOT = Path(__file__).resolve().parents[1]
N, D = 5_000, 512
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def cpu_seconds() -> float:
    """Of this process and of all that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def timed(work: Callable[[], object]) -> float:
    """Seconds by the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def quickstart(run: Path, jobs: int | None) -> dict[str, float]:
    """The audit of a run, from its files to its report."""
    from mibias_cli.run import workflow

    with tempfile.TemporaryDirectory() as folder:
        return {"quickstart_s": timed(lambda: workflow.evaluate(run, out=Path(folder) / "report", jobs=jobs))}


def n5000_d512(run: Path, jobs: int | None) -> dict[str, float]:
    """The audit of arrays, marginal and given a target."""
    from mibias_cli import audit

    z, c = draw(N, D, 0)
    y = np.random.default_rng(1).integers(0, 2, N)
    return {"n5000_d512_s": timed(lambda: audit(z, {"scanner": c}, y, jobs=jobs))}


def sklearn_ratio(run: Path, jobs: int | None) -> dict[str, float]:
    """Ours over theirs, both by one thread, one after the other."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from threadpoolctl import threadpool_limits

    from mibias_cli.evaluation.findings import AuditSettings
    from mibias_cli.evaluation.leakage.channel import make_channel_task
    from mibias_cli.evaluation.leakage.evidence import Evidence
    from mibias_cli.evaluation.leakage.measure import Terms, answer
    from mibias_cli.evaluation.statistics.partition import fit_and_score_rows, inner_folds
    from mibias_cli.evaluation.statistics.resampling import Resamples

    z, c = draw(N, D, 0)
    z = z.astype(np.float64)
    y = np.zeros(N, dtype=np.int64)
    settings = AuditSettings()
    fit, score = fit_and_score_rows(c[:, None], fit_fraction=settings.fit_fraction, group=None, seed=0)
    folds = inner_folds(c[fit][:, None], group=None, seed=0)
    task = make_channel_task(
        "scanner", c, y, fit, score, folds, n_classes=2, n_y=1, n_permutations=settings.n_permutations
    )
    resamples = Resamples(len(score), settings.n_bootstrap, seed=0)
    terms = Terms(probes=FAMILIES, resamples=resamples, confidence=settings.confidence, seed=0)

    def plain_fits() -> None:
        # all products of 512 columns would be 131,000 columns: of 64 components there are 2,080
        few = PCA(64), PolynomialFeatures(2), LogisticRegression(max_iter=300)
        for train, held in folds:
            for family in FAMILIES:
                model = plain(family) or make_pipeline(StandardScaler(), *few)
                model.fit(z[fit[train]], c[fit[train]]).predict_proba(z[fit[held]])

    with threadpool_limits(1):
        ours = timed(lambda: answer(task, task.marginal, Evidence(z=z), (fit, score), terms))
        theirs = timed(plain_fits)
    return {"sklearn_ratio": ours / theirs, "ours_s": ours, "theirs_s": theirs}


MEASUREMENTS = {"quickstart": quickstart, "n5000_d512": n5000_d512, "sklearn_ratio": sklearn_ratio}


def one(name: str, run: Path, jobs: int | None) -> None:
    """One measurement in this process, as JSON."""
    started = cpu_seconds()
    found = MEASUREMENTS[name](run, jobs)
    print(json.dumps(found | {"cpu_s": cpu_seconds() - started}))


def repeated(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Medians over processes."""
    command = [sys.executable, __file__, "--one", name, "--run", str(arguments.run)]
    if arguments.jobs is not None:
        command += ["--jobs", str(arguments.jobs)]
    found = []
    for _ in range(arguments.repeats):
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD).stdout
        found.append(json.loads(output.splitlines()[-1]))
    medians = {key: statistics.median(one[key] for one in found) for key in found[0]}
    print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in medians.items()), flush=True)
    return medians


def main() -> None:
    """Measure everything, or one thing in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/audit_speed"), help="the quickstart's run")
    parser.add_argument("--repeats", type=int, default=5, help="processes of each measurement")
    parser.add_argument("--jobs", type=int, help="processes that fit probes; left out: one for each core")
    parser.add_argument("--one", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.run, arguments.jobs)
        return
    if not (arguments.run / "report" / "leakage.json").exists():
        train = [sys.executable, "-m", "mibias_cli.cli", "train", str(ROOT / "recipes" / "quickstart.yaml")]
        subprocess.run([*train, "--out", str(arguments.run)], check=True, env=os.environ | ONE_THREAD)
    medians = {key: value for name in MEASUREMENTS for key, value in repeated(name, arguments).items()}
    names = ("quickstart_s", "n5000_d512_s", "sklearn_ratio")
    print(json.dumps({name: round(medians[name], 2) for name in names}))


if __name__ == "__main__":
    main()
