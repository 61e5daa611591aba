"""Colour-biased MNIST: our default beside its rivals, on the same pixels, the same network and the same machine.

python benchmarks/colored_mnist.py --data DIR --variance 0.02 0.03 --methods plain mibias --seeds 3 --out FILE.csv

A row per method, variance and seed, appended as it is ready; rows that the file has are not run again. Accuracy is the
trained head's on digits of random colour; nothing is chosen by it. Only `grey` takes colours away, and says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import Table, mean_and_spread, measure

PAPER = (
    "debias.estimator=mine",
    "debias.schedule=fresh",
    "debias.balance=none",
    "debias.recycle_every_steps=null",
    "debias.critic.steps=40",
    "debias.critic.hidden=[64, 64, 64]",
    "debias.critic.learning_rate=1e-4",
    "debias.critic.beta1=0.9",
    "representation.layers=[features]",
    "training.learning_rate=1e-4",
    "training.beta1=0.9",
    "training.schedule=constant",
    "training.clip_norm=null",
    "training.epochs=10",
)
"""Facts of the authors' released code, see docs/method.md: a MINE critic of 3 × 64 on z, K = 40, Adam 1e-4 for all."""

LAST_LAYER = ("representation.layers=[features]", "debias.recycle_every_steps=null", "training.epochs=8")

METHODS: dict[str, tuple[str, ...]] = {
    "plain": (
        "debias.estimator=none",
        "training.epochs=5",
        "training.schedule=constant",
        "training.beta1=0.9",
        "training.clip_norm=null",
    ),
    "grey": ("debias.estimator=none", "backbone.channels=1", "training.epochs=5"),
    "reweight": (
        "debias.weight=0",
        "debias.balance=task",
        "debias.critic.steps=1",
        "debias.critic.hidden=[8]",
        "debias.recycle_every_steps=null",
        "training.epochs=8",
    ),
    "hsic": ("debias.estimator=hsic", "debias.gradients=ratio", *LAST_LAYER),
    "lntl": ("debias.estimator=lntl", "debias.balance=none", "debias.critic.steps=1", *LAST_LAYER),
    "vclub": ("debias.estimator=vclub", "debias.balance=none", *LAST_LAYER),
    "cross_sample": ("debias.estimator=cross_sample", "debias.balance=none", *LAST_LAYER),
    "paper": ("debias.gradients=rescale", "debias.weight=1", *PAPER),
    "released": ("debias.gradients=released", "debias.weight=1", *PAPER),
    "mibias": (),
}
KEYS = ("method", "variance", "seed")
VALUES = ("accuracy", "leakage_bits", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--variance", type=float, nargs="+", default=[0.02])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("colored_mnist.csv"))
    parser.add_argument("--n-train", type=int, help="only the first so many training images; default: all")
    parser.add_argument("--set", action="append", default=[], help="further overrides of the recipe, for all methods")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    extra = list(arguments.set) + ([f"data.n_train={arguments.n_train}"] if arguments.n_train else [])
    for seed in range(arguments.seeds):
        for variance in arguments.variance:
            for method in arguments.methods:
                if not table.has(method, variance, seed):
                    figures = measure(arguments.data, [f"data.variance={variance}", *METHODS[method], *extra], seed)
                    table.add((method, variance, seed), figures)
                    print(f"{method} σ² {variance} seed {seed}: {100 * figures['accuracy']:.1f} %", flush=True)
    show(table)


def show(table: Table) -> None:
    """Accuracy in % by method and variance, mean ± standard deviation over seeds, in Markdown."""
    variances = sorted({row["variance"] for row in table.rows}, key=float)
    print("| method | " + " | ".join(variances) + " | seconds |\n|---" + "|---" * (len(variances) + 1) + "|")
    for (method,), rows in table.groups("method").items():
        cells = []
        for variance in variances:
            cell = [row for row in rows if row["variance"] == variance]
            cells.append(mean_and_spread(cell, "accuracy", scale=100) if cell else "")
        print(f"| {method} | " + " | ".join(cells) + f" | {mean_and_spread(rows, 'seconds', digits=0)} |")


if __name__ == "__main__":
    main()
