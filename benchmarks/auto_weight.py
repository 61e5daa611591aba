"""`debias.weight: auto` beside a grid of λ on eight sets: does one rule land where the best λ is?

python benchmarks/auto_weight.py --mnist DIR --adult DIR --german DIR --pacs DIR --weights FILE [--sets digits german …]
    [--seeds 2] [--out auto_weight.csv]

Sets whose folder is not given are left out; the bundled digits are always there. Rows that the CSV has are not run
again. Accuracy is the trained head's on all audited rows; leakage that of the representation given the target, by the
strongest of a logistic, an MLP and a boosting probe, fitted on one half of the audited rows and scored on the other.

The best λ of the grid is judged afterwards, by means over seeds: of those within a point of the grid's top accuracy
the one that leaves least leakage. `auto` holds where it loses at most a point and .05 bits to it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pacs
import torch
from runs import RECIPE as COLORED_MNIST
from runs import Table, assembled, audit_rows, features_and_accuracy, train_alone
from uci import WRITERS

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run.cached import cached_parts

GRID = ("0.0025", "0.01", "0.04", "0.16", "0.64", "2.5", "10")
RECIPES = COLORED_MNIST.parent
N_PROBED = 4000
POINT, BITS = 0.01, 0.05
KEYS = ("set", "weight", "seed")
VALUES = ("accuracy", "conditional_leakage_bits", "seconds")
Load = Callable[[Path, int, tuple[str, ...]], Parts]


def shipped(name: str, *overrides: str) -> Load:
    """A recipe of the project, on data in the given folder where it reads any."""

    def load(data: Path, seed: int, further: tuple[str, ...]) -> Parts:
        path = RECIPES / f"{name}.yaml"
        given = [f"seed={seed}", "original=null", *overrides, *further]
        if name == "colored_mnist":
            given.append(f"data.root={data.resolve()}")
        elif name in WRITERS:
            table = data / f"{name}.csv"
            given.append(f"data.path={table}")
        return assembled(parse_recipe(path.read_text(encoding="utf-8"), path=str(path), overrides=given))

    return load


def photographs(aligned: float, method: str) -> Load:
    """PACS-skew with the recipe of `mibias init`, see pacs.py."""

    def load(data: Path, seed: int, further: tuple[str, ...]) -> Parts:
        folder = data / f"{aligned}_{seed}"
        folder.mkdir(exist_ok=True)
        drawn = pacs.draw(Path(PACS["data"]), Path(PACS["weights"]), aligned, seed, folder)
        cache = f"backbone.cache={data / 'cache'}"
        parts = pacs.load(drawn, (*pacs.OURS[method], *further, cache))
        splits = (parts.data.train, parts.data.validation, parts.data.audit)
        return cached_parts(parts, Silent(), {split.name: np.arange(len(split)) for split in splits})

    return load


PACS: dict[str, str] = {}
"""Where the photographs and the weights are."""
SETS: dict[str, tuple[str | None, Load]] = {
    "digits": (None, shipped("quickstart")),
    "colored_mnist": ("mnist", shipped("colored_mnist", "data.variance=0.02", "data.n_train=10000")),
    "adult": ("adult", shipped("adult")),
    "german": ("german", shipped("german")),
    "pacs_frozen_0.90": ("pacs", photographs(0.90, "mibias_frozen")),
    "pacs_frozen_0.95": ("pacs", photographs(0.95, "mibias_frozen")),
    "pacs_frozen_0.98": ("pacs", photographs(0.98, "mibias_frozen")),
    "pacs_finetuned_0.95": ("pacs", photographs(0.95, "mibias")),
}
"""Which folder a set needs, and how it is loaded."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("mnist", "adult", "german", "pacs"):
        parser.add_argument(f"--{name}", type=Path, help="folder with its files")
    parser.add_argument("--weights", type=Path, help=f"ImageNet weights of {pacs.BACKBONE}, for PACS")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--settings", nargs="+", choices=["auto", *GRID], default=["auto", *GRID])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("auto_weight.csv"))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sets:
            needed, load = SETS[name]
            given: Path = Path(".") if needed is None else getattr(arguments, needed)
            if given is None:
                continue
            data = Path(folder) if needed in ("pacs", "adult", "german") else given
            if needed == "pacs":
                PACS.update(data=str(given.resolve()), weights=str(arguments.weights.resolve()))
            elif needed in WRITERS:
                WRITERS[needed](given, data / f"{needed}.csv")
            for seed in range(arguments.seeds):
                for weight in arguments.settings:
                    if not table.has(name, weight, seed):
                        figures = measure(load(data, seed, (f"debias.weight={weight}",)), seed)
                        table.add((name, weight, seed), figures)
                        print(f"{name} {weight} {seed}:", *(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
    show(table)


def measure(parts: Parts, seed: int) -> dict[str, float]:
    """Train, and look at the audited rows."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    model, _ = train_alone(parts)
    seconds = time.perf_counter() - started
    z, accuracy = features_and_accuracy(model, parts.data.audit)
    rows = np.random.default_rng(seed).permutation(len(z))[:N_PROBED]
    settings = AuditSettings(probes=("logistic", "mlp", "gradient_boosting"), n_permutations=0, n_bootstrap=100)
    found = audit_rows(parts.data, next(iter(parts.debiased)), z, rows, settings, seed=seed).after
    assert found.conditional_leakage_bits is not None
    bits = found.conditional_leakage_bits.estimate
    return {"accuracy": accuracy, "conditional_leakage_bits": bits, "seconds": seconds}


def show(table: Table) -> None:
    """Each set's grid, its best λ and what `auto` came to, in Markdown: accuracy in % and bits given the target."""
    print(f"\n| set | auto | best λ | {' | '.join(GRID)} | holds |\n|---|---|---|{'---|' * len(GRID)}---|")
    for (name,), rows in table.groups("set").items():
        means = {
            weight: tuple(statistics.fmean(float(r[v]) for r in rows if r["weight"] == weight) for v in VALUES[:2])
            for weight in dict.fromkeys(r["weight"] for r in rows)
        }
        cells = {weight: f"{100 * accuracy:.1f} / {bits:.2f}" for weight, (accuracy, bits) in means.items()}
        grid = {weight: found for weight, found in means.items() if weight != "auto"}
        if "auto" not in means or not grid:
            continue
        top = max(accuracy for accuracy, _ in grid.values())
        best = min((w for w, (a, _) in grid.items() if a >= top - POINT), key=lambda weight: grid[weight][1])
        holds = means["auto"][0] >= grid[best][0] - POINT and means["auto"][1] <= grid[best][1] + BITS
        shown = " | ".join(cells.get(weight, "") for weight in GRID)
        print(f"| {name} | {cells['auto']} | {best} | {shown} | {'yes' if holds else 'no'} |")


if __name__ == "__main__":
    main()
