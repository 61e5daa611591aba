"""Colour-biased MNIST: our default beside its rivals, on the same pixels, the same network and the same machine.

python benchmarks/colored_mnist.py --data DIR --variance 0.02 0.03 --methods plain mibias --seeds 3 --out FILE.csv

A row per method, variance and seed, appended as it is ready; rows that the file has are not run again. Accuracy is the
trained head's on digits of random colour; nothing is chosen by it. Only `grey` takes colours away, and says so.
With --curves the accuracy after each epoch is kept, too: how soon a method is where another ends.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import PENALTY_ALONE, Point, Table, mean_and_spread, measure

ALONE = ("debias.bias_product=0", "training.average_decay=null")
"""Without what is ours beside the penalty: no product with what colour says, no average of weights."""

PAPER = (
    *ALONE,
    "debias.estimator=mine",
    "debias.schedule=fresh",
    "debias.balance_by=weights",
    "debias.balance=none",
    "debias.weight=1",
    "debias.critic.steps=40",
    "debias.critic.hidden=[64, 64, 64]",
    "debias.critic.learning_rate=1e-4",
    "debias.critic.beta1=0.9",
    "representation.layers=[features]",
    "training.learning_rate=1e-4",
    "training.schedule=constant",
    "training.epochs=10",
)
"""Facts of the authors' released code, see docs/method.md: a MINE critic of 3 × 64 on z, K = 40, Adam 1e-4 for all."""

LAST_LAYER = (*ALONE, "representation.layers=[features]", "debias.weight=1")

METHODS: dict[str, tuple[str, ...]] = {
    "plain": (*ALONE, "debias.estimator=none", "training.epochs=3", "training.schedule=constant"),
    "grey": (*ALONE, "debias.estimator=none", "backbone.channels=1"),
    "reweight": (*ALONE, "debias.weight=0", "debias.balance=task", "debias.critic.steps=1", "debias.critic.hidden=[8]"),
    "product": ("debias.bias_product=1", "debias.weight=0", "debias.balance=none", "debias.critic.steps=1"),
    "hsic": (*LAST_LAYER, "debias.estimator=hsic", "debias.gradients=ratio"),
    "lntl": (*LAST_LAYER, "debias.estimator=lntl", "debias.balance=none", "debias.critic.steps=1"),
    "vclub": (*LAST_LAYER, "debias.estimator=vclub", "debias.balance=none", "debias.weight=0.1"),
    "cross_sample": (*LAST_LAYER, "debias.estimator=cross_sample", "debias.balance=none"),
    "paper": (*PAPER, "debias.gradients=rescale"),
    "released": (*PAPER, "debias.gradients=released"),
    "mibias": (),
    # what becomes of ours without a part of it, or with another
    "penalty": PENALTY_ALONE,
    "no_penalty": ("debias.weight=0", "debias.balance=none", "debias.critic.steps=1"),
    "full_product": ("debias.bias_product=1",),
    "large_weight": ("debias.weight=0.03",),
    "last_layer": ("representation.layers=[features]",),
    "conditional": ("debias.objective=conditional", "debias.balance=none"),
    "mine": ("debias.estimator=mine",),
    "few_steps": ("debias.critic.steps=3",),
    "no_average": ("training.average_decay=null",),
    "narrow": ("backbone.options={width: 16, hidden: 128, features: 64}",),
    "wide": ("backbone.options={width: 64, hidden: 512, features: 64}",),
}
PEERS = ("plain", "grey", "reweight", "product", "hsic", "lntl", "vclub", "cross_sample", "paper", "released", "mibias")
"""What runs where nobody names methods; the rest are ablations.

`plain` is the recipe's original stage at a constant rate; vclub has λ = 0.1, as it collapses at 1 (11 % in seed 0 at
σ² = .020); `product` is the product of experts without any penalty, after Clark et al., arXiv 1909.03683.
"""
KEYS = ("method", "variance", "seed")
VALUES = ("accuracy", "leakage_bits", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--variance", type=float, nargs="+", default=[0.02])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("colored_mnist.csv"))
    parser.add_argument("--curves", type=Path, help="CSV of accuracy after each epoch; default: none is taken")
    parser.add_argument("--n-train", type=int, help="only the first so many training images; default: all")
    parser.add_argument("--set", action="append", default=[], help="further overrides of the recipe, for all methods")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    curves = None if arguments.curves is None else Table(arguments.curves, (*KEYS, "epoch"), ("seconds", "accuracy"))
    extra = list(arguments.set) + ([f"data.n_train={arguments.n_train}"] if arguments.n_train else [])
    for seed in range(arguments.seeds):
        for variance in arguments.variance:
            for method in arguments.methods:
                if not table.has(method, variance, seed):
                    overrides = [f"data.variance={variance}", *METHODS[method], *extra]
                    curve: list[Point] | None = None if curves is None else []
                    figures = measure(arguments.data, overrides, seed, curve)
                    table.add((method, variance, seed), figures)
                    for epoch, (seconds, accuracy) in enumerate(curve or [], start=1):
                        assert curves is not None, "points are taken for a table"
                        curves.add((method, variance, seed, epoch), {"seconds": seconds, "accuracy": accuracy})
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
