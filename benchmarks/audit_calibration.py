"""Is the audit's interval honest? Audits of features whose leakage is known, many times over.

    python benchmarks/audit_calibration.py --draws 100 --out audit_calibration.csv --jobs 2
    python benchmarks/audit_calibration.py --out audit_calibration.csv --table

Each row of the CSV is one audit: z of 64 dimensions, binary c, I(z; c) known by numerical integration; 0, .02, .1, .3
and .6 bits, coded in the mean, in the variance of four directions, or in the product of two directions (XOR), each in
a random rotation, so that no coordinate is special. In `head` it is coded in the mean of the one direction along which
a trained head scores samples, and the audit has these scores too. Interrupt it at any time: rows that are there are
not computed again, and all cells grow together. `--table` prints what docs/audit.md shows.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, chi2, norm
from threadpoolctl import threadpool_limits

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.leakage.channel import make_channel_task
from mibias_cli.evaluation.leakage.evidence import Evidence
from mibias_cli.evaluation.leakage.measure import Terms, answer
from mibias_cli.evaluation.leakage.scoring import score_probe
from mibias_cli.evaluation.probes.families import HEAD
from mibias_cli.evaluation.statistics.partition import fit_and_score_rows, inner_folds
from mibias_cli.evaluation.statistics.resampling import Resamples

D = 64
FRESH = 40  # samples for each scored one: their mean is off by a sixth of what the scored ones' is
CHUNK = 1000  # fresh samples scored at a time: quadratic features of more of them fall out of the cache
BITS = (0.0, 0.02, 0.1, 0.3, 0.6)
CODINGS = ("mean", "variance", "xor", "head")
SIZES = (1000, 5000)
N_DIRECTIONS = 4  # whose variance carries c
NOISE = 0.5  # around the signs whose product carries c
FIELDS = (
    "coding", "bits", "n", "draw", "estimate", "lower", "upper", "population", "p_value", "detectable", "probe",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is drawn: how c is coded, how many bits of it, and how many samples are audited."""

    coding: str
    bits: float
    n: int


# --- distributions with known information ---------------------------------------------------------------------------


def _mixture_bits(p: np.ndarray, q: np.ndarray, step: float) -> float:
    """I(z; c) of two equally likely densities on a grid."""
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(v > 0, v * np.log2(v / m), 0.0) for v in (p, q)]
    return float(sum(t.sum() for t in terms) * step / 2)


def mean_bits(shift: float) -> float:
    """Two normals with means `shift` apart."""
    grid, step = np.linspace(-12, 12 + shift, 40_001, retstep=True)
    return _mixture_bits(norm.pdf(grid), norm.pdf(grid - shift), float(step))


def variance_bits(scale: float) -> float:
    """N_DIRECTIONS coordinates of standard deviation 1 or `scale`; their squared radius is sufficient."""
    grid, step = np.linspace(0, math.sqrt(80) * max(scale, 1), 80_001, retstep=True)
    densities = [2 * grid * chi2.pdf((grid / s) ** 2, N_DIRECTIONS) / s**2 for s in (1.0, scale)]
    return _mixture_bits(densities[0], densities[1], float(step))


