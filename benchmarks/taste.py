"""A taste of the benchmarks in under ten minutes: methods side by side on the bundled digits, no data to fetch.

python benchmarks/taste.py [--seeds 1] [--jobs 2] [--out taste.csv]

The network, the pixels and the audit are those of recipes/quickstart.yaml; what differs is how the bias is met.
Accuracy is the trained head's on digits of random colour. The real benchmarks are colored_mnist.py and fairness.py.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from runs import Table, mean_and_spread, run_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
ALONE = (
    "original=null", "debias.mix=null", "debias.warmup_epochs=8",
    "training.beta1=0.5", "training.average_decay=null",
)  # fmt: skip
"""From scratch, and without what is ours beside the penalty."""
LAST_LAYER = (*ALONE, "debias.weight=1", "training.epochs=20")
ITS_CRITIC = "debias.critic.steps=15"
METHODS: dict[str, tuple[str, ...]] = {
    "mibias": (),  # the longest first, so that two processes end together
    "plain": (*ALONE, "debias.estimator=none", "training.epochs=8"),
    "grey": (*ALONE, "debias.estimator=none", "backbone.in_chans=1", "training.epochs=8"),
    "reweight": (*ALONE, "debias.weight=0", "debias.balance=task", "debias.critic.steps=1", "training.epochs=20"),
    "product": (
        "original=null", "debias.mix=null", "debias.bias_product=1", "debias.weight=0", "debias.critic.steps=1",
    ),
    "hsic": ("debias.estimator=hsic", "debias.gradients=ratio", *LAST_LAYER),
    "lntl": ("debias.estimator=lntl", "debias.balance=none", "debias.critic.steps=1", *LAST_LAYER),
    "vclub": ("debias.estimator=vclub", "debias.balance=none", *LAST_LAYER, "debias.weight=0.1", ITS_CRITIC),
    "paper": (
        "debias.estimator=mine", "debias.schedule=fresh", "debias.gradients=rescale", "debias.balance=none",
        "debias.critic.hidden=[64, 64, 64]", ITS_CRITIC, *LAST_LAYER,
    ),
}  # fmt: skip
KEYS = ("method", "seed")
VALUES = ("accuracy", "leakage_bits", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--out", type=Path, help="CSV that keeps rows; without it nothing is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Table(arguments.out or Path(folder) / "taste.csv", KEYS, VALUES)
        fill(table, arguments.methods, arguments.seeds, arguments.jobs)
    print(f"\n| method | {' | '.join(('accuracy, %', 'leakage, bits', 'seconds'))} |\n|---|---|---|---|")
    for (method,), rows in table.groups("method").items():
        cells = [mean_and_spread(rows, "accuracy", scale=100), mean_and_spread(rows, "leakage_bits", digits=3)]
        print(f"| {method} | {' | '.join(cells)} | {mean_and_spread(rows, 'seconds', digits=0)} |")


def fill(table: Table, methods: list[str], seeds: int, jobs: int) -> None:
    """Run what the table lacks, a process each."""
    with ProcessPoolExecutor(jobs) as pool:
        wanted = {
            pool.submit(run_recipe, RECIPE, METHODS[method], seed): (method, seed)
            for seed in range(seeds)
            for method in methods
            if not table.has(method, seed)
        }
        for done in as_completed(wanted):
            figures = done.result()
            table.add(wanted[done], figures)
            print(f"{wanted[done][0]} seed {wanted[done][1]}: {100 * figures['accuracy']:.1f} %", flush=True)


if __name__ == "__main__":
    main()