def xor_bits(strength: float) -> float:
    """c is whether two hidden signs agree, flipped with probability (1 − strength) / 2; z shows the signs in noise."""
    grid, step = np.linspace(-1 - 8 * NOISE, 1 + 8 * NOISE, 1201, retstep=True)
    weight = (norm.pdf((grid - 1) / NOISE) + norm.pdf((grid + 1) / NOISE)) / (2 * NOISE) * step
    r = np.tanh(grid / NOISE**2)
    p = (1 + strength * np.outer(r, r)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -sum(np.where(v > 0, v * np.log2(v), 0.0) for v in (p, 1 - p))
    return 1 - float(weight @ entropy @ weight)


@cache
def parameter(coding: str, bits: float) -> float:
    """The shift, scale or strength at which the information is `bits`."""
    truth, low, high = {
        "mean": (mean_bits, 0.0, 6.0), "head": (mean_bits, 0.0, 6.0), "variance": (variance_bits, 1.0, 20.0),
        "xor": (xor_bits, 0.0, 1.0),
    }[coding]  # fmt: skip
    return low if bits == 0 else float(brentq(lambda value: truth(value) - bits, low, high, xtol=1e-10))


def draw(cell: Cell, n: int, rotation: np.ndarray, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, D) and labels (n,)."""
    value = parameter(cell.coding, cell.bits)
    c = g.integers(0, 2, n)
    z = g.standard_normal((n, D))
    if cell.coding in ("mean", "head"):
        z[:, 0] += value * c
    elif cell.coding == "variance":
        z[:, :N_DIRECTIONS] *= np.where(c == 1, value, 1.0)[:, None]
    else:
        a, b = g.choice([-1.0, 1.0], (2, n))
        c = ((a * b > 0) ^ (g.random(n) < (1 - value) / 2)).astype(np.int64)
        z[:, 0], z[:, 1] = a + NOISE * z[:, 0], b + NOISE * z[:, 1]
    return z @ rotation, c


# --- one audit ------------------------------------------------------------------------------------------------------


def audit_once(cell: Cell, number: int) -> dict[str, object]:
    """One audit and the population value of the probe that it made its headline."""
    with threadpool_limits(1):  # processes share the cores, not threads
        return _audit_once(cell, number)


def _audit_once(cell: Cell, number: int) -> dict[str, object]:
    start = time.perf_counter()
    settings = AuditSettings()
    place = [CODINGS.index(cell.coding), BITS.index(cell.bits), cell.n, number]
    g = np.random.default_rng([2026, *place])
    seed = int(g.integers(2**31))
    rotation = np.linalg.qr(g.standard_normal((D, D)))[0]
    z, c = draw(cell, cell.n, rotation, g)
    y = np.zeros(cell.n, dtype=np.int64)
    fit, score = fit_and_score_rows(np.stack([y, c], axis=1), fit_fraction=settings.fit_fraction, group=None, seed=seed)
    folds = inner_folds(np.stack([c[fit], y[fit]], axis=1), group=None, seed=seed)
    task = make_channel_task(
        "c", c, y, fit, score, folds, n_classes=2, n_y=1, n_permutations=settings.n_permutations, seed=seed
    )
    resamples = Resamples(len(score), settings.n_bootstrap, seed=seed)
    terms = Terms(probes=settings.probes, confidence=settings.confidence, seed=seed, resamples=resamples)
    # along the first direction before the rotation lies what c shifts
    scores = z @ rotation.T[:, :1] if cell.coding == "head" else None
    evidence = Evidence(z=z, scores=scores)
    found = answer(task, task.marginal, evidence, (fit, score), terms).finding
    seconds = time.perf_counter() - start
    # the headline again, for itself: the same seed fits the same probe
    top = found.headline_probe
    view = evidence.views(fit, score, evidence.probes(settings.probes), seed=seed)[top]
    probe = score_probe(top, task, task.marginal, view.sight, view.scored, seed).probe
    assert probe is not None
    losses = []
    for _ in range(0, FRESH * len(score), CHUNK):
        fresh_z, fresh_c = draw(cell, CHUNK, rotation, g)
        extra, baseline = np.zeros((CHUNK, 0)), np.tile(task.marginal.baseline_score[:1], (CHUNK, 1))
        read = fresh_z @ rotation.T[:, :1] if top == HEAD else fresh_z
        _, log_p = probe.predict(read, extra, baseline)
        losses.append(-log_p[np.arange(CHUNK), fresh_c].mean() / np.log(2))
    return {
        "coding": cell.coding, "bits": cell.bits, "n": cell.n, "draw": number, "estimate": found.leakage_bits.estimate,
        "lower": found.leakage_bits.lower, "upper": found.leakage_bits.upper, "population": 1 - float(np.mean(losses)),
        "p_value": found.p_value, "detectable": task.detectable_bits(D), "probe": found.headline_probe,
        "seconds": round(seconds, 2),
    }  # fmt: skip


# --- running and showing --------------------------------------------------------------------------------------------


def wanted(draws: int, sizes: list[int], all_bits: list[float], codings: list[str]) -> Iterator[tuple[Cell, int]]:
    """Every audit, one of each cell before the second of any."""
    for number in range(draws):
        for n in sizes:
            for bits in all_bits:
                for coding in codings:
                    yield Cell(coding=coding, bits=bits, n=n), number


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows that are there; a last line that was cut off is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["seconds"] and row["coding"] != "coding"]


def run(out: Path, draws: int, sizes: list[int], all_bits: list[float], codings: list[str], jobs: int) -> None:
    """Append what is missing."""
    rows = read_rows(out)
    done = {(row["coding"], float(row["bits"]), int(row["n"]), int(row["draw"])) for row in rows}
    todo = [(c, k) for c, k in wanted(draws, sizes, all_bits, codings) if (c.coding, c.bits, c.n, k) not in done]
    print(f"{len(done)} audits there, {len(todo)} to do", flush=True)
    with out.open("a", newline="", encoding="utf-8") as file, ProcessPoolExecutor(jobs) as pool:
        writer = csv.DictWriter(file, FIELDS)
        if not rows:
            writer.writeheader()
        elif not out.read_bytes().endswith(b"\n"):
            file.write("\n")  # the line that was cut off stays, and is no row
        for row in pool.map(audit_once, *zip(*todo, strict=True)) if todo else ():
            writer.writerow(row)
            file.flush()


def share(hits: np.ndarray) -> str:
    """A share in percent with its count and exact 95 % interval."""
    low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci()
    return f"{100 * hits.mean():.1f} % of {len(hits)} ({100 * low:.1f} to {100 * high:.1f})"


def show(rows: list[dict[str, str]]) -> None:
    """The table and the five checks, as Markdown."""
    text = {key: np.array([row[key] for row in rows]) for key in ("coding", "probe")}
    data = {key: np.array([float(row[key]) for row in rows]) for key in FIELDS if key not in text}
    truth, lower, upper, population = data["bits"], data["lower"], data["upper"], data["population"]
    valid, covers, rejects = lower <= truth, (lower <= population) & (population <= upper), data["p_value"] <= 0.05
    print("| coding | true bits | n | draws | estimate | falls short by | lower ≤ true | covers | rejects at 5 % |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for coding in CODINGS:
        for bits in BITS:
            for n in SIZES:
                at = (text["coding"] == coding) & (truth == bits) & (data["n"] == n)
                if at.any():
                    mean = data["estimate"][at].mean()
                    shares = " | ".join(f"{100 * v[at].mean():.0f} %" for v in (valid, covers, rejects))
                    print(f"| {coding} | {bits:g} | {n} | {at.sum()} | {mean:.4f} | {bits - mean:.4f} | {shares} |")
    at_power = (truth == 0.1) & (data["n"] == 5000)
    print(f"\n(a) lower ≤ true I: {share(valid)}")
    print(f"(b) interval covers the probe's population value: {share(covers)}")
    for n in SIZES:
        if (data["n"] == n).any():
            print(f"    n = {n}: {share(covers[data['n'] == n])}")
    if (truth == 0).any():
        print(f"(d) rejections under independence: {share(rejects[truth == 0])}")
    for coding in CODINGS:
        if (at_power & (text["coding"] == coding)).any():
            print(f"(e) power at .1 bits, n = 5000, {coding}: {share(rejects[at_power & (text['coding'] == coding)])}")
    print(f"median seconds an audit: {np.median(data['seconds']):.2f}")


def main() -> None:
    """Run, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("audit_calibration.csv"), help="CSV that rows are added to")
    parser.add_argument("--draws", type=int, default=100, help="audits of each cell")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=SIZES, help="samples audited")
    parser.add_argument("--bits", type=float, nargs="+", default=list(BITS), choices=BITS, help="information coded")
    parser.add_argument("--codings", nargs="+", default=list(CODINGS), choices=CODINGS, help="how it is coded")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, compute nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        run(
            arguments.out, arguments.draws, arguments.sizes, arguments.bits, arguments.codings, arguments.jobs,
        )  # fmt: skip
    show(read_rows(arguments.out))


if __name__ == "__main__":
    main()
